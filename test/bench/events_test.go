package main

import (
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// Events are accepted, no two are the same fact of the same pair, and a holder's
// come in order and from one source.
func TestSourceEventsAreDistinct(t *testing.T) {
	t.Parallel()
	const holders, sources, rounds = 1000, 4, 5
	type fact struct {
		holder, token string
		fact          hold.Fact
	}
	seen := map[fact]bool{}
	last := map[string]int64{}
	owner := map[string]int{}
	for w := range sources {
		s := newSource(w, sources, holders)
		var d hold.Draft
		for range rounds * holders / sources {
			s.next(&d)
			e, err := d.Check(time.Now().UnixNano(), hold.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			key := fact{e.Holder, e.Token, e.Fact()}
			if seen[key] {
				t.Fatalf("%+v comes twice", d)
			}
			seen[key] = true
			if e.Start <= last[e.Holder] {
				t.Fatalf("%+v is not behind the one before", d)
			}
			last[e.Holder] = e.Start
			if by, ok := owner[e.Holder]; ok && by != w {
				t.Fatalf("holder %s comes from %d and %d", e.Holder, by, w)
			}
			owner[e.Holder] = w
		}
	}
	if len(last) != holders {
		t.Errorf("%d holders have events, want %d", len(last), holders)
	}
}

// What POST /holds gets says the same as what the other doors get.
func TestAppendJSON(t *testing.T) {
	t.Parallel()
	s := newSource(0, 1, 10)
	var want, got hold.Draft
	for range 30 {
		s.next(&want)
		line := appendJSON(nil, &want)
		if err := ingest.DecodeJSON(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		a, errA := want.Check(time.Now().UnixNano(), hold.DefaultLimits())
		b, errB := got.Check(time.Now().UnixNano(), hold.DefaultLimits())
		if errA != nil || errB != nil || a != b {
			t.Errorf("%s is %+v (%v), want %+v (%v)", line, b, errB, a, errA)
		}
	}
}

// In order or mixed, every event of the apply row is a new fact of its pair.
func TestApplyEventsAreDistinct(t *testing.T) {
	t.Parallel()
	for _, mixed := range []bool{false, true} {
		events, err := applyEvents(workInput{Events: 5000, Holders: 100, Mixed: mixed})
		if err != nil {
			t.Fatal(err)
		}
		pairs := map[string]*hold.Pair{}
		for i := range events {
			p := pairs[events[i].Holder]
			if p == nil {
				p = hold.NewPair(hold.Merge)
				pairs[events[i].Holder] = p
			}
			if !p.Add(events[i].Fact()) {
				t.Fatalf("mixed %v: %+v is a duplicate", mixed, events[i])
			}
		}
		for holder, p := range pairs {
			if p.Waiting() > 0 {
				t.Errorf("mixed %v: %d facts of %s wait", mixed, p.Waiting(), holder)
			}
		}
	}
}

// The exact score of the score row's slice is what the bare sum comes to.
func TestScoreSlice(t *testing.T) {
	t.Parallel()
	events, err := endedEvents(1000)
	if err != nil {
		t.Fatal(err)
	}
	if exact, bare := scoreSlice(events).Score.Float64(), sumSlice(events); exact < bare*0.999999 || exact > bare*1.000001 {
		t.Errorf("the score is %g, the sum %g", exact, bare)
	}
}
