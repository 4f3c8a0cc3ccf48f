package backup

import (
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// startServer runs an embedded server with JetStream, and connects to it through a
// broker that lies, seeded by the test's name.
func startServer(t *testing.T) jetstream.JetStream {
	t.Helper()
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the embedded server did not start")
	}
	liar, err := faultynats.Start(s, faultynats.Mild(faultynats.SeedOf(t.Name())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := liar.Close(); err != nil {
			t.Errorf("close the broker that lies: %v", err)
		}
	})
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(liar), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
	})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}
