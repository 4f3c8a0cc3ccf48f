package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"holdmetrics/hold"
	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// scoreRow is the exact score of a slice of 20,000 ended events of one pair:
// events in, settled amount out, on two cores, by hold.Settled, which keeps no
// facts but looks at each event for whatever would make the sum wrong: overlap,
// order, repeats, ids, retracts. Against a float sum of (end - start) x weight
// over the same slice on two cores, which looks at nothing else. Not measured:
// decoding and checking.
type scoreRow struct{ often }

func (scoreRow) name() string  { return "score" }
func (scoreRow) about() string { return "score: a slice of 20,000 ended events of one pair, two cores" }

func (scoreRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	_, window := b.window()
	var out workOutput
	if err := b.call(ctx, "score", 2, workInput{Events: 20_000, Window: window / 2}, &out); err != nil {
		return nil, err
	}
	return []report.Line{{Name: "score", Value: out.Value, Unit: "events/s",
		Against: "bare parallel sum", AgainstValue: out.Peer, Aim: report.Aim{report.RatioAtLeast(0.3)}}}, nil
}

// workInput is what a row about a package by itself works on.
type workInput struct {
	Events, Holders int
	Mixed           bool
	Window          time.Duration
}

// workOutput is what came of it: of the thing measured, and of its peer.
type workOutput struct{ Value, Peer float64 }

const scoreCores = 2

func scoreRole(_ context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[workInput](raw)
	if err != nil {
		return err
	}
	events, err := endedEvents(in.Events)
	if err != nil {
		return err
	}
	exact := scoreSlice(events)
	bare := sumSlice(events)
	if got := exact.Score.Float64(); got < bare*0.999999 || got > bare*1.000001 {
		return fmt.Errorf("the score is %g, the sum %g", got, bare)
	}
	return answer(workOutput{
		Value: perSecond(in, func() { scoreSlice(events) }),
		Peer:  perSecond(in, func() { sumSlice(events) }),
	})
}

// endedEvents are holds of one pair that follow one another.
func endedEvents(n int) ([]hold.Event, error) {
	events := make([]hold.Event, n)
	for i := range events {
		weight, err := hold.WeightFromFloat(1 + float64(i%8)/2)
		if err != nil {
			return nil, err
		}
		start := int64(load.EventBase+load.EventStep*i) * 1e9
		events[i] = hold.Event{Token: "token", Holder: "holder", Start: start, End: start + 5e9, Weight: weight, HasWeight: true}
	}
	return events, nil
}

// perSecond is how many events a second f handles, warmed up.
func perSecond(in workInput, f func()) float64 {
	for until := time.Now().Add(in.Window / 4); time.Now().Before(until); {
		f()
	}
	runs, began := 0, time.Now()
	for time.Since(began) < in.Window {
		f()
		runs++
	}
	return float64(runs*in.Events) / time.Since(began).Seconds()
}

func scoreSlice(events []hold.Event) hold.Amount {
	return hold.Settled(hold.Merge, events, scoreCores, atOnce)
}

// atOnce runs f(0) on this goroutine and the other parts on goroutines of their own.
func atOnce(n int, f func(i int)) {
	var working sync.WaitGroup
	for i := 1; i < n; i++ {
		working.Go(func() { f(i) })
	}
	f(0)
	working.Wait()
}

// sumSlice is in weight-seconds. The weights fit the lowest limb.
func sumSlice(events []hold.Event) float64 {
	var sums [scoreCores]float64
	var working sync.WaitGroup
	for i := range sums {
		part := events[len(events)*i/scoreCores : len(events)*(i+1)/scoreCores]
		working.Go(func() {
			sum := 0.0
			for i := range part {
				sum += plainScore(&part[i])
			}
			sums[i] = sum
		})
	}
	working.Wait()
	total := 0.0
	for _, sum := range sums {
		total += sum
	}
	return total
}

func plainScore(e *hold.Event) float64 {
	return float64(e.End-e.Start) * float64(e.Weight[0]) * 1e-27
}
