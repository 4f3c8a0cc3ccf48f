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

// watchRow is 10,000 clients that watch all holders at one gateway, by gRPC, 200
// on a connection. The gateway has the broker in its process and no worker:
// snapshots come from the load, straight into the bucket. Three figures:
//
//   - updates delivered a second, while 1,000 of 1,000 holders change a second,
//     which is more than goes out: what is conflated is not counted
//   - freshness, from the sending of a snapshot to a watcher, while five change a
//     second, so 50,000 updates go out
//   - memory, by how much the resident set of the gateway's process grows when the
//     watchers come
//
// Against a gRPC server that sends the same messages to as many streams, each from
// a goroutine that waits for the next tick: no bucket, no view, no filter. Load,
// clients and server share the machine. The watchers are one process, which costs
// more than the server does.
type watchRow struct{ once }

func (watchRow) name() string { return "watch" }
func (watchRow) about() string {
	return "watch: updates delivered/s, p99 freshness and bytes a watcher, 10,000 watchers"
}

// watchInput says whom to watch, and how long.
type watchInput struct {
	At          load.Addresses
	PID         int  // of the server
	Bare        bool // the server makes the changes itself
	Watchers    int
	Calm, Flood time.Duration
}

// watchOutput is in updates a second, ms and bytes.
type watchOutput struct {
	PerSecond, P50, P99 float64
	Samples             int
	BytesEach           float64
}

const (
	watchStreams = 200 // on a connection
	watchHolders = 1000
	calmEvery    = 200 * time.Millisecond // a change
	floodEvery   = 10 * time.Millisecond  // ten of them
)

func (watchRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	in := watchInput{Watchers: b.size(10_000), Calm: 6 * time.Second, Flood: 6 * time.Second}
	if b.quick {
		in.Calm, in.Flood = 2*time.Second, 2*time.Second
	}
	bare, err := b.watchBare(ctx, in)
	if err != nil {
		return nil, err
	}
	out, err := b.watchGateway(ctx, in)
	if err != nil {
		return nil, err
	}
	const against = "bare gRPC fan-out"
	name := func(what string) string {
		return fmt.Sprintf("watch, %s watchers, %s", report.Number(float64(in.Watchers)), what)
	}
	return []report.Line{
		{Name: name("delivered"), Value: out.PerSecond, Unit: "updates/s", Against: against, AgainstValue: bare.PerSecond, Aim: report.Aim{report.RatioAtLeast(0.5)}},
		{Name: name("p99"), Value: out.P99, Unit: "ms", Against: against, AgainstValue: bare.P99, Aim: report.Aim{report.RatioAtMost(3)},
			Note: fmt.Sprintf("p50 %s ms, peer %s ms; %d samples", report.Number(out.P50), report.Number(bare.P50), out.Samples)},
		{Name: name("memory"), Value: out.BytesEach, Unit: "bytes", Against: against, AgainstValue: bare.BytesEach, Aim: report.Aim{report.RatioAtMost(2)}},
	}, nil
}

func (b *bench) watchGateway(ctx context.Context, in watchInput) (out watchOutput, err error) {
	server, at, err := b.startServer(ctx, false, true)
	if err != nil {
		return out, err
	}
	defer child.StopAll(&err, server)
	in.At, in.PID = at, server.Cmd.Process.Pid
	return out, b.call(ctx, "watch", 0, in, &out)
}

func (b *bench) watchBare(ctx context.Context, in watchInput) (out watchOutput, err error) {
	var at load.Addresses
	server, err := b.startChild(ctx, "fanout", 0, struct{}{}, &at)
	if err != nil {
		return out, err
	}
	defer child.StopAll(&err, server)
	in.At, in.PID, in.Bare = at, server.Cmd.Process.Pid, true
	return out, b.call(ctx, "watch", 0, in, &out)
}

func watchRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[watchInput](raw)
	if err != nil {
		return err
	}
	out, err := measureWatch(ctx, &in)
	if err != nil && !errors.Is(err, load.ErrMeasured) {
		return err
	}
	return answer(out)
}
