package processor

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdmetrics/hold"
)

// What is taken out and put back in any order leaves what adding up one by one gives.
func TestSumIsExact(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	random := func() hold.Figures {
		var f hold.Figures
		f.Settled = hold.Amount{Score: hold.Score{r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()}, Held: hold.HeldOf(r.Uint64())}
		f.Line.Base = hold.Amount{Score: hold.Score{r.Uint64(), r.Uint64(), r.Uint64()}, Held: hold.HeldOf(r.Uint64())}
		if r.IntN(3) > 0 {
			f.Line.Rate, f.Line.HeldRate = hold.Rate{r.Uint64(), r.Uint64(), r.Uint64()}, 1
		}
		f.Line.Since = 1 + r.Int64N(1_000_000_000)
		f.Waiting = uint64(r.IntN(3))
		return f
	}
	const at = int64(2_000_000_000)
	var s sum
	var in []hold.Figures
	for range 2000 {
		if len(in) > 0 && r.IntN(3) == 0 {
			i := r.IntN(len(in))
			// The same line, taken later: a sum does not know the difference.
			f := in[i]
			later := f.Line.Since + r.Int64N(1_000_000_000)
			f.Line.Base, f.Line.Since = f.Line.At(later), later
			s.sub(&f)
			in[i] = in[len(in)-1]
			in = in[:len(in)-1]
			continue
		}
		f := random()
		s.add(&f)
		in = append(in, f)
	}
	want := hold.Figures{Line: hold.Line{Since: at}}
	for i := range in {
		want = want.Plus(in[i])
	}
	if got := s.at(at, 0); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	for i := range in {
		s.sub(&in[i])
	}
	if s != (sum{}) {
		t.Fatalf("nothing is left but %+v", s)
	}
}

// A pair whose open hold is to begin has nothing in the rest. What it takes out when the hold
// has begun is nothing too, though the first pair came and left the rest meanwhile.
func TestRestOfAHoldToCome(t *testing.T) {
	t.Parallel()
	c := newCache(hold.PlainRules(hold.Merge))
	m := &memory{scope: &scope{}, cache: c}
	h := c.addHolder("h")
	touch := func(tk string, at int64, f hold.Fact) *pair {
		pr := c.pair(h, c.tokenOf(tk))
		if pr == nil {
			pr = c.addPair(h, c.tokenOf(tk))
			pr.state = hold.NewPair(hold.Merge)
		}
		if !pr.touched {
			pr.part()
		}
		pr.state.Add(f)
		pr.at, h.updatedAt = at, at
		pr.touched, h.touched = true, true
		m.touchedPairs, m.touchedHolders = append(m.touchedPairs, pr), append(m.touchedHolders, h)
		return pr
	}
	settle := func() {
		t.Helper()
		if err := m.settle(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	a := touch("a", 10, hold.Fact{Kind: hold.KindHold, Start: 1, End: 5})
	touch("b", 10, hold.Fact{Kind: hold.KindHold, Start: 20})
	settle()
	state := a.state
	c.remove(a, 0)
	if a = c.addPair(h, c.tokenOf("a")); !a.isFirst() {
		t.Fatal("the pair is not the first")
	}
	a.state = state
	f := a.figures(h.sumAt())
	h.takeFirst(&f)
	touch("c", 25, hold.Fact{Kind: hold.KindHold, Start: 2, End: 4})
	settle()
	var want hold.Figures
	for _, tk := range []string{"a", "b", "c"} {
		want = want.Plus(c.pair(h, c.tokenOf(tk)).figures(25))
	}
	if got := h.figures(); got.Line.Base != want.Line.Base || got.Line.Rate != want.Line.Rate || got.Settled != want.Settled {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestBreaksAgainstAMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	c := newCache(hold.PlainRules(hold.Merge))
	h := c.addHolder("h")
	var tokens []*token
	for i := range 20 {
		tokens = append(tokens, c.addPair(h, c.tokenOf(fmt.Sprint(i))).token)
	}
	want := map[*token]int64{}
	for range 5000 {
		if at := r.Int64N(1000); r.IntN(50) == 0 && h.breaks != nil {
			for _, tk := range h.breaks.expired(at) {
				if want[tk] == 0 || want[tk] > at {
					t.Fatalf("token %s expired at %d, its break is %d", tk.name, at, want[tk])
				}
				delete(want, tk)
				c.release(tk)
			}
			for tk, until := range want {
				if until <= at {
					t.Fatalf("token %s did not expire at %d, its break is %d", tk.name, at, until)
				}
			}
		}
		tk, until := tokens[r.IntN(len(tokens))], int64(r.IntN(3))*r.Int64N(1000)
		c.setBreak(h, tk, until)
		if want[tk] = until; until == 0 {
			delete(want, tk)
		}
		first := int64(0)
		for _, u := range want {
			if first == 0 || u < first {
				first = u
			}
		}
		if got := h.breaks.next(); got != first {
			t.Fatalf("next is %d, want %d", got, first)
		}
		if h.breaks != nil && len(h.breaks.order) > 2*len(tokens)+17 {
			t.Fatalf("%d entries of %d tokens", len(h.breaks.order), len(tokens))
		}
	}
}

// A cache that was filled and emptied has counted itself down to nothing.
func TestCacheCountsDownToNothing(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	c := newCache(hold.PlainRules(hold.Merge))
	for i := range 1000 {
		name := fmt.Sprint("h", r.IntN(200))
		h := c.holders[name]
		if h == nil {
			h = c.addHolder(name)
		}
		tk := c.tokenOf(fmt.Sprint("t", r.IntN(20)))
		pr := c.pair(h, tk)
		if pr == nil {
			pr = c.addPair(h, tk)
			pr.state = hold.NewPair(hold.Merge)
		}
		e := hold.Event{Start: int64(i + 1), End: int64(i + 1 + r.IntN(5))}
		pr.state.Add(e.Fact())
		c.count(pr)
		if r.IntN(4) == 0 {
			c.setBreak(h, tk, r.Int64N(2)*int64(i))
		}
		if i%100 == 0 {
			c.trim(c.bytes/2, 0)
		}
	}
	pinned := c.ring[0]
	pinned.flush = 7
	c.trim(0, 6)
	if len(c.ring) != 1 || len(c.holders) != 1 || c.ring[0] != pinned {
		t.Fatalf("%d pairs of %d holders are left", len(c.ring), len(c.holders))
	}
	c.trim(0, 7)
	if c.bytes != 0 || len(c.ring)+len(c.holders)+len(c.pairs)+len(c.tokens) != 0 {
		t.Fatalf("%d bytes, %d pairs, %d holders, %d tokens are left", c.bytes, len(c.ring), len(c.holders), len(c.tokens))
	}
}
