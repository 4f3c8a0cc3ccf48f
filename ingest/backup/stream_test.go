package backup

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// The subject that takes the chunks of a restore may be known to one server of a cluster
// a moment before another knows it.
func TestAChunkThatNobodyTakesIsSentAgain(t *testing.T) {
	t.Parallel()
	conn := startServer(t).Conn()
	if err := send(t.Context(), conn, "chunks", []byte("x"), 2*time.Second, nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("nobody takes it: %v", err)
	}
	sent := make(chan error, 1)
	go func() { sent <- send(t.Context(), conn, "chunks", []byte("x"), silence, nil) }()
	time.Sleep(20 * time.Millisecond) // for the first try, which nothing tells of; if it comes later, the test passes
	sub, err := conn.Subscribe("chunks", func(m *nats.Msg) { _ = m.Respond(nil) })
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
