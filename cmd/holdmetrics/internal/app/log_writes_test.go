package app

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"holdmetrics/ingest"
)

func TestLogWrites(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC)
	full := errors.New("insufficient storage")
	answer, probes := error(nil), 0
	w := &logWrites{
		now: func() time.Time { return now }, log: zap.NewNop(),
		probe: func(context.Context) error { probes++; return answer },
	}
	refused := func(why string) {
		t.Helper()
		err := w.err()
		if why == "" && err != nil || why != "" && (!errors.Is(err, ingest.ErrNotWritable) || !strings.Contains(err.Error(), why)) {
			t.Errorf("refused for %v, want %q", err, why)
		}
	}
	refused("not known yet")
	w.look(t.Context())
	refused("")
	if probes != 1 {
		t.Fatalf("%d messages were sent", probes)
	}

	// Events prove as much.
	now = now.Add(provesFor - time.Second)
	w.note(nil)
	now = now.Add(provesFor - time.Second)
	w.look(t.Context())
	if probes != 1 {
		t.Error("a message was sent though an event was taken")
	}
	now = now.Add(2 * time.Second)
	w.look(t.Context())
	if probes != 2 {
		t.Error("no message was sent after a long silence")
	}

	// A leader is elected: nothing is said for a moment.
	answer = full
	w.note(full)
	since := now
	refused("")
	w.look(t.Context())
	now = now.Add(failsFor + time.Second)
	w.look(t.Context())
	refused("since " + since.Format(time.RFC3339))
	refused("insufficient storage")

	// With room again it resumes by itself.
	answer = nil
	w.look(t.Context())
	refused("")
	if probes != 5 {
		t.Errorf("%d messages were sent", probes)
	}
}
