package crash

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// truth is what the accepted events come to, by hold alone.
type truth struct {
	policy hold.Policy
	pairs  map[pairName]*hold.Pair
	events int
}

type pairName struct{ token, holder string }

func newTruth(policy hold.Policy) *truth {
	return &truth{policy: policy, pairs: map[pairName]*hold.Pair{}}
}

// add takes an event that was acknowledged.
func (w *truth) add(t *testing.T, m *holdpb.HoldMsg) {
	t.Helper()
	draft := ingest.DraftOf(m)
	e, err := draft.Check(time.Now().UnixNano(), hold.DefaultLimits())
	if err != nil {
		t.Fatalf("an event of the test is not acceptable: %v: %v", m, err)
	}
	name := pairName{strings.Clone(e.Token), strings.Clone(e.Holder)}
	pair := w.pairs[name]
	if pair == nil {
		pair = hold.NewPair(w.policy)
		w.pairs[name] = pair
	}
	pair.Add(e.Fact())
	w.events++
}

// rows are the figures of every pair as of an instant, as lines that compare.
func (w *truth) rows(at int64) []string {
	var out []string
	for name, pair := range w.pairs {
		live, settled := pair.LiveAt(at), pair.SettledAt(at)
		out = append(out, row(name, live.Score.String(), live.Held.String(), settled.Score.String(), settled.Held.String()))
	}
	slices.Sort(out)
	return out
}

// holders are those who have anything, in order.
func (w *truth) holders() []string {
	all := map[string]bool{}
	for name := range w.pairs {
		all[name.holder] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// effective are the holds of a holder's pairs, as lines that compare.
func (w *truth) effective(holder string) []string {
	var out []string
	for name, pair := range w.pairs {
		if name.holder != holder {
			continue
		}
		for h := range pair.Holds() {
			out = append(out, row(name, fmt.Sprint(h.Start), fmt.Sprint(h.End), h.Weight.String(), h.HoldID))
		}
	}
	return out
}

func row(name pairName, figures ...string) string {
	return fmt.Sprintf("%s, %s: %s", name.holder, name.token, strings.Join(figures, " "))
}

// snapshots are the figures of every holder, live as of an instant behind all events.
func (w *truth) snapshots(t *testing.T, at int64) map[string]string {
	type sum struct {
		live, settled hold.Amount
		waiting       uint64
	}
	sums := map[string]sum{}
	for name, pair := range w.pairs {
		s, f := sums[name.holder], pair.Figures(at)
		sums[name.holder] = sum{s.live.Add(f.Line.Base), s.settled.Add(f.Settled), s.waiting + f.Waiting}
	}
	out := map[string]string{}
	for holder, s := range sums {
		out[holder] = line(exact(t, s.settled.Score.String()), exact(t, s.settled.Held.String()),
			exact(t, s.live.Score.String()), exact(t, s.live.Held.String()), s.waiting)
	}
	return out
}
