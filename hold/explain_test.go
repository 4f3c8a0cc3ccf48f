package hold_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	holds := []hold.Hold{
		{Start: 1e9, End: 11e9, Weight: one},
		{Start: 1e9, End: 11e9, Weight: one, HoldID: "twin"}, // equal: the first counts
		{Start: 5e9, End: 7e9, Weight: two, HoldID: "heavy"},
		{Start: 9e9, Weight: two}, // open
		{Start: 10e9, End: 10e9, Weight: one},
		{Start: 30e9, Weight: one}, // after the window
	}
	for name, c := range map[string]struct {
		policy   hold.Policy
		from, to int64
		want     []string // id, alone, counted, removed, covers, is the one for
	}{
		"merge": {hold.Merge, 0, 20e9, []string{
			" 10 6 4 10 6", "twin 10 0 10 10 0", "heavy 4 4 0 2 2", " 22 22 0 11 11", " 0 0 0 0 0",
		}},
		"sum": {hold.Sum, 0, 20e9, []string{
			" 10 10 0 10 10", "twin 10 10 0 10 10", "heavy 4 4 0 2 2", " 22 22 0 11 11", " 0 0 0 0 0",
		}},
		"window": {hold.Merge, 6e9, 8e9, []string{" 2 1 1 2 1", "twin 2 0 2 2 0", "heavy 2 2 0 1 1"}},
		"empty":  {hold.Merge, 8e9, 8e9, nil},
		"before": {hold.Merge, 0, 1e9, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, p := range hold.Explain(c.policy, slices.Values(holds), c.from, c.to) {
				got = append(got, fmt.Sprintf("%s %s %s %s %s %s", p.HoldID, p.Alone.Score, p.Counted.Score, p.Removed(), p.Alone.Held, p.Counted.Held))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

var two = hold.Weight{2_000_000_000_000_000_000}

// What the holds count adds up to the score of the window, under both policies.
func TestExplainAddsUp(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := hold.Policy(rapid.IntRange(0, 1).Draw(t, "policy"))
		pair := hold.NewPair(policy)
		for _, e := range genEvents(t) {
			pair.Add(e.Fact())
		}
		times := genTime(t)
		a, b := times.Draw(t, "from"), times.Draw(t, "to")
		from, to := min(a, b), max(a, b)
		want := pair.LiveAt(to).Sub(pair.LiveAt(from))
		var got hold.Amount
		for _, p := range hold.Explain(policy, pair.Holds(), from, to) {
			got = got.Add(p.Counted)
			if p.Counted.Score.Cmp(p.Alone.Score) > 0 || p.Counted.Held.Cmp(p.Alone.Held) > 0 {
				t.Fatalf("%+v counts more than it has", p)
			}
		}
		if got.Score != want.Score || policy == hold.Merge && got.Held != want.Held {
			t.Fatalf("[%d, %d): %v held %v, the pair has %v held %v", from, to, got.Score, got.Held, want.Score, want.Held)
		}
	})
}

func TestParseDecimals(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0", "1", "0.1", "108000", "0.000000000000000000000000000000001", "39402006196394479212279040100143613805079739270465446667948293404245721771497210611414266254884915640806627990306815.999999999999999999999999999999999"} {
		s, err := hold.ParseScore(text)
		if len(text) < 100 && (err != nil || s.String() != text) {
			t.Errorf("%s: %s, %v", text, s, err)
		}
		if len(text) >= 100 && err == nil {
			t.Errorf("%s fits", text)
		}
	}
	for _, bad := range []string{"", ".", "1.", ".1", "-1", "1e3", "0x1", "1 ", "0.0000000000000000000000000000000001"} {
		if s, err := hold.ParseScore(bad); err == nil {
			t.Errorf("%q is %s", bad, s)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var s hold.Score
		for i := range s {
			s[i] = rapid.Uint64().Draw(t, "limb")
		}
		if got, err := hold.ParseScore(s.String()); err != nil || got != s {
			t.Fatalf("%v, %v", got, err)
		}
		r := hold.Rate(s)
		if got, err := hold.ParseRate(r.String()); err != nil || got != r {
			t.Fatalf("%v, %v", got, err)
		}
		h := hold.Held(s[:2])
		if got, err := hold.ParseHeld(h.String()); err != nil || got != h {
			t.Fatalf("%v, %v", got, err)
		}
	})
}
