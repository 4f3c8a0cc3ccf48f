package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// freshnessRow is how long after its acknowledgement an event is seen by who
// watches its holder with Stats, on the real `holdmetrics serve`, while other
// events come at a given rate by bulk RPC. Probes are 100 events a second by
// Record, of four holders that have nothing else, and one watch of these four.
// Against a put into a bucket of the same settings, from its sending to the
// client's ordinary KV watcher of its key, 100 a second in the same seconds under
// the same load. A snapshot that comes before the acknowledgement counts as 0 ms,
// and a put that a later one overtook is seen with that one, as a probe is. Where
// the load did not get to its rate, or probes were never seen, no aim is met. Not
// measured: many watchers at once, which is the watch row's.
type freshnessRow struct{ once }

func (freshnessRow) name() string { return "freshness" }
func (freshnessRow) about() string {
	return "freshness: ack to Stats watcher, p50 and p99, at 1,000, 50,000 and 200,000 events/s"
}

// freshnessInput says at what rate other events come, and for how long.
type freshnessInput struct {
	At      load.Addresses
	Rate    int
	Window  load.Window
	Holders int
}

// freshnessOutput is in ms.
type freshnessOutput struct {
	P50, P99, PeerP50, PeerP99 float64
	Rate                       float64 // that the load reached
	Probes, PeerProbes, Unseen int
}

func (freshnessRow) run(ctx context.Context, b *bench) (lines []report.Line, err error) {
	for _, rate := range []int{1000, 50_000, 200_000} {
		out, err := b.freshness(ctx, rate)
		if err != nil {
			return lines, err
		}
		name := fmt.Sprintf("freshness p%%d at %s/s", report.Number(float64(rate)))
		note := fmt.Sprintf("load reached %s/s; %d probes, %d unseen at the end; peer %d", report.Number(out.Rate), out.Probes, out.Unseen, out.PeerProbes)
		tail := report.Aim{report.RatioAtMost(3)}
		if rate == 1000 {
			tail = append(tail, report.AtMost(10))
		}
		lines = append(lines,
			report.Line{Name: fmt.Sprintf(name, 50), Value: out.P50, Unit: "ms", Fsync: true, Against: "KV put to KV watcher", AgainstValue: out.PeerP50},
			report.Line{Name: fmt.Sprintf(name, 99), Value: out.P99, Unit: "ms", Fsync: true, Against: "KV put to KV watcher", AgainstValue: out.PeerP99, Aim: tail, Note: note, Void: out.Unseen > 0 || out.Rate < 0.9*float64(rate)})
	}
	return lines, nil
}

// freshness measures one rate on a new server.
func (b *bench) freshness(ctx context.Context, rate int) (out freshnessOutput, err error) {
	dir, err := b.tempDir("freshness")
	if err != nil {
		return out, err
	}
	s, err := b.startServe(ctx, dir)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.ready(ctx); err != nil {
		return out, err
	}
	in := freshnessInput{At: s.at, Rate: rate, Window: load.Window{Warm: 2 * time.Second, Count: 6 * time.Second}, Holders: load.Holders}
	if b.quick {
		in.Window.Count = 2 * time.Second
	}
	return out, b.call(ctx, "freshness", 0, in, &out)
}

func freshnessRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[freshnessInput](raw)
	if err != nil {
		return err
	}
	out, err := measureFreshness(ctx, &in)
	if err != nil {
		return err
	}
	return answer(out)
}
