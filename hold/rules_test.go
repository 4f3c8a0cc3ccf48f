package hold_test

import (
	"cmp"
	"errors"
	"math"
	"math/big"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// genRule draws a rule whose lengths and season meet the times of genTime.
func genRule(t *rapid.T) *hold.Rule {
	lengths := rapid.OneOf(rapid.Int64Range(0, 9), rapid.SampledFrom([]int64{1_000_000_000, 4_000_000_000, hold.MaxTime - 3, hold.MaxTime}))
	r := &hold.Rule{Policy: genPolicy(t)}
	r.Multiplier = rapid.SampledFrom([]uint64{hold.MultiplierOne, hold.MultiplierOne, 0, 2_000_000, 2_500_000, 1_000, hold.MaxMultiplier}).Draw(t, "multiplier")
	if rapid.Bool().Draw(t, "season") {
		instants := rapid.OneOf(rapid.Int64Range(1, 12), rapid.SampledFrom([]int64{1_000_000_001, hold.MaxTime}))
		r.SeasonFrom, r.SeasonTo = instants.Draw(t, "season from"), instants.Draw(t, "season to")
		switch {
		case r.SeasonFrom >= r.SeasonTo || rapid.IntRange(0, 2).Draw(t, "season ends") == 0:
			r.SeasonTo = 0
		case rapid.Bool().Draw(t, "season begins"):
			r.SeasonFrom = 0
		}
	}
	if rapid.Bool().Draw(t, "has a shortest run") {
		r.Shortest = lengths.Draw(t, "shortest run")
	}
	r.BoostBy = rapid.SampledFrom([]hold.BoostBy{hold.ByRun, hold.ByHold}).Draw(t, "by")
	if rapid.Bool().Draw(t, "boosts") {
		after := map[int64]bool{}
		for range rapid.IntRange(1, 4).Draw(t, "steps") {
			after[lengths.Draw(t, "after")] = true
		}
		for _, a := range slices.Sorted(mapKeys(after)) {
			f := rapid.SampledFrom([]uint64{0, 1_000_000, 1_500_000, 3_000_000, hold.MaxMultiplier, 7_000_000}).Draw(t, "factor")
			if b := (hold.Boost{After: a, Factor: f}); b.Exact(r.Multiplier) {
				r.Boosts = append(r.Boosts, b)
			}
		}
	}
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	return r
}

func mapKeys(m map[int64]bool) func(func(int64) bool) {
	return func(yield func(int64) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// ruledTimes are the times of sampleTimes, and those where a rule changes
// something, with the nanoseconds beside them.
func ruledTimes(s ruled, n int, random func(int64) int64) []int64 {
	var times []int64
	add := func(t int64) { times = append(times, t-1, t, t+1) }
	add(s.r.SeasonFrom)
	add(s.r.SeasonTo)
	for _, h := range s.holds {
		add(h.start)
		add(h.end)
		for _, b := range s.r.Boosts {
			add(h.start + b.After)
		}
		add(h.start + s.r.Shortest)
	}
	times = append(times, 1, 1+random(20), hold.MaxTime, hold.MaxTime+5)
	times = slices.DeleteFunc(times, func(t int64) bool { return t < 1 || t > hold.MaxTime+10 })
	for len(times) > n {
		i := int(random(int64(len(times))))
		times = slices.Delete(times, i, i+1)
	}
	slices.Sort(times)
	return slices.Compact(times)
}

// requireRuled compares what a rule makes of a pair with the model.
func requireRuled(t fataler, p *hold.Pair, s ruled, times []int64) {
	t.Helper()
	live := map[int64]modelAmount{}
	liveAt := func(at int64) modelAmount {
		if _, ok := live[at]; !ok {
			live[at] = s.live(at)
		}
		return live[at]
	}
	if got, want := ruledAmount(s.r.Settled(p)), s.settled(); !got.equal(want) {
		t.Fatalf("%+v: settled: %v, want %v", s.r, got, want)
	}
	for _, at := range times {
		if got, want := ruledAmount(s.r.LiveAt(p, at)), liveAt(at); !got.equal(want) {
			t.Fatalf("%+v: live at %d: %v, want %v", s.r, at, got, want)
		}
		if got, want := ruledAmount(s.r.SettledAt(p, at)), s.settledAt(at); !got.equal(want) {
			t.Fatalf("%+v: settled at %d: %v, want %v", s.r, at, got, want)
		}
		f := s.r.Figures(p, at)
		if got, want := ruledAmount(f.Settled), s.settled(); !got.equal(want) || f.Waiting != uint64(s.waiting) {
			t.Fatalf("%+v: figures at %d: settled %v, waiting %d, want %v, %d", s.r, at, got, f.Waiting, want, s.waiting)
		}
		requireRuledLine(t, f.Line, s, at, append(slices.Clone(times), f.Line.Until-1, f.Line.Until, at+1), liveAt)
	}
}

// requireRuledLine: a line is true from its beginning to Until, that included,
// and Until is later than its beginning.
func requireRuledLine(t fataler, l hold.Line, s ruled, at int64, times []int64, liveAt func(int64) modelAmount) {
	t.Helper()
	if l.Since != at || l.Until != 0 && l.Until <= at {
		t.Fatalf("%+v: the line for %d holds in [%d, %d)", s.r, at, l.Since, l.Until)
	}
	for _, T := range times {
		if T < at || l.Until != 0 && T > l.Until {
			continue
		}
		if got, want := ruledAmount(l.At(T)), liveAt(T); !got.equal(want) {
			t.Fatalf("%+v: the line for %d until %d gives at %d: %v, want %v", s.r, at, l.Until, T, got, want)
		}
	}
}

// TestRules: any rule over any history.
func TestRules(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events, r := genEvents(t), genRule(t)
		s := ruled{modelOf(r.Policy, events).state(), r}
		times := ruledTimes(s, 12, drawn(t))
		p := pairOf(r.Policy, events)
		requireRuled(t, p, s, times)
		p.Grow()
		requireRuled(t, p, s, times)
	})
}

// TestRulesAnyOrder: no order of facts changes a figure.
func TestRulesAnyOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events, r := genEvents(t), genRule(t)
		s := ruled{modelOf(r.Policy, events).state(), r}
		p, q := pairOf(r.Policy, events), pairOf(r.Policy, rapid.Permutation(events).Draw(t, "order"))
		for _, at := range ruledTimes(s, 12, drawn(t)) {
			if a, b := r.Figures(p, at), r.Figures(q, at); a != b {
				t.Fatalf("%+v: figures at %d: %+v and %+v", r, at, a, b)
			}
			if a, b := r.SettledAt(p, at), r.SettledAt(q, at); a != b {
				t.Fatalf("%+v: settled at %d: %+v and %+v", r, at, a, b)
			}
		}
	})
}

// TestPlainRule: a rule of nothing but a policy says what the pair says.
func TestPlainRule(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy, events := genPolicy(t), genEvents(t)
		p, s := pairOf(policy, events), modelOf(policy, events).state()
		r := hold.PlainRules(policy).Of("t")
		for _, at := range sampleTimes(s, 10, drawn(t)) {
			if r.Figures(p, at) != p.Figures(at) || r.LiveAt(p, at) != p.LiveAt(at) || r.SettledAt(p, at) != p.SettledAt(at) {
				t.Fatalf("a plain rule at %d says other than the pair", at)
			}
		}
	})
}

// TestRulesLarge: long histories, in a tree and in pages.
func TestRulesLarge(t *testing.T) {
	t.Parallel()
	rules := []hold.Rule{
		{Multiplier: 3_000_000, SeasonFrom: 100, SeasonTo: 2000},
		{Multiplier: 2_000_000, Shortest: 12, SeasonFrom: 50},
		{Multiplier: 500_000, Boosts: []hold.Boost{{After: 5, Factor: 2_000_000}, {After: 300, Factor: 4_000_000}}, SeasonTo: 1500},
		{Multiplier: 1_000_000, Shortest: 7, BoostBy: hold.ByHold, Boosts: []hold.Boost{{After: 3, Factor: 2_000_000}, {After: 9, Factor: 1_500_000}}},
	}
	for i, scenario := range largeScenarios {
		for j := range rules {
			for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
				if !*long && int(policy) != (i+j)%2 {
					continue // the model is slow; each rule and each history has both all the same
				}
				t.Run(scenario.name+"/"+string(rune('0'+j))+"/"+policy.String(), func(t *testing.T) {
					t.Parallel()
					n := 150 // several leaves
					if *long {
						n = 3000
					}
					r := rules[j]
					r.Policy = policy
					random := seeded(uint64(i))
					events := scenario.events(n, random)
					s := ruled{modelOf(policy, events).state(), &r}
					times := ruledTimes(s, 4, random)
					p := pairOf(policy, events)
					requireRuled(t, p, s, times)
					opened, _ := runStored(t, policy, events,
						func(int) bool { return random(50) == 0 },
						func(int) bool { return random(200) == 0 },
						func(int) int { return int(random(40_000)) - 20_000 })
					for _, at := range append(times, ruledTimes(s, 20, random)...) {
						if a, b := r.Figures(p, at), r.Figures(opened, at); a != b {
							t.Fatalf("figures at %d: %+v and %+v", at, a, b)
						}
						if a, b := r.SettledAt(p, at), r.SettledAt(opened, at); a != b {
							t.Fatalf("settled at %d: %+v and %+v", at, a, b)
						}
						if a, b := r.LiveAt(p, at), r.LiveAt(opened, at); a != b {
							t.Fatalf("live at %d: %+v and %+v", at, a, b)
						}
						if a, b := r.Explain(p, at-20, at), r.Explain(opened, at-20, at); !slices.Equal(a, b) {
							t.Fatalf("explained at %d: %+v and %+v", at, a, b)
						}
					}
					if err := opened.Err(); err != nil {
						t.Fatal(err)
					}
				})
			}
		}
	}
}

// TestRulesExplain: each hold counts what the model gives it, and they add up to
// the window.
func TestRulesExplain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events, r := genEvents(t), genRule(t)
		s := ruled{modelOf(r.Policy, events).state(), r}
		p := pairOf(r.Policy, events)
		// Of equal weights the first in the order of Pair.Holds counts.
		slices.SortStableFunc(s.holds, func(a, b modelHold) int {
			return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end), a.weight.Cmp(b.weight), strings.Compare(a.id, b.id))
		})
		for i, h := range s.holds {
			s.weights[i] = modelWeight(h.weight)
		}
		times := ruledTimes(s, 2, drawn(t))
		from, to := times[0], times[len(times)-1]
		before, after := s.shares(from), s.shares(to)
		parts := r.Explain(p, from, to)
		var sum hold.Amount
		holds := slices.Collect(p.Holds())
		for i, h := range holds {
			at := slices.IndexFunc(parts, func(c hold.Contribution) bool { return c.Hold == h })
			want, alone := window(before[s.index(h)], after[s.index(h)]), s.alone(s.index(h))
			wantAlone := alone.live(to).sub(alone.live(from))
			if at < 0 {
				if want.held.Sign() != 0 || wantAlone.held.Sign() != 0 {
					t.Fatalf("%+v: hold %d of %+v is not explained, and counts %v, alone %v", r, i, holds, want, wantAlone)
				}
				continue
			}
			c := parts[at]
			parts = slices.Delete(parts, at, at+1)
			sum = sum.Add(c.Counted)
			if got := ruledAmount(c.Alone); !got.equal(wantAlone) {
				t.Fatalf("%+v: [%d, %d): %+v alone is %v, want %v", r, from, to, h, got, wantAlone)
			}
			if got := ruledAmount(c.Counted); !got.equal(want) {
				t.Fatalf("%+v: [%d, %d): %+v counts %v, want %v", r, from, to, h, got, want)
			}
			if c.Alone.Score.Sub(c.Removed()).Add(c.Added()) != c.Counted.Score || !c.Removed().IsZero() && !c.Added().IsZero() {
				t.Fatalf("alone %v, less %v, plus %v, is %v", c.Alone.Score, c.Removed(), c.Added(), c.Counted.Score)
			}
			if got := plus(plus(less(c.Plain.Score, c.Cut()), c.Multiplied()), c.Boosted()); got != c.Alone.Score {
				t.Fatalf("%+v: %v cut by %v, plus %v, plus %v, is %v, not %v", r, c.Plain.Score, c.Cut(), c.Multiplied(), c.Boosted(), got, c.Alone.Score)
			}
		}
		if len(parts) > 0 {
			t.Fatalf("explained, and no hold: %+v", parts)
		}
		want := r.LiveAt(p, to).Sub(r.LiveAt(p, from))
		if sum.Score != want.Score || r.Policy == hold.Merge && sum.Held != want.Held {
			t.Fatalf("%+v: [%d, %d): %v held %v, the pair has %v held %v", r, from, to, sum.Score, sum.Held, want.Score, want.Held)
		}
	})
}

// index is the place of a hold among the model's.
func (s ruled) index(h hold.Hold) int {
	return slices.IndexFunc(s.holds, func(m modelHold) bool {
		return m.start == h.Start && m.end == h.End && m.weight == h.Weight && m.id == h.HoldID
	})
}

func window(before, after modelAmount) modelAmount {
	zero := modelAmount{new(big.Int), new(big.Int)}
	if before.score == nil {
		before = zero
	}
	if after.score == nil {
		after = zero
	}
	return after.sub(before)
}

// TestRuleExtremes: the largest weight, multiplier and factor from the first second
// to the last do not wrap, a thousand times over.
func TestRuleExtremes(t *testing.T) {
	t.Parallel()
	for _, by := range []hold.BoostBy{hold.ByRun, hold.ByHold} {
		r := &hold.Rule{Policy: hold.Sum, Multiplier: 999_999_000_000, Shortest: hold.MaxTime - 1_000_000_000, BoostBy: by, Boosts: []hold.Boost{{After: 0, Factor: 999_999_000_000}}}
		if err := r.Check(); err != nil {
			t.Fatal(err)
		}
		p := hold.NewPair(hold.Sum)
		for i := range 1000 {
			p.Add(hold.Fact{Kind: hold.KindHold, Start: 1_000_000_000, End: hold.MaxTime, Weight: maxWeight(), HasWeight: true, HoldID: string(rune('0' + i))})
		}
		want := modelWeight(maxWeight())
		for _, m := range []int64{hold.MaxTime - 1_000_000_000, 1000, 999_999_000_000, 999_999_000_000} {
			want.Mul(want, big.NewInt(m))
		}
		for _, got := range []hold.Amount{r.Settled(p), r.LiveAt(p, hold.MaxTime), r.LiveAt(p, math.MaxInt64), r.Figures(p, hold.MaxTime).Line.Base} {
			if ruledAmount(got).score.Cmp(want) != 0 {
				t.Errorf("%v, want %s", got, want)
			}
		}
	}
}

func TestRuleCheck(t *testing.T) {
	t.Parallel()
	for _, r := range []hold.Rule{
		{Policy: 2},
		{Multiplier: hold.MaxMultiplier + 1},
		{SeasonFrom: -1},
		{SeasonTo: hold.MaxTime + 1},
		{SeasonFrom: 5, SeasonTo: 5},
		{Shortest: -1},
		{Shortest: hold.MaxTime + 1},
		{BoostBy: 2},
		{Boosts: []hold.Boost{{After: -1}}},
		{Boosts: []hold.Boost{{After: 1}, {After: 1}}},
		{Boosts: []hold.Boost{{Factor: hold.MaxMultiplier + 1}}},
		{Multiplier: 1, Boosts: []hold.Boost{{Factor: 1}}},
	} {
		if err := r.Check(); !errors.Is(err, hold.ErrRule) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	if err := hold.PlainRule(hold.Sum).Check(); err != nil {
		t.Error(err)
	}
}
