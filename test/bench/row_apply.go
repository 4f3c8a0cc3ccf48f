package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"holdmetrics/hold"
	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// applyRow is hold alone on one core (GOMAXPROCS=1, so the collector
// works on it too): each event finds its pair in a map by holder, and the facts
// are added as the processor adds them, 64 at a time; at the end every pair gives
// its figures. Against a map from holder to a float total, one addition an event.
// Both begin empty and see the same events in the same, scattered order of
// holders. Both have done the same work before, so that neither has the cost of the
// first use of memory, which in a process that goes on is long past. Not
// measured: decoding and checking, which come before (events are ready), and
// anything that is stored.
type applyRow struct{ often }

func (applyRow) name() string { return "apply" }
func (applyRow) about() string {
	return "apply: hold alone, one core, in order and mixed, 20,000 and 200,000 holders"
}

func (applyRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	var lines []report.Line
	for _, c := range []struct {
		name  string
		mixed bool
		aim   report.Aim
	}{
		{"apply ended, in order", false, report.Aim{report.RatioAtLeast(0.5), report.AtLeast(5e6)}},
		{"apply mixed, out of order", true, report.Aim{report.RatioAtLeast(0.2), report.AtLeast(2e6)}},
	} {
		for _, holders := range []int{20_000, 200_000} {
			var out workOutput
			if err := b.call(ctx, "apply", 1, workInput{Events: b.size(1_000_000), Holders: holders, Mixed: c.mixed}, &out); err != nil {
				return nil, err
			}
			lines = append(lines, report.Line{Name: fmt.Sprintf("%s, %d,000 holders", c.name, holders/1000), Value: out.Value, Unit: "events/s",
				Against: "map of float totals", AgainstValue: out.Peer, Aim: c.aim})
		}
	}
	return lines, nil
}

func applyRole(_ context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[workInput](raw)
	if err != nil {
		return err
	}
	events, err := applyEvents(in)
	if err != nil {
		return err
	}
	timed := func(f func()) float64 {
		runtime.GC() // neither collects the garbage of what came before
		began := time.Now()
		f()
		return float64(len(events)) / time.Since(began).Seconds()
	}
	applyFacts(events)
	applyFloats(events)
	return answer(workOutput{
		Value: timed(func() { applyFacts(events) }),
		Peer:  timed(func() { applyFloats(events) }),
	})
}

func applyFacts(events []hold.Event) {
	pairs := map[string]*hold.Pair{}
	var additions [64]hold.Addition
	for some := range slices.Chunk(events, len(additions)) {
		for i := range some {
			e := &some[i]
			p := pairs[e.Holder]
			if p == nil {
				p = hold.NewPair(hold.Merge)
				pairs[e.Holder] = p
			}
			additions[i] = hold.Addition{Pair: p, Fact: e.Fact()}
		}
		hold.AddAll(additions[:len(some)])
	}
	var total hold.Figures
	for _, p := range pairs {
		total = p.Figures(hold.MaxTime - 1)
	}
	runtime.KeepAlive(total)
}

func applyFloats(events []hold.Event) {
	totals := map[string]float64{}
	for i := range events {
		e := &events[i]
		totals[e.Holder] += plainScore(e)
	}
	runtime.KeepAlive(totals)
}

// applyEvents are the events of rounds of holders. In order, each is an ended
// hold. Mixed, of three holds one comes ended, one as an open and its end, one as
// an open and a stop; then all events are shuffled.
func applyEvents(in workInput) ([]hold.Event, error) {
	events := make([]hold.Event, 0, in.Events+1)
	from := load.NewSource(0, 1, in.Holders)
	var d hold.Draft
	for i := 0; len(events) < in.Events; i++ {
		from.Next(&d)
		e, err := d.Check(hold.MaxTime, hold.DefaultLimits())
		if err != nil {
			return nil, err
		}
		if !in.Mixed {
			events = append(events, e)
			continue
		}
		open, end := e, e
		open.End = 0
		switch (i + i/in.Holders) % 3 {
		case 0:
			events = append(events, e)
		case 1:
			events = append(events, open, end)
		case 2:
			end.Start = 0
			events = append(events, open, end)
		}
	}
	if in.Mixed {
		r := rand.New(rand.NewPCG(1, 2))
		r.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	}
	return events, nil
}
