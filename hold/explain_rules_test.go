package hold_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// plus is s + c, and less s - c; scores wrap, so a negative one in between does no harm.
func plus(s hold.Score, c hold.Change) hold.Score {
	if c.Negative {
		return s.Sub(c.By)
	}
	return s.Add(c.By)
}

func less(s hold.Score, c hold.Change) hold.Score {
	if c.Negative {
		return s.Add(c.By)
	}
	return s.Sub(c.By)
}

// One hold after the other from what it weighs to what it counts, by every kind of
// rule, in seconds.
func TestExplainByRules(t *testing.T) {
	t.Parallel()
	const s = int64(1e9)
	half := uint64(hold.MultiplierOne / 2)
	holds := []hold.Hold{
		{Start: 10 * s, End: 20 * s, Weight: two},
		{Start: 15 * s, End: 30 * s, Weight: one},
		{Start: 50 * s, End: 52 * s, Weight: two},
		{Start: 60 * s, Weight: one},
	}
	for name, c := range map[string]struct {
		rule     hold.Rule
		from, to int64
		want     []string // plain, cut, multiplied, boosted, alone, removed, added, counted, settled
	}{
		"plain": {rule: hold.Rule{Multiplier: hold.MultiplierOne}, to: 70 * s, want: []string{
			"20 0 0 0 20 0 0 20 20", "15 0 0 0 15 5 0 10 10", "4 0 0 0 4 0 0 4 4", "10 0 0 0 10 0 0 10 0",
		}},
		"multiplier": {rule: hold.Rule{Multiplier: 3 * hold.MultiplierOne}, to: 70 * s, want: []string{
			"20 0 40 0 60 0 0 60 60", "15 0 30 0 45 15 0 30 30", "4 0 8 0 12 0 0 12 12", "10 0 20 0 30 0 0 30 0",
		}},
		"half": {rule: hold.Rule{Policy: hold.Sum, Multiplier: half}, to: 70 * s, want: []string{
			"20 0 -10 0 10 0 0 10 10", "15 0 -7.5 0 7.5 0 0 7.5 7.5", "4 0 -2 0 2 0 0 2 2", "10 0 -5 0 5 0 0 5 0",
		}},
		"nothing counts": {rule: hold.Rule{}, to: 70 * s, want: []string{
			"20 0 -20 0 0 0 0 0 0", "15 0 -15 0 0 0 0 0 0", "4 0 -4 0 0 0 0 0 0", "10 0 -10 0 0 0 0 0 0",
		}},
		"season": {rule: hold.Rule{Multiplier: 2 * hold.MultiplierOne, SeasonFrom: 12 * s, SeasonTo: 51 * s}, to: 70 * s, want: []string{
			"20 4 16 0 32 0 0 32 32", "15 0 15 0 30 10 0 20 20", "4 2 2 0 4 0 0 4 4", "10 10 0 0 0 0 0 0 0",
		}},
		// 10 to 30 is a run of 20, though neither hold alone is as long.
		"shortest": {rule: hold.Rule{Multiplier: hold.MultiplierOne, Shortest: 16 * s}, to: 70 * s, want: []string{
			"20 20 0 0 0 0 20 20 20", "15 15 0 0 0 0 10 10 10", "4 4 0 0 0 0 0 0 0", "10 10 0 0 0 0 0 0 0",
		}},
		"boosts by run": {rule: hold.Rule{Multiplier: 2 * hold.MultiplierOne, Boosts: []hold.Boost{{After: 12 * s, Factor: 3 * hold.MultiplierOne}}}, to: 70 * s, want: []string{
			"20 0 20 0 40 0 0 40 40", "15 0 15 12 42 0 10 52 52", "4 0 4 0 8 0 0 8 8", "10 0 10 0 20 0 0 20 0",
		}},
		"boosts by hold": {rule: hold.Rule{Multiplier: hold.MultiplierOne, BoostBy: hold.ByHold, Boosts: []hold.Boost{{After: 5 * s, Factor: 3 * hold.MultiplierOne}}}, to: 70 * s, want: []string{
			"20 0 0 20 40 0 0 40 40", "15 0 0 20 35 5 0 30 30", "4 0 0 0 4 0 0 4 4", "10 0 0 10 20 0 0 20 0",
		}},
		"a boost that takes": {rule: hold.Rule{Multiplier: hold.MultiplierOne, Boosts: []hold.Boost{{After: 5 * s, Factor: 0}}}, to: 40 * s, want: []string{
			"20 0 0 -10 10 0 0 10 10", "15 0 0 -10 5 5 0 0 0",
		}},
		// As of 25 the run from 10 on was too short; as of 65 all of it counts, and no hold of it alone is long enough.
		"a window in which a run becomes long enough": {rule: hold.Rule{Multiplier: hold.MultiplierOne, Shortest: 20 * s}, from: 25 * s, to: 65 * s, want: []string{
			"0 0 0 0 0 0 20 20 0", "5 5 0 0 0 0 10 10 0", "4 4 0 0 0 0 0 0 0", "5 5 0 0 0 0 0 0 0",
		}},
		"a window in which a hold becomes long enough": {rule: hold.Rule{Multiplier: hold.MultiplierOne, Shortest: 14 * s}, from: 70 * s, to: 75 * s, want: []string{
			"5 -10 0 0 15 0 0 15 0",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pair := hold.NewPair(c.rule.Policy)
			for _, h := range holds {
				e := hold.Event{Start: h.Start, End: h.End, Weight: h.Weight, HasWeight: true}
				pair.Add(e.Fact())
			}
			var got []string
			for _, p := range c.rule.Explain(pair, c.from, c.to) {
				got = append(got, fmt.Sprint(p.Plain.Score, p.Cut(), p.Multiplied(), p.Boosted(), p.Alone.Score, " ", p.Removed(), p.Added(), p.Counted.Score, p.Settled.Score))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

// By any rule the rows as of an instant add up to the live and to the settled score
// as of it; what a hold weighs is what no rule would make of it.
func TestExplainedRowsAddUpAsOf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := genRule(t)
		p := pairOf(r.Policy, genEvents(t))
		times := genTime(t)
		for range 4 {
			at := times.Draw(t, "at")
			var live, settled hold.Amount
			parts := r.Explain(p, 0, at)
			plain := hold.PlainRule(r.Policy).Explain(p, 0, at)
			if len(parts) != len(plain) {
				t.Fatalf("%+v at %d: %d rows, %d by the policy alone", r, at, len(parts), len(plain))
			}
			for i := range parts {
				live, settled = live.Add(parts[i].Counted), settled.Add(parts[i].Settled)
				if parts[i].Plain != plain[i].Alone {
					t.Fatalf("%+v at %d: row %d weighs %v, not %v", r, at, i, parts[i].Plain, plain[i].Alone)
				}
			}
			wantLive, wantSettled := r.LiveAt(p, at), r.SettledAt(p, at)
			if live.Score != wantLive.Score || settled.Score != wantSettled.Score {
				t.Fatalf("%+v at %d: the rows add up to %v, settled %v; the score is %v, settled %v", r, at, live.Score, settled.Score, wantLive.Score, wantSettled.Score)
			}
			if r.Policy == hold.Merge && (live.Held != wantLive.Held || settled.Held != wantSettled.Held) {
				t.Fatalf("%+v at %d: the rows are held %v, settled %v; the pair %v, settled %v", r, at, live.Held, settled.Held, wantLive.Held, wantSettled.Held)
			}
		}
	})
}
