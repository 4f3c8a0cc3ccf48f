package main

import (
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
	"holdmetrics/processor/generation"
)

// The limits of a log stay what a gateway that runs takes events by, also while no
// worker runs; once it is gone they can be changed.
func TestLimitsStayWhileAGatewayRuns(t *testing.T) {
	t.Parallel()
	natsURL := startNATS(t)
	args := func(more ...string) []string {
		return append([]string{"gateway", "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-url", natsURL, "--partitions", "4"}, more...)
	}
	first := start(t, args()...)
	first.address(t, "gRPC")
	r := openRegistry(t, natsURL)
	gatewaysAre(t, r, "the gateway is known", 1, func(*generation.GatewayState) bool { return true })
	limits := func() hold.Limits {
		l, err := ingest.OpenLog(t.Context(), natstest.JetStreamAt(t, natsURL), ingest.LogConfig{})
		if err != nil {
			t.Fatal(err)
		}
		return l.LimitsAt(1 << 40)
	}

	second := start(t, args("--max-future-end", "1h")...)
	select {
	case code := <-second.ended:
		if code == exitOK || !strings.Contains(second.err.String(), "there are processes that know these alone (gateway ") {
			t.Errorf("exit %d: %s", code, second.err)
		}
	case <-time.After(clusterPatience):
		t.Fatal("it runs by other limits than the first one")
	}
	if got := limits(); got != hold.DefaultLimits() {
		t.Errorf("the limits are %+v", got)
	}
	first.finish(t)
	gatewaysAre(t, r, "the gateway is gone", 0, nil)
	third := start(t, args("--max-future-end", "1h")...)
	third.address(t, "gRPC")
	if got := limits(); got.MaxFutureEnd != int64(time.Hour) {
		t.Errorf("the limits are %+v", got)
	}
	third.finish(t)
}
