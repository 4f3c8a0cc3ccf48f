package hold_test

import (
	"fmt"
	"math/big"
	"slices"
	"testing"

	"holdmetrics/hold"
)

// realView reads the package's pair in the model's terms, so that the two can be
// compared.
type realView struct{ *hold.Pair }

func (v realView) holds() []modelHold {
	var out []modelHold
	for h := range v.Pair.Holds() {
		if n := len(out); n > 0 && out[n-1].start > h.Start {
			panic("the holds do not come by start")
		}
		out = append(out, modelHold{id: h.HoldID, start: h.Start, end: h.End, weight: h.Weight})
	}
	sortHolds(out)
	return out
}

func (v realView) waiting() int { return v.Pair.Waiting() }

func (v realView) facts() int {
	seen := map[hold.Fact]bool{}
	for f := range v.Pair.Facts() {
		if seen[f] {
			panic(fmt.Sprintf("fact twice: %+v", f))
		}
		seen[f] = true
	}
	return len(seen)
}

func (v realView) settled() modelAmount          { return amountOf(v.Figures(1).Settled) }
func (v realView) settledAt(t int64) modelAmount { return amountOf(v.SettledAt(t)) }
func (v realView) live(t int64) modelAmount      { return amountOf(v.LiveAt(t)) }

func (v realView) line(t int64) string {
	f := v.Figures(t)
	if int(f.Waiting) != v.Pair.Waiting() {
		panic("figures and pair disagree on what waits")
	}
	l := f.Line
	if !l.Holds(t) {
		return fmt.Sprintf("line does not hold at %d: %+v", t, l)
	}
	return formatLine(amountOf(l.At(t)), scaled(l.Rate[:], 1_000_000), int(l.HeldRate), l.Until)
}

// realViews makes the package's pair in every way there is.
func (w *world) realViews(t *testing.T, events []hold.Event) map[string]map[hold.Policy]view {
	t.Helper()
	out := map[string]map[hold.Policy]view{"one by one": {}, "from its facts": {}, "from its pages": {}, "with a timeline from the first": {}}
	for _, policy := range w.policies {
		pair, timeline := hold.NewPair(policy), hold.NewPair(policy)
		timeline.Grow()
		for _, e := range events {
			pair.Add(e.Fact())
			timeline.Add(e.Fact())
		}
		for _, e := range events {
			if pair.Add(e.Fact()) {
				t.Fatalf("%s: %+v was new a second time", w.name, e)
			}
		}
		opened, err := hold.OpenPair(policy, slices.Collect(pair.DirtyPages()), nil)
		if err != nil {
			t.Fatalf("%s: open from pages: %v", w.name, err)
		}
		out["one by one"][policy] = realView{pair}
		out["with a timeline from the first"][policy] = realView{timeline}
		out["from its facts"][policy] = realView{hold.PairFromFacts(policy, pair.Facts())}
		out["from its pages"][policy] = realView{opened}
	}
	return out
}

// amountOf is an amount in the model's units.
func amountOf(a hold.Amount) modelAmount {
	return modelAmount{scaled(a.Score[:], 1_000_000), limbs(a.Held[:])}
}

// limbs is a little endian number.
func limbs(in []uint64) *big.Int {
	out := new(big.Int)
	for _, l := range slices.Backward(in) {
		out.Lsh(out, 64)
		out.Or(out, new(big.Int).SetUint64(l))
	}
	return out
}

// scaled is a number divided by a unit that it must be a multiple of: a pair
// without a multiplier uses none of the last six digits.
func scaled(in []uint64, unit int64) *big.Int {
	q, r := new(big.Int).QuoRem(limbs(in), big.NewInt(unit), new(big.Int))
	if r.Sign() != 0 {
		panic("a score has digits that no weight can give")
	}
	return q
}
