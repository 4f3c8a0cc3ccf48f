package hold_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// The weights that events give: few, so that they meet again.
var someWeights = []hold.Weight{{}, {1}, one, {2_000_000_000_000_000_000}, maxWeight()}

func maxWeight() hold.Weight {
	w, err := hold.ParseWeight("9999999999999999999999999999999999999.999999999999999999")
	if err != nil {
		panic(err)
	}
	return w
}

// genTime draws instants that meet: a small range, or a few with wide gaps.
func genTime(t *rapid.T) *rapid.Generator[int64] {
	far := []int64{1, 2, 3, 1_000_000_000, 1_000_000_001, 5_000_000_000, 1_700_000_000_000_000_000, hold.MaxTime - 1, hold.MaxTime}
	small := rapid.Int64Range(1, 12)
	if rapid.Bool().Draw(t, "wide") {
		return rapid.OneOf(small, rapid.SampledFrom(far))
	}
	return small
}

// genEvents draws a history: every kind of event, made to collide.
func genEvents(t *rapid.T) []hold.Event {
	times := genTime(t)
	ids := rapid.SampledFrom([]string{"", "", "", "", "a", "a", "b", "c"})
	n := rapid.IntRange(0, 60).Draw(t, "n")
	var events []hold.Event
	for range n {
		e := hold.Event{Token: "t", Holder: "h", HoldID: ids.Draw(t, "id")}
		e.Revision = rapid.Uint64Range(0, 3).Draw(t, "rev")
		if w := rapid.IntRange(-2, len(someWeights)-1).Draw(t, "weight"); w >= 0 {
			e.Weight, e.HasWeight = someWeights[w], true
		}
		a, b := times.Draw(t, "a"), times.Draw(t, "b")
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0, 1, 2: // open
			e.Start = a
		case 3, 4, 5: // ended
			e.Start, e.End = min(a, b), max(a, b)
		case 6, 7: // stop
			e.End = a
		default: // a retract, mostly of something that was said
			e.Retract = true
			switch {
			case len(events) > 0 && rapid.IntRange(0, 4).Draw(t, "known") > 0:
				was := events[rapid.IntRange(0, len(events)-1).Draw(t, "which")]
				rev := e.Revision
				e = was
				e.Retract = true
				if rapid.Bool().Draw(t, "another revision") {
					e.Revision = rev
				}
			case e.HoldID != "" && rapid.Bool().Draw(t, "by id alone"):
			case rapid.Bool().Draw(t, "of a stop"):
				e.End = a
			default:
				e.Start, e.End = min(a, b), max(a, b)
			}
		}
		events = append(events, e)
	}
	return events
}

func modelOf(policy hold.Policy, events []hold.Event) *model {
	m := newModel(policy)
	for _, e := range events {
		m.add(modelFact(e))
	}
	return m
}

func genPolicy(t *rapid.T) hold.Policy {
	return rapid.SampledFrom([]hold.Policy{hold.Merge, hold.Sum}).Draw(t, "policy")
}

// drawn makes a source of numbers of rapid, so that what fails shrinks.
func drawn(t *rapid.T) func(int64) int64 {
	return func(n int64) int64 { return rapid.Int64Range(0, n-1).Draw(t, "random") }
}

func pairOf(policy hold.Policy, events []hold.Event) *hold.Pair {
	p := hold.NewPair(policy)
	for _, e := range events {
		p.Add(e.Fact())
	}
	return p
}

// TestModelAgrees: any history, in the order it was drawn.
func TestModelAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events := genPolicy(t), genEvents(t)
		p, m := hold.NewPair(policy), newModel(policy)
		for _, e := range events {
			f := e.Fact()
			if want := modelFact(e); f != want {
				t.Fatalf("%+v says %+v, want %+v", e, f, want)
			}
			if got, want := p.Add(f), m.add(f); got != want {
				t.Fatalf("add %+v: %v, want %v", f, got, want)
			}
		}
		s := m.state()
		requireSame(t, p, s, sampleTimes(s, 40, drawn(t)))
		requireFacts(t, p, m)
	})
}

// requireFacts: "Superseded and retracted facts stay".
func requireFacts(t fataler, p *hold.Pair, m *model) {
	t.Helper()
	seen := map[hold.Fact]bool{}
	for f := range p.Facts() {
		if seen[f] || !m.facts[f] {
			t.Fatalf("fact twice or never sent: %+v", f)
		}
		seen[f] = true
	}
	if len(seen) != len(m.facts) {
		t.Fatalf("%d facts, want %d", len(seen), len(m.facts))
	}
}

// TestEveryStepAgrees: the model after each event, not only at the end.
func TestEveryStepAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, everyStepAgrees)
}

// FuzzEveryStepAgrees looks for a history that the model disagrees with by coverage.
func FuzzEveryStepAgrees(f *testing.F) { f.Fuzz(rapid.MakeFuzz(everyStepAgrees)) }

func everyStepAgrees(t *rapid.T) {
	policy, events := genPolicy(t), genEvents(t)
	p, m := hold.NewPair(policy), newModel(policy)
	for _, e := range events {
		p.Add(e.Fact())
		m.add(modelFact(e))
		s := m.state()
		requireSame(t, p, s, sampleTimes(s, 4, drawn(t)))
	}
}

// requireIdentical: the canonical state of two pairs: holds, what waits, and
// figures with their lines.
func requireIdentical(t fataler, a, b *hold.Pair, times []int64) {
	t.Helper()
	if x, y := slices.Collect(a.Holds()), slices.Collect(b.Holds()); !slices.Equal(x, y) {
		t.Fatalf("holds:\n%v\nand\n%v", x, y)
	}
	if a.Waiting() != b.Waiting() {
		t.Fatalf("waiting: %d and %d", a.Waiting(), b.Waiting())
	}
	for _, at := range times {
		x, y := a.Figures(at), b.Figures(at)
		if x.Settled != y.Settled || x.Waiting != y.Waiting {
			t.Fatalf("figures at %d: %+v and %+v", at, x, y)
		}
		if x.Line != y.Line {
			t.Fatalf("lines at %d: %+v and %+v", at, x.Line, y.Line)
		}
	}
}

// TestAnyOrder: "any permutation and any duplication of the same accepted facts, in
// any batches, gives the same holds and figures, and applying a fact again
// changes nothing."
func TestAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events := genPolicy(t), genEvents(t)
		s := modelOf(policy, events).state()
		times := sampleTimes(s, 20, drawn(t))
		first := pairOf(policy, events)
		again := append(slices.Clone(events), events[:rapid.IntRange(0, len(events)).Draw(t, "twice")]...)
		order := rapid.Permutation(again).Draw(t, "order")
		other := pairOf(policy, order)
		requireSame(t, other, s, times)
		requireIdentical(t, first, other, times)
		requireIdentical(t, first, hold.PairFromFacts(policy, slices.Values(slices.Collect(other.Facts()))), times)
	})
}

// TestAddAgain: an equal fact is the same fact, and changes nothing, not even a page.
func TestAddAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events := genPolicy(t), genEvents(t)
		p := pairOf(policy, events)
		before := pairOf(policy, events)
		p.ClearDirty()
		for _, e := range events {
			if p.Add(e.Fact()) {
				t.Fatalf("%+v was new again", e)
			}
		}
		for page := range p.DirtyPages() {
			t.Fatalf("page %x is dirty", page.Key)
		}
		s := modelOf(policy, events).state()
		requireIdentical(t, before, p, sampleTimes(s, 20, drawn(t)))
	})
}

// TestLaterStarts: a score as of T is not changed by facts that start at or after
// T. (A fact with a hold_id may correct what an earlier fact of that id said, so
// ids are new here.)
func TestLaterStarts(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events := genPolicy(t), genEvents(t)
		T := rapid.Int64Range(1, 14).Draw(t, "T")
		p := pairOf(policy, events)
		live, settled := p.LiveAt(T), p.SettledAt(T)
		var later []hold.Event
		for _, e := range genEvents(t) {
			if e.Start < T || e.HoldID != "" && e.Retract {
				continue
			}
			if e.HoldID != "" {
				e.HoldID = "later " + e.HoldID
			}
			later = append(later, e)
			p.Add(e.Fact())
		}
		if got := p.LiveAt(T); got != live {
			t.Fatalf("live as of %d was %v, is %v after %v", T, live, got, later)
		}
		if got := p.SettledAt(T); got != settled {
			t.Fatalf("settled as of %d was %v, is %v after %v", T, settled, got, later)
		}
	})
}

// TestWindows: "A window [from, to) is score(to) - score(from)", so windows add up;
// and live figures never fall.
func TestWindows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events := genPolicy(t), genEvents(t)
		p, s := pairOf(policy, events), modelOf(policy, events).state()
		times := sampleTimes(s, 12, drawn(t))
		var sum hold.Amount
		for i := 1; i < len(times); i++ {
			a, b := p.LiveAt(times[i-1]), p.LiveAt(times[i])
			if b.Score.Cmp(a.Score) < 0 || b.Held.Cmp(a.Held) < 0 {
				t.Fatalf("live falls from %d to %d", times[i-1], times[i])
			}
			w := b.Sub(a)
			if want := s.window(times[i-1], times[i]); !amountOf(w).equal(want) {
				t.Fatalf("window %d %d: %v, want %v", times[i-1], times[i], amountOf(w), want)
			}
			sum = sum.Add(w)
		}
		whole := p.LiveAt(times[len(times)-1]).Sub(p.LiveAt(times[0]))
		if sum != whole {
			t.Fatalf("windows add up to %v, the whole is %v", sum, whole)
		}
	})
}

// TestFactBytes: the same fact gives the same bytes, others give others, and they
// delimit themselves.
func TestFactBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := genEvents(t)
		byBytes := map[string]hold.Fact{}
		var all []byte
		for _, e := range events {
			f := e.Fact()
			b := f.Append(nil)
			if was, ok := byBytes[string(b)]; ok && was != f {
				t.Fatalf("%+v and %+v have the same bytes", was, f)
			}
			byBytes[string(b)] = f
			all = f.Append(all)
		}
		for _, e := range events {
			f, rest, err := hold.ParseFact(all)
			if err != nil || f != e.Fact() {
				t.Fatalf("parsed %+v, %v, want %+v", f, err, e.Fact())
			}
			all = rest
		}
		if len(all) != 0 {
			t.Fatalf("%d bytes left", len(all))
		}
	})
}

// TestFiguresBytes: figures and their sums keep their value through their bytes.
func TestFiguresBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := pairOf(genPolicy(t), genEvents(t))
		q := pairOf(genPolicy(t), genEvents(t))
		at := rapid.Int64Range(1, 20).Draw(t, "at")
		a, b := p.Figures(at), q.Figures(at)
		sum := a.Plus(b)
		if sum != b.Plus(a) {
			t.Fatalf("a+b and b+a differ")
		}
		if got, want := sum.Line.At(at), p.LiveAt(at).Add(q.LiveAt(at)); got != want || !sum.Line.Holds(at) {
			t.Fatalf("the sum of two lines gives at %d: %v, want %v", at, got, want)
		}
		bytes := sum.Append(a.Append(nil))
		x, rest, err := hold.ParseFigures(bytes)
		if err != nil || x != a {
			t.Fatalf("parsed %+v, %v, want %+v", x, err, a)
		}
		y, rest, err := hold.ParseFigures(rest)
		if err != nil || y != sum || len(rest) != 0 {
			t.Fatalf("parsed %+v, %v, want %+v", y, err, sum)
		}
	})
}

// seeded is a source of numbers for the runs that are too long for rapid.
func seeded(seed uint64) func(int64) int64 {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(n int64) int64 { return r.Int64N(n) }
}
