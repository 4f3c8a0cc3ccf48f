package backup

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// startServer runs a server, and connects to it through a broker that lies, seeded by
// the test's name.
func startServer(t *testing.T) jetstream.JetStream {
	t.Helper()
	return natstest.JetStream(t, natstest.Mild(t, natstest.Start(t)))
}
