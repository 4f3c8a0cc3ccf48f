package query_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"holdmetrics/gateway/failure"
	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
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
		{0, 0, 1, true}, {0, 3, 1, true}, {1, 0, 2, true}, {query.OutdatedTries - 1, 0, query.OutdatedTries, true},
		{query.OutdatedTries, 0, query.OutdatedTries, false}, {1, 1, 1, false},
	} {
		runs := 0
		err := query.Afresh(func(emit func(int) error) error {
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
	if f := failure.Of(outdated); f.Kind != failure.Unavailable || !f.Retry || !strings.Contains(f.Message, "ask again") {
		t.Errorf("reported as %+v", f)
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

// A view that is outdated is opened again, and no read fails. A horizon that the view
// has, and this gateway's log does not know yet, counts.
func TestReadsOfSealed(t *testing.T) {
	t.Parallel()
	horizon := time.Unix(0, fakes.TestNow).Add(-time.Hour).UnixNano()
	outdated := 0
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Reader = sealedReader{Reader: w.Store, outdated: &outdated, horizon: horizon}
	})
	w.Apply(t, 9, fakes.TestNow, fakes.Held("x", "alice", fakes.TestNow/1e9-100, fakes.TestNow/1e9-50, 2), fakes.OpenHold("y", "alice", fakes.TestNow/1e9-200, 1))
	ctx := t.Context()
	windowOf := func(in query.Times) query.Window {
		w, err := w.Gateway.Reads().Window(in)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	stamp := func(ns int64) hold.Stamp { return hold.Stamp{Seconds: ns / 1e9, Nanos: int32(ns % 1e9), Set: true} }
	at := func(ns int64) query.Window { return windowOf(query.Times{AsOf: stamp(ns)}) }
	for name, read := range map[string]func(query.Window) error{
		"scores": func(q query.Window) error {
			return w.Gateway.Reads().Scores(ctx, query.ScoreQuery{Window: q, Holder: "alice", ByToken: true}, func(*query.Row) error { return nil })
		},
		"explain": func(q query.Window) error {
			return w.Gateway.Reads().Explain(ctx, query.ExplainQuery{Window: q, Holder: "alice"}, func(*query.Contribution) error { return nil })
		},
		"history": func(q query.Window) error {
			_, err := w.Gateway.Reads().History(ctx, query.HistoryQuery{Window: q, Holder: "alice"})
			return err
		},
	} {
		outdated = 2
		if err := read(at(fakes.TestNow)); err != nil || outdated >= 0 {
			t.Errorf("%s: %v, %d views left", name, err, outdated)
		}
		var field *hold.FieldError
		if err := read(at(horizon - 1)); !errors.Is(err, query.ErrSealed) || !errors.As(err, &field) || field.Field != "as_of" {
			t.Errorf("%s before the horizon: %v", name, err)
		}
		before := windowOf(query.Times{From: stamp(horizon - 1)})
		if err := read(before); !errors.Is(err, query.ErrSealed) || !errors.As(err, &field) || field.Field != "from" {
			t.Errorf("%s from before the horizon: %v", name, err)
		}
	}
	points, err := w.Gateway.Reads().History(ctx, query.HistoryQuery{Window: windowOf(query.Times{}), Holder: "alice"})
	if err != nil || points[0].At < horizon {
		t.Errorf("a history begins at %d, before the horizon: %v", points[0].At, err)
	}
}
