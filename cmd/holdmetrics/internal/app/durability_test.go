package app

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
)

func TestBrokerWarnings(t *testing.T) {
	t.Parallel()
	for _, always := range []bool{false, true} {
		s := natstest.Start(t, natstest.Listening, func(o *server.Options) {
			o.HTTPHost, o.HTTPPort = "127.0.0.1", server.RANDOM_PORT
			o.SyncAlways, o.SyncInterval = always, 2*time.Minute
		})
		js := natstest.JetStreamAt(t, s.ClientURL())
		if _, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{}); err != nil {
			t.Fatal(err)
		}
		monitor := fmt.Sprintf("http://%s", s.MonitorAddr())
		for _, c := range []struct {
			replicas int
			monitor  string
			want     []string // a part of each
		}{
			{1, monitor, map[bool][]string{false: {"every 2m0s, and the log has one replica"}, true: nil}[always]},
			{1, "", []string{"cannot see whether its server syncs"}},
			{1, "http://user:secret@127.0.0.1:1", []string{"cannot be seen at http://***@127.0.0.1:1", "cannot see whether"}},
			{3, monitor, append([]string{"HOLD_EVENTS has 1 replicas, wanted are 3", "HOLD_EVENTS is compressed, and is to have 3", "HOLD_DLQ has 1", "HOLD_DLQ is compressed"}, map[bool][]string{false: {"every 2m0s"}, true: nil}[always]...)},
		} {
			got := brokerWarnings(t.Context(), js, c.replicas, c.monitor)
			if len(got) != len(c.want) {
				t.Fatalf("sync always %t, %+v: %q", always, c, got)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) || strings.Contains(got[i], "secret") {
					t.Errorf("sync always %t, %+v: %q, want %q", always, c, got[i], want)
				}
			}
		}
	}
}
