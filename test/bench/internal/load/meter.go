// Package load makes the events of the bench and sends them: through the Go producer,
// one message an event, over gRPC and over HTTP. It counts acknowledgements in a window.
package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Rate is what a load measured.
type Rate struct {
	PerSecond float64
	Events    int64 // acknowledged in all, warm-up included
}

// Window says how long a load runs: a warm-up, and then what is counted.
type Window struct{ Warm, Count time.Duration }

// maxWindows is how many windows a first acknowledgement may take.
const maxWindows = 5

// drive runs n workers, and counts what they acknowledge within the window
// while they go on. A worker adds to count what was acknowledged, and runs until
// its context ends; what it returns then is ignored. An error before that ends
// the measurement.
func drive(ctx context.Context, w Window, n int, worker func(ctx context.Context, i int, count *atomic.Int64) error) (Rate, error) {
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
	if Pause(working, w.Warm) {
		before = count.Load()
		began := time.Now()
		// Where an fsync takes its time nothing may come in one window; a rate of
		// zero would be wrong, and a ratio to it none.
		for range maxWindows {
			if !Pause(working, w.Count) {
				break
			}
			if after, took = count.Load(), time.Since(began); after > before {
				break
			}
		}
	}
	cancel(ErrMeasured)
	running.Wait()
	if err := context.Cause(working); !errors.Is(err, ErrMeasured) {
		return Rate{}, err
	}
	if after == before {
		return Rate{}, fmt.Errorf("nothing was acknowledged in %v", took)
	}
	return Rate{PerSecond: float64(after-before) / took.Seconds(), Events: count.Load()}, nil
}

// ErrMeasured ends workers that are no longer needed.
var ErrMeasured = errors.New("measured")

// Pause waits for d. It reports whether d passed before ctx ended.
func Pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
