package kvwatch_test

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/internal/kvwatch"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// A watch that was flooded, and of which nothing was read, ends with the goroutine that
// waits to hand out more than its channel has room for.
func TestAFloodedWatchEnds(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Start(t))
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := kv.WatchAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 { // the channel has room for 256
		if _, err := kv.Put(t.Context(), strconv.Itoa(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	testwait.Poll(t, "the channel is full", func() error {
		if n, room := len(w.Updates()), cap(w.Updates()); n < room {
			return strconv.ErrRange
		}
		return nil
	})
	kvwatch.End(w, time.Minute)
	if _, open := <-w.Updates(); open {
		t.Error("the watch goes on")
	}
	kvwatch.End(w, time.Minute) // once more does no harm
}
