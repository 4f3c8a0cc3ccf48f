package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

// sustainedRow is what the real `holdmetrics serve` takes for a minute: events of
// 100,000 holders by bulk RPC, snapshots and checkpoints out. The load sends as
// fast as it can while no more than sustainedLag worth of events is sent and not
// applied, so the rate is one that the whole path keeps up with, and not one that
// only the log does. The lag at the end is the time from the last acknowledgement
// until the bucket and the store have every event, as a client sees it
// (projected). The whole minute counts, from the first event on.
type sustainedRow struct{ once }

const (
	sustainedHolders = 100_000
	// sustainedLag is half of the lag that is allowed; at the beginning, before a
	// rate is known, sustainedStart events may be on their way.
	sustainedLag   = 500 * time.Millisecond
	sustainedStart = 64 << 10
	// lagPatience is when a lag counts as endless.
	lagPatience = 30 * time.Second
)

func (sustainedRow) name() string { return "sustained" }
func (sustainedRow) about() string {
	return "sustained: gateway in, snapshots and checkpoint out, 60 s, 100,000 holders"
}

// sustainedOutput is what came of it.
type sustainedOutput struct {
	PerSecond float64
	Lag       time.Duration
}

func (sustainedRow) run(ctx context.Context, b *bench) (_ []report.Line, err error) {
	peer, err := b.logIngest(ctx)
	if err != nil {
		return nil, err
	}
	in, out, _, err := b.sustain(ctx)
	if err != nil {
		return nil, err
	}
	return []report.Line{
		{Name: "sustained", Value: out.PerSecond, Unit: "events/s", Fsync: true,
			Against: "log ingest", AgainstValue: peer, Aim: report.Aim{report.RatioAtLeast(0.3)}, Note: fmt.Sprintf("for %v", in.Window.Count)},
		{Name: "sustained, lag at the end", Value: float64(out.Lag) / float64(time.Millisecond), Unit: "ms", Fsync: true, Aim: report.Aim{report.AtMost(1000)}},
	}, nil
}

// sustain sends events to the real program, with more in its environment, and returns
// also the program's peak of memory, in bytes.
func (b *bench) sustain(ctx context.Context, env ...string) (in load.Input, out sustainedOutput, peak int, err error) {
	dir, err := b.tempDir("sustained")
	if err != nil {
		return in, out, 0, err
	}
	s, err := b.startServe(ctx, dir, env...)
	if err != nil {
		return in, out, 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.ready(ctx); err != nil {
		return in, out, 0, err
	}
	in = load.Input{At: s.at, Window: load.Window{Count: time.Duration(b.size(60)) * time.Second}, Holders: sustainedHolders, Workers: bulkStreams, Batch: 1024}
	if err := b.call(ctx, "sustained", 0, in, &out); err != nil {
		return in, out, 0, err
	}
	peak, err = memoryOf(s.cmd.Process.Pid, "VmHWM:")
	return in, out, peak, err
}

// limitedRow is sustainedRow with a limit of memory, which it would exceed without one. It
// shows the peak of the program, and what the limit costs.
type limitedRow struct{ once }

// memoryLimit is the limit of limitedRow, in MiB.
const memoryLimit = 300

func (limitedRow) name() string { return "limited" }
func (limitedRow) about() string {
	return "limited: sustained with GOMEMLIMIT=300MiB, peak of memory"
}

func (limitedRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	_, free, unlimited, err := b.sustain(ctx)
	if err != nil {
		return nil, err
	}
	_, out, peak, err := b.sustain(ctx, fmt.Sprintf("GOMEMLIMIT=%dMiB", memoryLimit))
	if err != nil {
		return nil, err
	}
	return []report.Line{
		{Name: "limited, peak", Value: float64(peak >> 20), Unit: "MB", Fsync: true, Against: "no limit", AgainstValue: float64(unlimited >> 20), Aim: report.Aim{report.AtMost(memoryLimit)}},
		{Name: "limited", Value: out.PerSecond, Unit: "events/s", Fsync: true, Against: "no limit", AgainstValue: free.PerSecond, Aim: report.Aim{report.RatioAtLeast(0.5)}},
	}, nil
}

func sustainedRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[load.Input](raw)
	if err != nil {
		return err
	}
	conn, err := load.DialRaw(in.At)
	if err != nil {
		return err
	}
	defer conn.Close()
	pace := &pace{url: "http://" + in.At.HTTP + "/metrics", wake: make(chan struct{})}
	var acked atomic.Int64
	sending, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, in.Workers+1)
	var running sync.WaitGroup
	running.Go(func() { errs <- pace.run(sending) })
	began := time.Now()
	for w := range in.Workers {
		running.Go(func() {
			batches := load.NewBatches(load.NewSource(w, in.Workers, in.Holders))
			until := began.Add(in.Window.Count)
			errs <- load.Finite(ctx, conn, load.BatchMethod, func(buf []byte) []byte {
				if time.Now().After(until) || !pace.wait(ctx, int64(in.Batch)) {
					return nil
				}
				return batches.Append(buf, in.Batch)
			}, func(message []byte) error { return load.CountBatch(message, &acked) })
		})
	}
	for range in.Workers {
		if err := <-errs; err != nil {
			cancel()
			running.Wait()
			return err
		}
	}
	last := time.Now()
	cancel()
	running.Wait()
	within, stop := context.WithTimeout(ctx, lagPatience)
	defer stop()
	then, err := projected(within, in.At)
	if err != nil && within.Err() == nil {
		return err
	}
	return answer(sustainedOutput{PerSecond: float64(acked.Load()) / last.Sub(began).Seconds(), Lag: then.Sub(last)})
}

// pace lets no more be sent than the server applies soon.
type pace struct {
	url string

	mu      sync.Mutex
	sent    int64
	applied int64
	limit   int64
	wake    chan struct{} // closed and replaced when applied or limit changed
}

// wait takes room for n events.
func (p *pace) wait(ctx context.Context, n int64) bool {
	for {
		p.mu.Lock()
		wake := p.wake
		if p.sent-p.applied < max(p.limit, sustainedStart) {
			p.sent += n
			p.mu.Unlock()
			return true
		}
		p.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return false
		}
	}
}

// run looks at what was applied until ctx ends.
func (p *pace) run(ctx context.Context) error {
	const every = 100 * time.Millisecond
	rate, last := 0.0, time.Now()
	for load.Pause(ctx, every) {
		applied, err := appliedEvents(ctx, p.url)
		if err != nil {
			return load.UnlessDone(ctx, err)
		}
		now := time.Now()
		p.mu.Lock()
		rate += (float64(applied-p.applied)/now.Sub(last).Seconds() - rate) / 8
		last = now
		p.applied, p.limit = applied, int64(rate*sustainedLag.Seconds())
		close(p.wake)
		p.wake = make(chan struct{})
		p.mu.Unlock()
	}
	return nil
}

// appliedEvents adds up the counter of all partitions.
func appliedEvents(ctx context.Context, url string) (int64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	total := 0.0
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "holdmetrics_events_applied_total{"); ok {
			_, number, _ := strings.Cut(text, "} ")
			n, err := strconv.ParseFloat(number, 64)
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return int64(total), lines.Err()
}
