package consumer_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/internal/consumer"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

const limit = time.Minute

// A consumer delivers its subject from its start on, and Drop deletes it, also after
// the reader's context has ended.
func TestConsumer(t *testing.T) {
	t.Parallel()
	js := natstest.JetStream(t, natstest.Start(t))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}}); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"s.a", "s.b", "s.a", "s.a"} {
		if _, err := js.Publish(t.Context(), subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, err := js.CreateConsumer(ctx, "S", consumer.From(2, "a test", "s.a", limit))
	if err != nil {
		t.Fatal(err)
	}
	if n := c.CachedInfo().NumPending; n != 2 {
		t.Errorf("%d messages pending, want the third and the fourth", n)
	}
	m, err := c.Next(jetstream.FetchMaxWait(limit))
	if err != nil {
		t.Fatal(err)
	}
	if meta, err := m.Metadata(); err != nil || meta.Sequence.Stream != 3 {
		t.Errorf("the first message is %+v, %v", meta, err)
	}
	cancel()
	consumer.Drop(ctx, js, "S", c, limit)
	if _, err := js.Consumer(t.Context(), "S", c.CachedInfo().Name); !errors.Is(err, jetstream.ErrConsumerNotFound) {
		t.Errorf("after Drop: %v", err)
	}
	js.Conn().Close()
	consumer.Drop(t.Context(), js, "S", c, limit) // returns
}
