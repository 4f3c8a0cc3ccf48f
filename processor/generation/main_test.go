package generation

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// connect starts a server for a test, and connects to it by way of a broker with faults.
func connect(t *testing.T) jetstream.JetStream {
	t.Helper()
	return natstest.JetStream(t, natstest.Mild(t, natstest.Start(t)))
}
