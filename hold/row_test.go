package hold_test

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// genSmallEvents draws what a pair keeps as rows for long: no hold_ids, and for
// each start weights or none.
func genSmallEvents(t *rapid.T) []hold.Event {
	weights := append(slices.Clone(someWeights), hold.Weight{0, 1}, hold.Weight{0, 1 << 63}, hold.Weight{1 << 63},
		hold.Weight{0, 0, 1}, hold.Weight{1<<53 - 1}, hold.Weight{1 << 53}, hold.Weight{1<<53 + 1})
	far := rapid.Bool().Draw(t, "far")
	n := rapid.IntRange(0, 90).Draw(t, "n")
	at := rapid.Int64Range(1, int64(2+2*n))
	var events []hold.Event
	for range n {
		a, b := at.Draw(t, "a"), at.Draw(t, "b")
		if far {
			a, b = a*1e16, b*1e16
		}
		e := hold.Event{Token: "t", Holder: "h", Start: min(a, b), End: max(a, b)}
		if e.Start%3 != 0 {
			e.Weight, e.HasWeight = rapid.SampledFrom(weights).Draw(t, "weight"), true
		}
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0, 1, 2:
			e.End = 0
		case 3, 4:
			e.Start = 0
		case 5:
			e.Retract = true
		case 6:
			if len(events) > 0 {
				e = rapid.SampledFrom(events).Draw(t, "known")
				e.Retract = rapid.Bool().Draw(t, "retract")
			}
		case 7:
			e.End = e.Start + 1 // overlaps little
		}
		events = append(events, e)
	}
	return events
}

// requireSamePair: all that two pairs show, facts and pages included.
func requireSamePair(t fataler, a, b *hold.Pair, times []int64) {
	t.Helper()
	requireIdentical(t, a, b, times)
	for _, at := range times {
		if x, y := a.LiveAt(at), b.LiveAt(at); x != y {
			t.Fatalf("live at %d: %v and %v", at, x, y)
		}
		if x, y := a.SettledAt(at), b.SettledAt(at); x != y {
			t.Fatalf("settled at %d: %v and %v", at, x, y)
		}
	}
	if x, y := slices.Collect(a.Facts()), slices.Collect(b.Facts()); !slices.Equal(x, y) || a.Len() != b.Len() || a.Len() != len(x) {
		t.Fatalf("%d facts:\n%v\nand %d:\n%v", a.Len(), x, b.Len(), y)
	}
	x, y := slices.Collect(a.DirtyPages()), slices.Collect(b.DirtyPages())
	if !slices.EqualFunc(x, y, func(a, b hold.Page) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Data, b.Data) }) {
		t.Fatalf("pages:\n%x\nand\n%x", x, y)
	}
}

// TestRowsAndTimeline: a pair shows the same whether it is rows, has its timeline
// from the first, or grows it at any moment; and what it grows is, to the last
// bit, what it would have had from the first.
func TestRowsAndTimeline(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := genPolicy(t)
		events := rapid.OneOf(rapid.Custom(genSmallEvents), rapid.Custom(genEvents)).Draw(t, "events")
		s := modelOf(policy, events).state()
		modelTimes := sampleTimes(s, 10, drawn(t))
		times := append([]int64{0}, modelTimes...)
		rows, timeline, grows := hold.NewPair(policy), hold.NewPair(policy), hold.NewPair(policy)
		timeline.Grow()
		moment := rapid.IntRange(0, len(events)).Draw(t, "moment")
		a, b := stored{}, stored{}
		for i, e := range events {
			if i == moment {
				grows.Grow()
				if diff := grows.Difference(timeline); diff != "" {
					t.Fatalf("grown after %d events: %s", i, diff)
				}
			}
			was := rows.Grown()
			added := timeline.Add(e.Fact())
			if rows.Add(e.Fact()) != added || grows.Add(e.Fact()) != added {
				t.Fatalf("add %+v: want %v of all", e, added)
			}
			if rapid.IntRange(0, 7).Draw(t, "flush") == 0 {
				requireSamePair(t, rows, timeline, times)
				a.flush(rows)
				b.flush(timeline)
				stored{}.flush(grows)
			}
			if rows.Grown() && !was {
				requireSamePair(t, rows, timeline, times)
				if diff := rows.Difference(timeline); diff != "" {
					t.Fatalf("grown with %+v: %s", e, diff)
				}
			}
		}
		requireSamePair(t, rows, timeline, times)
		requireSamePair(t, grows, timeline, times)
		requireSame(t, rows, s, modelTimes)
		a.flush(rows)
		b.flush(timeline)
		if !a.equal(b) {
			t.Fatalf("stored pages differ")
		}
		opened, err := hold.OpenPair(policy, a.pages(), nil)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		requireSamePair(t, opened, timeline, times)
	})
}

// TestRowsGrow: at 65 entries, at a hold_id, and where a start has facts with and
// without weight; and a pair that takes none of these stays small.
func TestRowsGrow(t *testing.T) {
	t.Parallel()
	full := func() *hold.Pair {
		p := hold.NewPair(hold.Merge)
		for i := range int64(64) {
			p.Add(hold.Fact{Kind: hold.KindHold, Start: 10 + i, End: 11 + i, Weight: maxWeight(), HasWeight: i%2 == 0})
		}
		return p
	}
	for _, c := range []struct {
		name  string
		fact  hold.Fact
		grows bool
	}{
		{"a fact that is there", hold.Fact{Kind: hold.KindHold, Start: 11, End: 12}, false},
		{"its retract", hold.Fact{Kind: hold.KindRetractHold, Start: 11, End: 12}, false},
		{"one more", hold.Fact{Kind: hold.KindHold, Start: 1000, End: 1001}, true},
		{"one before", hold.Fact{Kind: hold.KindHold, Start: 1, End: 2}, true},
		{"a stop", hold.Fact{Kind: hold.KindStop, End: 20}, true},
	} {
		p := full()
		if p.Grown() {
			t.Fatalf("%s: has grown before", c.name)
		}
		if p.Add(c.fact); p.Grown() != c.grows {
			t.Errorf("%s: grown %v, want %v", c.name, p.Grown(), c.grows)
		}
	}
	p := hold.NewPair(hold.Merge)
	p.Add(hold.Fact{Kind: hold.KindHold, Start: 5})
	p.Add(hold.Fact{Kind: hold.KindHold, Start: 5, End: 6})
	p.Add(hold.Fact{Kind: hold.KindStop, End: 5})
	if p.Grown() {
		t.Error("grown by facts of one start, all without weight")
	}
	p.Add(hold.Fact{Kind: hold.KindHold, Start: 5, End: 7, Weight: one, HasWeight: true})
	if !p.Grown() {
		t.Error("not grown by a weight beside none")
	}
	p = hold.NewPair(hold.Merge)
	if p.Add(hold.Fact{Kind: hold.KindHold, HoldID: "a", Start: 5}); !p.Grown() {
		t.Error("not grown by a hold_id")
	}
}

// TestAddAll: facts that are added together are added as one by one, whatever the
// pairs, small or grown.
func TestAddAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := genPolicy(t)
		together, single := make([]*hold.Pair, 3), make([]*hold.Pair, 3)
		for i := range together {
			together[i], single[i] = hold.NewPair(policy), hold.NewPair(policy)
		}
		together[0].Grow()
		single[0].Grow()
		for range rapid.IntRange(1, 3).Draw(t, "batches") {
			var additions []hold.Addition
			var want []bool
			for _, e := range rapid.OneOf(rapid.Custom(genSmallEvents), rapid.Custom(genEvents)).Draw(t, "events") {
				i := rapid.IntRange(0, len(together)-1).Draw(t, "pair")
				additions = append(additions, hold.Addition{Pair: together[i], Fact: e.Fact()})
				want = append(want, single[i].Add(e.Fact()))
			}
			hold.AddAll(additions)
			for i := range additions {
				if additions[i].New != want[i] {
					t.Fatalf("%+v: new %v, want %v", additions[i].Fact, additions[i].New, want[i])
				}
			}
			for i := range together {
				requireSamePair(t, together[i], single[i], []int64{1, 5, 100, hold.MaxTime})
			}
		}
	})
}
