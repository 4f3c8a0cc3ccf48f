package main

import (
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func TestPickRows(t *testing.T) {
	t.Parallel()
	all := allRows()
	names := map[string]bool{}
	for _, r := range all {
		if names[r.name()] || r.about() == "" || r.repeats(3) < 1 {
			t.Errorf("row %q: its name is taken, or it says nothing", r.name())
		}
		names[r.name()] = true
	}
	got, err := pickRows(all, "pair, ingest")
	if err != nil || len(got) != 2 || got[0].name() != "pair" || got[1].name() != "ingest" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := pickRows(all, ""); err != nil || len(got) != len(all) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := pickRows(all, "nothing"); err == nil {
		t.Error("an unknown row is no error")
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := 100; i > 0; i-- {
		took = append(took, time.Duration(i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 100, 0: 1} {
		if got := percentile(took, q); got != want {
			t.Errorf("percentile %v is %v, want %v", q, got, want)
		}
	}
	if got := percentile(nil, 0.5); !math.IsInf(got, 1) {
		t.Errorf("of nothing it is %v", got)
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
