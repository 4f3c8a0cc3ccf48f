package gateway_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"holdmetrics/gateway/gatewaytest"
)

// Close waits no longer than its context for a generation that does not close, and says
// what it waited for.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	over, closed := make(chan struct{}), make(chan struct{})
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Backend.Close = func() error {
			select {
			case <-closed: // the world closes it once more
			default:
				<-over
				close(closed)
			}
			return nil
		}
	})
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := w.Gateway.Close(soon)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "still waiting for the active generation to close, 0 requests under way") {
		t.Error(err)
	}
	close(over)
	<-closed
}
