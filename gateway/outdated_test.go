package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

func TestAfresh(t *testing.T) {
	t.Parallel()
	outdated := fmt.Errorf("%w: of old", projection.ErrOutdated)
	for _, c := range []struct {
		fails, gives int // how often it is outdated; what it gives before
		runs         int
		ok           bool
	}{
		{0, 0, 1, true}, {0, 3, 1, true}, {1, 0, 2, true}, {OutdatedTries - 1, 0, OutdatedTries, true},
		{OutdatedTries, 0, OutdatedTries, false}, {1, 1, 1, false},
	} {
		runs := 0
		err := Afresh(func(emit func(int) error) error {
			runs++
			for i := range c.gives {
				if err := emit(i); err != nil {
					return err
				}
			}
			if runs <= c.fails {
				return outdated
			}
			return nil
		})
		if runs != c.runs || (err == nil) != c.ok || err != nil && !errors.Is(err, projection.ErrOutdated) {
			t.Errorf("%+v: %d runs, %v", c, runs, err)
		}
	}
	if f := FailureOf(outdated); f.Kind != Unavailable || !f.Retry || !strings.Contains(f.Message, "ask again") {
		t.Errorf("told as %+v", f)
	}
}

// sealedReader gives views that are outdated a number of times, then views of a
// checkpoint with a horizon.
type sealedReader struct {
	projection.Reader
	outdated *int
	horizon  int64
}

type sealedView struct {
	projection.PartitionView
	horizon  int64
	outdated bool
}

func (r sealedReader) View(ctx context.Context, partition int) (projection.PartitionView, error) {
	v, err := r.Reader.View(ctx, partition)
	outdated := *r.outdated > 0
	*r.outdated--
	return sealedView{v, r.horizon, outdated}, err
}

func (v sealedView) Checkpoint() (projection.Checkpoint, bool) {
	c, ok := v.PartitionView.Checkpoint()
	c.Horizon = v.horizon
	return c, ok
}

func (v sealedView) Pairs(ctx context.Context, holder string, fn func(*projection.PairRecord) error) error {
	if v.outdated {
		return projection.ErrOutdated
	}
	return v.PartitionView.Pairs(ctx, holder, fn)
}

// A view that is outdated is opened anew, and nobody notices. A horizon that the view
// has, and this gateway's log does not know yet, counts.
func TestReadsOfSealed(t *testing.T) {
	t.Parallel()
	horizon := time.Unix(0, testNow).Add(-time.Hour).UnixNano()
	outdated := 0
	w := newWorld(t, func(w *world) {
		w.cfg.Reader = sealedReader{Reader: w.store, outdated: &outdated, horizon: horizon}
	})
	w.apply(t, 9, testNow, held("x", "alice", testNow/1e9-100, testNow/1e9-50, 2), openHold("y", "alice", testNow/1e9-200, 1))
	ctx := t.Context()
	windowOf := func(in instants) window {
		w, err := w.gateway.Reads().window(in)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	stamp := func(ns int64) hold.Stamp { return hold.Stamp{Seconds: ns / 1e9, Nanos: int32(ns % 1e9), Set: true} }
	at := func(ns int64) window { return windowOf(instants{asOf: stamp(ns)}) }
	for name, read := range map[string]func(window) error{
		"scores": func(q window) error {
			return w.gateway.Reads().scores(ctx, scoreQuery{window: q, holder: "alice", byToken: true}, func(*scoreRow) error { return nil })
		},
		"explain": func(q window) error {
			return w.gateway.Reads().explain(ctx, explainQuery{window: q, holder: "alice"}, func(*contribution) error { return nil })
		},
		"history": func(q window) error {
			_, err := w.gateway.Reads().history(ctx, historyQuery{window: q, holder: "alice"})
			return err
		},
	} {
		outdated = 2
		if err := read(at(testNow)); err != nil || outdated >= 0 {
			t.Errorf("%s: %v, %d views left", name, err, outdated)
		}
		var field *hold.FieldError
		if err := read(at(horizon - 1)); !errors.Is(err, ErrSealed) || !errors.As(err, &field) || field.Field != "as_of" {
			t.Errorf("%s before the horizon: %v", name, err)
		}
		before := windowOf(instants{from: stamp(horizon - 1)})
		if err := read(before); !errors.Is(err, ErrSealed) || !errors.As(err, &field) || field.Field != "from" {
			t.Errorf("%s from before the horizon: %v", name, err)
		}
	}
	points, err := w.gateway.Reads().history(ctx, historyQuery{window: windowOf(instants{}), holder: "alice"})
	if err != nil || points[0].at < horizon {
		t.Errorf("a history begins at %d, before the horizon: %v", points[0].at, err)
	}
}
