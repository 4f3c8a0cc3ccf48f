package query_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/hold"
	"holdmetrics/projection"
)

// A log that another process seals just when a read has been let in: what decides is
// the view that answers, which the read has waited for.
func TestReadsWhileTheLogIsSealed(t *testing.T) {
	t.Parallel()
	const second, horizon = int64(1e9), int64(300e9)
	var seal func()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Log = &fakes.Log{Size: 4, Ends: map[int]uint64{0: 2, 1: 2, 2: 2, 3: 2}}
		w.Cfg.WaitApplied = func(context.Context, int, uint64) error {
			seal()
			return nil
		}
	})
	pair := hold.NewPair(hold.Merge)
	pair.Add(hold.Fact{Kind: hold.KindHold, Start: 100 * second, End: 200 * second})
	flush := func(position uint64, horizon int64) {
		figures := pair.Figures(400 * second)
		c := projection.PairChange{Key: projection.PairKey{Holder: "alice", Token: "t"}, Policy: hold.Merge, Figures: figures}
		for page := range pair.DirtyPages() {
			c.Pages = append(c.Pages, hold.Page{Key: slices.Clone(page.Key), Data: slices.Clone(page.Data)})
		}
		pair.ClearDirty()
		if err := w.Store.Flush(t.Context(), &projection.Batch{
			Partition: w.Partition("alice"), Pairs: []projection.PairChange{c},
			Holders:    []projection.HolderRecord{{Holder: "alice", Figures: figures, UpdatedAt: 400 * second, Position: 1}},
			Checkpoint: projection.Checkpoint{LogID: "log", Position: position, Epoch: 1, LogTime: 400 * second, Horizon: horizon, Swept: horizon},
		}); err != nil {
			t.Fatal(err)
		}
	}
	flush(1, 0)
	late := map[string]string{ // as of when it is not known, and the field that asks for it
		"/stats/alice?as_of=150":             "as_of",
		"/stats?to=150":                      "to",
		"/stats?from=150&to=400":             "from",
		"/scores?as_of=299.999999999":        "as_of",
		"/scores?from=150&to=400&share=true": "from",
		"/stats/alice/holds?as_of=150":       "as_of",
		"/stats/alice/holds?from=150":        "from",
		"/stats/alice/history?from=150":      "from",
		"/stats/alice/history?to=150":        "to",
	}
	seal = func() {}
	for path := range late {
		gatewaytest.Get(t, w, path, http.StatusOK)
	}
	seal = sync.OnceFunc(func() { // as of the last message, which the first of these reads waits for
		pair.Seal(horizon, 400*second)
		flush(2, horizon)
	})
	for path, field := range late {
		body := string(gatewaytest.Get(t, w, path, http.StatusUnprocessableEntity))
		if !strings.Contains(body, "is before the horizon up to which the log was sealed: the earliest is 1970-01-01T00:05:00Z") || !strings.Contains(body, `"`+field+`"`) && !strings.Contains(body, "."+field+`"`) {
			t.Errorf("%s: %s", path, body)
		}
	}
	for _, path := range []string{"/stats/alice?as_of=300", "/stats?from=300&to=400", "/stats/alice/holds", "/stats/alice/history"} {
		gatewaytest.Get(t, w, path, http.StatusOK)
	}
}
