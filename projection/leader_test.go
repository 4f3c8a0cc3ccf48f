package projection_test

import (
	"errors"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/natstest"
	"holdmetrics/projection"
)

// Two processes open a bucket at the same time, and the other one is first to have it
// read from the leader. This one, which has seen the former settings, reads it all the
// same: it asked for direct reads for as long as it lived, and nobody answered.
func TestReadFromLeaderAfterAnother(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Start(t))
	mine, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "B"})
	if err != nil {
		t.Fatal(err)
	}
	others, err := js.KeyValue(t.Context(), "B")
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range []jetstream.KeyValue{others, mine} {
		kv, err := projection.ReadFromLeader(t.Context(), js, kv)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.Get(t.Context(), "nothing"); !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Errorf("reading: %v", err)
		}
	}
	stream, err := js.Stream(t.Context(), "KV_B")
	if err != nil || stream.CachedInfo().Config.AllowDirect {
		t.Errorf("direct reads are allowed; %v", err)
	}
}
