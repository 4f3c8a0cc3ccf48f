package hold_test

import (
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// genClosedRule is a rule that integrals can answer by.
func genClosedRule(t *rapid.T) *hold.Rule {
	r := hold.PlainRule(rapid.SampledFrom([]hold.Policy{hold.Merge, hold.Sum}).Draw(t, "policy"))
	r.Multiplier = rapid.SampledFrom([]uint64{hold.MultiplierOne, hold.MultiplierOne, 0, 1_500_000, hold.MaxMultiplier}).Draw(t, "multiplier")
	if rapid.Bool().Draw(t, "season") {
		r.SeasonFrom = rapid.Int64Range(0, 40).Draw(t, "season from")
		r.SeasonTo = r.SeasonFrom + rapid.Int64Range(1, 40).Draw(t, "season length")
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	return r
}

// An integral that takes all holds of a pair has the figures of the pair.
func TestIntegralEqualsPair(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := genClosedRule(t)
		at := rapid.Int64Range(1, 80)
		if rapid.Bool().Draw(t, "far") {
			at = rapid.OneOf(at, rapid.Int64Range(hold.MaxTime-80, hold.MaxTime))
		}
		q := hold.Question{At: at.Draw(t, "at"), SettledAt: hold.MaxTime}
		if rapid.Bool().Draw(t, "as of") {
			q.SettledAt = q.At
		}
		if rapid.Bool().Draw(t, "window") {
			q.Window, q.SettledAt, q.From = true, q.At, rapid.Int64Range(0, q.At).Draw(t, "from")
		}
		var i hold.Integral
		p := hold.NewPair(r.Policy)
		start := int64(0)
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			// Most holds follow the others, so that long runs of them are tried too.
			start += rapid.SampledFrom([]int64{1, 1, 2, 3, 9, 9, 0, -2}).Draw(t, "step")
			if start < 1 {
				start = 1
			}
			e := hold.Event{Token: "t", Holder: "h", Start: start}
			if rapid.IntRange(0, 7).Draw(t, "open") > 0 {
				e.End = start + rapid.SampledFrom([]int64{0, 1, 1, 2, 8, 20, 1e18}).Draw(t, "length")
			}
			w := hold.One
			if k := rapid.IntRange(-1, len(someWeights)-1).Draw(t, "weight"); k >= 0 {
				w = someWeights[k]
				e.Weight, e.HasWeight = w, true
			}
			if !i.Add(&q, r, e.Start, e.End, &w) {
				return // a pair has to do it
			}
			p.Add(e.Fact())
		}
		if got, want := i.Answer(&q, r), r.Answer(p, &q); got != want {
			t.Fatalf("question %+v, rule %+v: the integral has\n%+v\nand the pair\n%+v", q, r, got, want)
		}
	})
}

// An integral refuses what it cannot answer.
func TestIntegralRefuses(t *testing.T) {
	t.Parallel()
	q := hold.Question{At: 100, SettledAt: hold.MaxTime}
	for _, c := range []struct {
		name       string
		policy     hold.Policy
		start, end int64
		want       bool
	}{
		{"an equal start", hold.Sum, 10, 20, false},
		{"an earlier start", hold.Sum, 9, 20, false},
		{"an overlap under sum", hold.Sum, 15, 30, true},
		{"an overlap under merge", hold.Merge, 15, 30, false},
		{"the next one", hold.Merge, 20, 30, true},
	} {
		var i hold.Integral
		r, w := hold.PlainRule(c.policy), hold.One
		if !i.Add(&q, r, 10, 20, &w) {
			t.Fatalf("%s: the first hold is refused", c.name)
		}
		if got := i.Add(&q, r, c.start, c.end, &w); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	// An open hold reaches over every later one.
	var i hold.Integral
	r, w := hold.PlainRule(hold.Merge), hold.One
	if !i.Add(&q, r, 10, 0, &w) || i.Add(&q, r, 50, 60, &w) {
		t.Error("a hold within an open one")
	}
	if (&hold.Rule{Shortest: 1}).Closed() || (&hold.Rule{Boosts: []hold.Boost{{Factor: 1}}}).Closed() || !r.Closed() {
		t.Error("Closed")
	}
}

// Sums beyond 256 bits are refused, and not wrapped.
func TestIntegralOverflows(t *testing.T) {
	t.Parallel()
	q := hold.Question{At: hold.MaxTime, SettledAt: hold.MaxTime}
	r := hold.PlainRule(hold.Sum)
	w, err := hold.ParseWeight("9999999999999999999999999999999999999.999999999999999999")
	if err != nil {
		t.Fatal(err)
	}
	var i hold.Integral
	p := hold.NewPair(hold.Sum)
	for n := range int64(100_000) {
		if !i.Add(&q, r, 1+n, hold.MaxTime, &w) {
			return
		}
		if n < 100 {
			p.Add((&hold.Event{Start: 1 + n, End: hold.MaxTime, Weight: w, HasWeight: true}).Fact())
			if got, want := i.Answer(&q, r), r.Answer(p, &q); got != want {
				t.Fatalf("%d holds: %+v, and not %+v", n+1, got, want)
			}
		}
	}
	t.Error("100,000 of the largest holds fit 256 bits")
}
