package processor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"holdmetrics/internal/logs"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

// Worker reads partitions of the log and keeps their projections. Its methods
// are safe for concurrent use.
type Worker struct {
	cfg     Config
	log     eventLog
	bucket  snapshots
	metrics *metrics
	turn    chan struct{}
	started atomic.Bool
	controls
	sharers atomic.Int64 // how many partitions share the bounds; with Config.Ownership

	mu         sync.Mutex
	partitions []*partition // in the order of cfg.Partitions
	byID       map[int]*partition
	member     *lease.Member // with Config.Ownership, while it runs
}

// New makes a worker. It does nothing until Run. The error wraps [ErrConfig], or
// says which metric is registered already.
func New(cfg Config) (*Worker, error) {
	if cfg.Log == nil {
		return nil, fmt.Errorf("%w: no log", ErrConfig)
	}
	var bucket snapshots
	switch {
	case cfg.Snapshots != nil && cfg.Ownership != nil:
		bucket = fencedBucket{cfg.Snapshots}
	case cfg.Snapshots != nil:
		bucket = cfg.Snapshots
	}
	w, err := newWorker(cfg, jetStreamLog{cfg.Log, readBehind, cfg.Tracer}, bucket)
	if err == nil && cfg.Snapshots != nil && cfg.Ownership == nil {
		cfg.Snapshots.OnForeign(w.suspect)
		cfg.Snapshots.OnWanted(w.showSoon)
	}
	return w, err
}

func newWorker(cfg Config, log eventLog, bucket snapshots) (*Worker, error) {
	if err := cfg.setDefaults(log); err != nil {
		return nil, err
	}
	if readsWhole(cfg.Rules, log.Partitions()) {
		log = wholeLog{log}
	}
	w := &Worker{cfg: cfg, log: log, bucket: bucket, turn: make(chan struct{}, publishTurns), byID: map[int]*partition{}}
	var err error
	if w.metrics, err = newMetrics(cfg.Registerer, newGauges(w.Status, w.cfg.Now)); err != nil {
		return nil, fmt.Errorf("processor: register metrics: %w", err)
	}
	w.outages, w.tally = logs.NewOutages(), logs.NewTally(tallyEvery)
	if !cfg.DiscardDeadLetters {
		w.SetDeadLetters(math.MaxUint64)
	}
	w.pace = newPace(cfg.MaxRate, log.Partitions())
	w.pace.share(len(cfg.Partitions))
	for range publishTurns {
		w.turn <- struct{}{}
	}
	if cfg.Ownership == nil {
		for _, id := range cfg.Partitions {
			w.add(id, nil)
		}
	}
	return w, nil
}

// add makes a partition that is to run.
func (w *Worker) add(id int, t ownershipTerm) *partition {
	p := newPartition(id, &w.cfg, &w.controls, w.log, w.bucket, w.turn, w.metrics.partition(id))
	if t != nil {
		p.term, p.sharers = t, &w.sharers
		w.pace.share(int(w.sharers.Add(1)))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	at, _ := slices.BinarySearchFunc(w.partitions, id, func(p *partition, id int) int { return p.id - id })
	if t == nil {
		at = len(w.partitions)
	}
	w.partitions = slices.Insert(w.partitions, at, p)
	w.byID[id] = p
	return p
}

// remove takes out a partition that is another worker's now.
func (w *Worker) remove(p *partition) {
	w.pace.share(int(w.sharers.Add(-1)))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partitions = slices.DeleteFunc(w.partitions, func(other *partition) bool { return other == p })
	delete(w.byID, p.id)
}

// running are the partitions of this moment.
func (w *Worker) running() []*partition {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.partitions)
}

// Run works until ctx ends; then it flushes and publishes what was applied,
// within Config.StopTimeout, and returns. Everything that it started has ended
// by then. It can be called once.
//
// A partition that fails stays in [Worker.Status]; the others go on, and Run with
// them. What Run cannot return while they do is logged, once. When all have
// failed, Run returns an [AllFailedError], since a process that can do nothing
// should not look alive. After ctx ended, an error that wraps [ErrNotFlushed]
// says that the store did not take everything in time; the next start applies it
// again. Where the store was made for other settings the error wraps
// [projection.ErrMetaFixed], and nothing was run.
//
// With Config.Ownership it runs the partitions that fall to it, which may be
// none; it returns when ctx has ended and all were handed over, or with a reason
// why it cannot take part.
func (w *Worker) Run(ctx context.Context) error {
	if w.started.Swap(true) {
		return fmt.Errorf("%w: Run was called before", ErrConfig)
	}
	if err := w.fixMeta(ctx); err != nil {
		if ctx.Err() != nil {
			err = nil
		}
		for _, p := range w.partitions {
			w.finish(p, err)
		}
		return err
	}
	looking, stop := context.WithCancel(ctx)
	var look sync.WaitGroup
	look.Go(func() { w.watchLog(looking) })
	look.Go(func() { w.watchLag(looking) })
	defer w.tally.Close()
	defer look.Wait()
	defer stop()
	if w.cfg.Ownership != nil {
		return w.runOwned(ctx)
	}
	background, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	var running sync.WaitGroup
	errs := make([]error, len(w.partitions))
	logged := make([]bool, len(w.partitions))
	var left atomic.Int64
	left.Store(int64(len(w.partitions)))
	for i, p := range w.partitions {
		running.Go(func() {
			errs[i] = p.run(ctx, background)
			w.finish(p, errs[i])
			if others := left.Add(-1); others > 0 && errs[i] != nil && ctx.Err() == nil {
				logged[i] = true
				p.logger.Error("partition failed", zap.Error(errs[i]))
			}
		})
	}
	ended := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { stopIn(ctx, w.cfg.StopTimeout, ended, giveUp) })
	running.Wait()
	close(ended)
	watch.Wait()

	var unsaid []error
	for i, err := range errs {
		if err != nil && !logged[i] {
			unsaid = append(unsaid, err)
		}
	}
	if ctx.Err() == nil {
		return &AllFailedError{Last: errors.Join(unsaid...), All: errs}
	}
	return errors.Join(unsaid...)
}

// stopIn calls giveUp a while after ctx ended, unless everything ended before.
func stopIn(ctx context.Context, timeout time.Duration, ended <-chan struct{}, giveUp func()) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
		giveUp()
	}
}

// fixMeta fixes in the store what may not change under it.
func (w *Worker) fixMeta(ctx context.Context) error {
	return retry(ctx, w.cfg.Logger, w.outages, "fix the store's settings", func(ctx context.Context) error {
		return w.tried("fix the store's settings", projection.FixMeta(ctx, w.cfg.Store, map[string]string{
			projection.MetaPolicy:     w.cfg.Rules.DefaultPolicy().String(),
			projection.MetaRules:      w.cfg.Rules.Version(),
			projection.MetaPartitions: strconv.Itoa(w.log.Partitions()),
		}))
	})
}

// tried counts the error of a try, and returns it.
func (w *Worker) tried(what string, err error) error {
	if err != nil {
		w.metrics.failedTry(what, err)
	}
	return err
}

// finish notes how a partition ended. One that could not flush in time has not
// failed: the next start applies the rest.
func (w *Worker) finish(p *partition, err error) {
	failed := err != nil && !errors.Is(err, ErrNotFlushed)
	p.board.set(func(s *PartitionStatus) {
		s.State, s.Err = Stopped, err
		if failed {
			s.State = Failed
		}
	})
}

// Status says how each partition does, in the order of Config.Partitions; with
// Config.Ownership, those that this worker owns.
func (w *Worker) Status() []PartitionStatus {
	partitions := w.running()
	out := make([]PartitionStatus, len(partitions))
	for i, p := range partitions {
		out[i], _ = p.board.snapshot()
	}
	return out
}

// WaitApplied returns when the store has everything of a partition up to a
// position of the log, which it asks to be flushed at once. A position behind
// the partition's last message is reached with that message, so any position of
// the log will do. It returns a [*WaitError] if ctx ends first, the partition's
// own error if it has failed, and one that wraps [ErrStopped] where it has stopped
// or is not this worker's.
func (w *Worker) WaitApplied(ctx context.Context, partition int, position uint64) error {
	p, err := w.at(partition)
	if err != nil {
		return err
	}
	if s, _ := p.board.snapshot(); s.Checkpoint >= position {
		return nil
	}
	end, err := w.log.End(ctx, partition)
	if err != nil {
		return fmt.Errorf("processor: wait for position %d of partition %d: %w", position, partition, err)
	}
	return p.board.waitStored(ctx, min(position, end))
}

const (
	// tallyEvery is how often what repeats has a line of the log.
	tallyEvery = time.Minute
	// slowFlush is how long a flush takes that an operator should know of.
	slowFlush = 5 * time.Second
	// lagBound is how far behind the log a partition lags, lagLook how often that is
	// looked at, and lagAgain how often it is logged.
	lagBound = 30 * time.Second
	lagLook  = 5 * time.Second
	lagAgain = 5 * time.Minute
)

// watchLag logs when partitions fall behind the log, and when they have caught up. Of a
// generation that is built nobody reads, and its progress is shown elsewhere.
func (w *Worker) watchLag(ctx context.Context) {
	ticker := time.NewTicker(lagLook)
	defer ticker.Stop()
	lag, since := logs.Lag{Bound: lagBound, Again: lagAgain}, map[int]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if w.controls.deadLetters.Load() == math.MaxUint64 {
			now := w.cfg.Now()
			lag.Look(w.cfg.Logger, now, behindOf(w.Status(), since, now))
		}
	}
}

// behindOf returns how far partitions are behind. since is when each began to have
// messages before it, at the looks so far; it is brought up to date. A partition is behind
// by no more than that: in a log that was idle the last event is old.
func behindOf(all []PartitionStatus, since map[int]time.Time, now time.Time) (behind []logs.Behind) {
	for i := range all {
		s := &all[i]
		if s.Pending == 0 || s.State == Failed || s.State == Stopped {
			delete(since, s.Partition)
			continue
		}
		if since[s.Partition].IsZero() {
			since[s.Partition] = now
		}
		behind = append(behind, logs.Behind{Partition: s.Partition, Messages: s.Pending, Time: min(now.Sub(since[s.Partition]), now.Sub(time.Unix(0, s.LogTime)))})
	}
	return behind
}
