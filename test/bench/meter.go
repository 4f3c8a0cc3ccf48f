package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// rate is what a load measured.
type rate struct {
	PerSecond float64
	Events    int64 // acknowledged in all, warm-up included
}

// window says how long a load runs: a warm-up, and then what is counted.
type window struct{ Warm, Count time.Duration }

// maxWindows is how many windows a first acknowledgement may take.
const maxWindows = 5

// drive runs n workers, and counts what they acknowledge within the window
// while they go on. A worker adds to count what was acknowledged, and runs until
// its context ends; what it returns then is ignored. An error before that ends
// the measurement.
func drive(ctx context.Context, w window, n int, worker func(ctx context.Context, i int, count *atomic.Int64) error) (rate, error) {
	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var count atomic.Int64
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			if err := worker(working, i, &count); err != nil {
				cancel(err) // no more than the first counts
			}
		})
	}
	var before, after int64
	var took time.Duration
	if pause(working, w.Warm) {
		before = count.Load()
		began := time.Now()
		// Where an fsync takes its time nothing may come in one window; a rate of
		// zero would be wrong, and a ratio to it none.
		for range maxWindows {
			if !pause(working, w.Count) {
				break
			}
			if after, took = count.Load(), time.Since(began); after > before {
				break
			}
		}
	}
	cancel(errMeasured)
	running.Wait()
	if err := context.Cause(working); !errors.Is(err, errMeasured) {
		return rate{}, err
	}
	if after == before {
		return rate{}, fmt.Errorf("nothing was acknowledged in %v", took)
	}
	return rate{PerSecond: float64(after-before) / took.Seconds(), Events: count.Load()}, nil
}

// errMeasured ends workers that are no longer needed.
var errMeasured = errors.New("measured")

// pause waits, and says false where ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
