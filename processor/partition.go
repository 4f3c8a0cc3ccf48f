package processor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"holdmetrics/projection"
)

// partition is one partition of the log: the loop that wires its parts. Each part
// owns its fields, and all but the board belong to the goroutine of run.
//
//	feeder ──messages──▶ applier ──▶ memory ──▶ flusher ──▶ store
//	                                   │  ▲
//	                                   │  └── sealer
//	                                   └──▶ publisher ◀── refresher
//	                                            └──▶ snapshot bucket
type partition struct {
	*scope
	mem     *memory
	changes *changes
	feed    *feeder
	apply   *applier
	flush   *flusher
	pub     *publisher
	seals   *sealer

	wrongLog chan error // receives why the log is not the one that is read
}

func newPartition(id int, cfg *Config, controls *controls, log eventLog, bucket snapshots, turn chan struct{}, metrics *partitionMetrics) *partition {
	s := newScope(id, cfg, controls, log, metrics)
	mem := newMemory(s)
	c := newChanges(s)
	flush := newFlusher(s, mem, c)
	pub := newPublisher(s, mem, flush, bucket, turn)
	seals := &sealer{scope: s, mem: mem, changes: c, flush: flush}
	return &partition{
		scope: s, mem: mem, changes: c, flush: flush, pub: pub, seals: seals,
		feed:     &feeder{scope: s, mem: mem, in: s.board.in, restTimer: stoppedTimer()},
		apply:    &applier{scope: s, mem: mem, changes: c, flush: flush, pub: pub, seals: seals, batch: batch{rejected: map[string]uint64{}}},
		wrongLog: make(chan error, 1),
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(0)
	t.Stop()
	return t
}

// run works until ctx ends, and then writes what is left, which it may do until
// background ends. It returns when everything that it started has ended.
func (p *partition) run(ctx, background context.Context) error {
	// Whatever ends the partition ends what it started.
	background, cancel := context.WithCancel(background)
	p.background = background
	var workers sync.WaitGroup
	workers.Go(func() { p.flush.run(background) })
	workers.Go(func() { p.pub.run(background, ctx) })
	if p.pub.refresh != nil {
		workers.Go(func() { p.pub.refresh.run(ctx) })
	}
	defer func() {
		cancel()
		close(p.flush.jobs)
		close(p.pub.jobs)
		if p.pub.refresh != nil {
			close(p.pub.refresh.jobs)
			p.pub.refresh.timer.Stop()
		}
		workers.Wait()
		p.changes.deadLetters.wg.Wait()
		p.flush.timer.Stop()
		p.pub.show.timer.Stop()
		p.feed.restTimer.Stop()
	}()

	err := p.start(ctx)
	if err == nil {
		var stopReading func()
		if stopReading, err = p.feed.read(ctx); err == nil {
			p.feed.endReading = sync.OnceFunc(func() {
				p.feed.in.close()
				// The log may be away, and its client slow to notice; the store need not wait for it.
				workers.Go(stopReading)
			})
			err = p.loop(ctx)
			p.feed.endReading()
		}
	}
	if p.lost != nil {
		return notFlushed(p.lost)
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	if err := p.flushRest(background); err != nil {
		return err
	}
	if err := p.pub.rest(background); err != nil {
		// The bucket is behind the checkpoint; the next start publishes it again.
		p.logger.Warn("stopped before everything was published", zap.Error(err))
	}
	return nil
}

// loop applies, flushes and publishes until ctx ends (nil) or something fails
// for good.
func (p *partition) loop(ctx context.Context) error {
	gc := time.NewTicker(p.cfg.GCInterval)
	defer gc.Stop()
	for {
		p.share()
		if err := p.flushInTime(ctx); err != nil {
			return err
		}
		p.endAtUntil()
		if err := p.pub.show.turn(ctx); err != nil {
			return err
		}
		if err := p.compareStretch(ctx); err != nil {
			return err
		}
		refreshed, refresh := p.pub.startRefresh(p.feed.done)
		p.board.idle(p.flush.began, p.pub.began)
		full := p.full()
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-p.feed.ready(full):
			err = p.apply.process(ctx, p.feed.take())
			if p.mem.cache.bytes > p.cacheBytes && !p.mem.cache.stuck {
				p.mem.trimFull()
			}
		case done := <-p.flush.done:
			err = p.finishFlush(done)
		case done := <-p.pub.done:
			err = p.pub.finish(done)
		case <-p.flush.timer.C:
			p.flush.expired()
		case <-p.pub.next():
			err = p.pub.start(ctx, true)
		case <-p.pub.show.wake():
			p.pub.show.woken()
		case err = <-p.wrongLog:
		case err = <-p.feed.in.wrong:
		case <-p.seals.turn(full):
			err = p.seals.sweep(ctx)
		case d := <-refreshed:
			p.pub.noteReplaced(&d)
			err = p.pub.refresh.finish(d, func(err error) { p.board.lastError("refresh the lines of snapshots", err) })
		case <-refresh:
			p.pub.refresh.rouse()
		case <-p.board.wake:
			if p.pub.refresh != nil {
				p.pub.refresh.rouse()
			}
		case <-p.feed.in.ended:
			if p.feed.atEnd() {
				p.mem.pending = 0
			}
		case <-p.feed.restTimer.C:
			p.feed.resting = false
		case <-gc.C:
			p.mem.cache.trim(p.cacheBytes, p.mem.flushed)
		}
		if err == nil {
			err = p.lost
		}
		if err != nil {
			return err
		}
		p.note()
	}
}

// flushInTime starts the flush whose time has come.
func (p *partition) flushInTime(ctx context.Context) error {
	if p.wantsFlush() {
		return p.startFlush(ctx)
	}
	return nil
}

// wantsFlush reports whether it is time to flush: at once if the bucket waits for the
// store, or if nothing comes that could be flushed with it.
func (p *partition) wantsFlush() bool {
	bucketWaits := p.pub.backlog != nil && p.flush.stored < p.pub.floor && p.mem.position >= p.pub.floor
	return p.flush.wants(bucketWaits || p.feed.done || p.paused())
}

// full reports whether the feeder has to wait for the flusher or the publisher.
func (p *partition) full() bool {
	if p.flush.busy && p.mem.cache.stuck && p.mem.cache.bytes >= 2*p.cacheBytes {
		return true // pages of large pairs that cannot leave before they are stored
	}
	return p.changes.bytes+p.flush.inFlight >= p.flushBytes || p.pub.queue.len() >= publishMost
}

// startFlush brings the figures up to date and begins a flush.
func (p *partition) startFlush(ctx context.Context) error {
	p.board.applying()
	if err := p.mem.settle(ctx); err != nil {
		return err
	}
	p.seals.sealCached()
	return p.flush.start()
}

// finishFlush notes the end of a flush, for which sealer and refresher may wait.
func (p *partition) finishFlush(d flushDone) error {
	if err := p.flush.finish(d); err != nil {
		return err
	}
	if slices.ContainsFunc(d.job.batch.Pairs, func(c projection.PairChange) bool { return c.Sealed != nil }) {
		p.seals.removable()
	}
	if p.pub.refresh != nil {
		p.pub.refresh.rouse()
	}
	return nil
}

// flushRest writes what is left when the partition stops.
func (p *partition) flushRest(ctx context.Context) error {
	for p.flush.busy || p.mem.position != p.flush.encoded {
		if !p.flush.busy {
			if err := p.startFlush(ctx); err != nil {
				return notFlushed(err)
			}
		}
		if err := p.finishFlush(<-p.flush.done); err != nil {
			return notFlushed(err)
		}
	}
	return nil
}

// scope is what the parts of a partition have in common. Its fields are set when the
// partition starts, but for lost and the partition's share of the worker's bounds.
type scope struct {
	id      int
	cfg     *Config
	log     eventLog
	store   projection.Store
	logger  *zap.Logger
	metrics *partitionMetrics
	board   *board
	atomic  bool // the store's flushes are
	paged   bool // the store keeps pages, so no facts are gathered
	whole   bool // the log is read whole; see wholeLog

	controls               *controls     // the worker's
	cacheBytes, flushBytes int           // its share of the worker's bounds
	sharers                *atomic.Int64 // how many partitions share them; nil: it does not change

	term        ownershipTerm // the right to write; nil: there is one owner, this one
	loadedEpoch uint64        // of the checkpoint that the store had at the start
	epoch       uint64

	// background ends when the worker gives up waiting, a while after ctx.
	background context.Context

	lost error // a pair that is lost, which ends the partition; see pairPages
}

func newScope(id int, cfg *Config, controls *controls, log eventLog, metrics *partitionMetrics) *scope {
	can := cfg.Store.Capabilities()
	s := &scope{
		id: id, cfg: cfg, log: log, store: cfg.Store,
		logger:   cfg.Logger.With(zap.Int("partition", id)),
		metrics:  metrics,
		atomic:   can.AtomicFlush,
		paged:    can.IgnoresFacts,
		whole:    readsWhole(cfg.Rules, log.Partitions()),
		controls: controls,
	}
	s.board = newBoard(s)
	s.share()
	return s
}

// retry is retry for the partition, whose status says what it fails with meanwhile.
func (s *scope) retry(ctx context.Context, what string, f func(context.Context) error) error {
	failed := false
	return retry(ctx, s.logger, s.controls.outages, what, func(ctx context.Context) error {
		err := f(ctx)
		if err != nil {
			s.metrics.all.failedTry(what, err)
		}
		if err != nil || failed {
			s.board.lastError(what, err)
			failed = err != nil
		}
		return err
	})
}

// fail wraps an error with what the partition was doing.
func (s *scope) fail(what string, err error) error {
	return fmt.Errorf("processor: partition %d: %s: %w", s.id, what, err)
}
