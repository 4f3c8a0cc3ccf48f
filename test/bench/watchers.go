package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/bench/internal/load"
)

const statsMethod = "/poh.HoldMetrics/Stats"

var fromServer = &grpc.StreamDesc{ServerStreams: true}

// watchers are the clients of the watch row.
type watchers struct {
	begun     sync.WaitGroup // each has its mark
	delivered atomic.Int64
	sampling  atomic.Bool

	mu   sync.Mutex
	took []time.Duration
}

// sampleEvery is of how many updates one is timed.
const sampleEvery = 16

// measureWatch lets the watchers come, and then changes holders slowly, and fast.
func measureWatch(ctx context.Context, in *watchInput) (out watchOutput, err error) {
	change, done, err := in.changes(ctx)
	if err != nil {
		return out, err
	}
	defer done()
	before, err := memoryOf(in.PID, "VmRSS:")
	if err != nil {
		return out, err
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w, all, err := startWatchers(running, cancel, in.At, in.Watchers)
	if err != nil {
		return out, err
	}
	after, err := memoryOf(in.PID, "VmRSS:")
	if err != nil {
		return out, err
	}
	out.BytesEach = float64(after-before) / float64(in.Watchers)

	w.sampling.Store(true)
	if err := change(running, in.Calm, calmEvery, 1); err != nil {
		return out, err
	}
	w.sampling.Store(false)
	counted, began := w.delivered.Load(), time.Now()
	if err := change(running, in.Flood, floodEvery, 10); err != nil {
		return out, err
	}
	out.PerSecond = float64(w.delivered.Load()-counted) / time.Since(began).Seconds()
	cancel(load.ErrMeasured)
	all.Wait()
	if err := context.Cause(running); !errors.Is(err, load.ErrMeasured) {
		return out, err
	}
	out.Samples = len(w.took)
	out.P50, out.P99 = percentile(w.took, 0.50), percentile(w.took, 0.99)
	return out, nil
}

// startWatchers lets watchers come, watchStreams on a connection, and returns when each
// has its mark. They end with ctx, and then ended is over; one that fails earlier cancels.
func startWatchers(ctx context.Context, cancel context.CancelCauseFunc, at load.Addresses, n int) (w *watchers, ended *sync.WaitGroup, err error) {
	w, ended = &watchers{}, new(sync.WaitGroup)
	w.begun.Add(n)
	for first := 0; first < n; first += watchStreams {
		conn, err := load.DialRaw(at)
		if err != nil {
			return nil, nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		for range min(watchStreams, n-first) {
			ended.Go(func() {
				if err := w.watch(ctx, conn); ctx.Err() == nil {
					cancel(err) // a watch has no end of its own
				}
			})
		}
	}
	begun := make(chan struct{})
	go func() { w.begun.Wait(); close(begun) }() // ends with the process where a watch fails
	select {
	case <-begun:
		return w, ended, nil
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// beginWatch watches holders of which there is none yet, and returns when the
// watch has its mark.
func beginWatch(ctx context.Context, conn *grpc.ClientConn, query *holdpb.StatsRequest) (grpc.ClientStream, error) {
	stream, err := conn.NewStream(ctx, fromServer, statsMethod)
	if err != nil {
		return nil, err
	}
	request, err := proto.Marshal(query)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&request); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	var mark []byte
	return stream, stream.RecvMsg(&mark)
}

// watch counts updates until ctx ends.
func (w *watchers) watch(ctx context.Context, conn *grpc.ClientConn) error {
	stream, err := beginWatch(ctx, conn, &holdpb.StatsRequest{Watch: true, Live: true})
	if err != nil {
		return err
	}
	w.begun.Done()
	var message []byte
	for n := 0; ; n++ {
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		w.delivered.Add(1)
		if n%sampleEvery != 0 || !w.sampling.Load() {
			continue
		}
		now := time.Now()
		var stat holdpb.HoldStat
		if err := proto.Unmarshal(message, &stat); err != nil {
			return err
		}
		w.mu.Lock()
		w.took = append(w.took, now.Sub(stat.GetUpdatedAt().AsTime()))
		w.mu.Unlock()
	}
}

// changer changes n holders at every tick, for a while.
type changer func(ctx context.Context, long, every time.Duration, n int) error

// changes puts snapshots into the bucket, or has the bare server do what is like it.
func (in *watchInput) changes(ctx context.Context) (changer, func(), error) {
	if in.Bare {
		conn, err := load.DialRaw(in.At)
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, long, every time.Duration, n int) error {
			return ticking(ctx, long, every, func() error {
				request, response := []byte{byte(n)}, []byte(nil)
				return conn.Invoke(ctx, load.RecordMethod, &request, &response)
			})
		}, func() { conn.Close() }, nil
	}
	conn, js, err := load.DialNATS(in.At.NATS)
	if err != nil {
		return nil, nil, err
	}
	snapshots, err := projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: "1", Async: true})
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	next := 0
	return func(ctx context.Context, long, every time.Duration, n int) error {
			return ticking(ctx, long, every, func() error {
				entries := make([]projection.Entry, n)
				for i := range entries {
					next++
					var err error
					if entries[i], err = changedStat(next); err != nil {
						return err
					}
				}
				return snapshots.Publish(ctx, 0, entries, projection.Reached{Position: uint64(next)})
			})
		}, func() {
			snapshots.Close()
			conn.Close()
		}, nil
}

// ticking calls do at every tick, for a while. A tick that is late is left out.
func ticking(ctx context.Context, long, every time.Duration, do func() error) error {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	for end := time.Now().Add(long); time.Now().Before(end); {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// changedStat is the snapshot of a holder who changes now, of the usual size.
func changedStat(n int) (projection.Entry, error) {
	now := timestamppb.Now()
	holder := load.HolderName(n % watchHolders)
	score := fmt.Sprintf("%d.000000001", 1_000_000+n)
	value, err := proto.Marshal(&holdpb.HoldStat{
		HolderId: holder, TotalSeconds: int64(n), WeightedScore: float64(1_000_000 + n), UpdatedAt: now,
		ScoreExact: score, HeldExact: "86400.5", LiveBase: score, LiveRate: "2.5", LiveHeldBase: "86400.5", LiveHeldRate: 1,
		Since: now, Position: uint64(n), Rules: "none", Generation: "1",
	})
	return projection.Entry{Key: ingest.SubjectToken(holder), Value: value}, err
}
