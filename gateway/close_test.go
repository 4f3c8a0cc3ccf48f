package gateway_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"holdmetrics/gateway/gatewaytest"
)

// Close waits no longer than its context for a generation that does not close, and says
// what it waited for.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	began, over, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Backend.Close = func() error {
			select {
			case <-closed: // the world closes it once more
			default:
				close(began)
				<-over
				close(closed)
			}
			return nil
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.Gateway.Close(ctx) }()
	<-began
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "still waiting for the active generation to close, 0 requests under way") {
		t.Error(err)
	}
	close(over)
	<-closed
}
