package gateway_test

import (
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/httpapi"
	holdpb "holdmetrics/proto"
)

// The status says why no event is taken, as long as that is so.
func TestStatusSaysWhyNothingIsTaken(t *testing.T) {
	t.Parallel()
	var refused atomic.Bool
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Refused = func() error {
			if refused.Load() {
				return errors.New("the disk is full")
			}
			return nil
		}
	})
	for _, want := range []string{"", "the disk is full", ""} {
		refused.Store(want != "")
		var body httpapi.StatusBody
		if err := json.Unmarshal(gatewaytest.Get(t, w, "/status", 200), &body); err != nil || body.Refused != want {
			t.Errorf("HTTP: %q, %v, want %q", body.Refused, err, want)
		}
		answer, err := w.Query().Status(t.Context(), &holdpb.Empty{})
		if err != nil || answer.GetRefused() != want {
			t.Errorf("gRPC: %v, %v, want %q", answer, err, want)
		}
	}
}
