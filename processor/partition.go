package processor

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"holdmetrics/projection"
)

// inboxBytes is how much of a partition is read ahead, and so about how large a
// batch can be.
const inboxBytes = 512 << 10

// partition is one partition of the log and all that is in memory of it. Its
// fields belong to the goroutine of run, but for those that are said to be shared.
type partition struct {
	id      int
	cfg     *Config
	log     eventLog
	store   projection.Store
	bucket  snapshots // nil: none
	logger  *zap.Logger
	metrics *partitionMetrics
	atomic  bool // the store's flushes are
	paged   bool // the store keeps pages, so no facts are gathered
	whole   bool // the log is read whole; see wholeLog

	controls               *controls     // the worker's
	cacheBytes, flushBytes int           // its share of the worker's bounds
	sharers                *atomic.Int64 // how many partitions share them; nil: it does not change

	tenure tenure // the right to write; nil: there is one owner, this one
	found  uint64 // epoch of the checkpoint that was found

	// background ends when the worker gives up waiting, a while after ctx.
	background context.Context

	in    *inbox
	cache *cache
	batch batch
	lost  error // a pair that is lost, which ends the partition; see pairPages

	position uint64 // of the last message applied
	clock    int64  // log time: the greatest timestamp up to position
	epoch    uint64
	events   uint64 // as in the checkpoint
	rejected uint64
	excluded uint64 // since the start, unlike events
	pending  uint64 // messages behind position, when the last batch was sent
	taken    uint64 // events applied or refused since the log's client began
	settled  uint64 // messages of which that was done, or that came again
	horizon  int64  // what was held before is final; 0: nothing is
	sweep    sweep
	always   chan struct{} // is ready
	unstored bool          // the store had nothing of the partition at the start
	tail     uint64        // the log's end at the start; what a former owner may have written lies before it

	ahead      []message // at hand, and not applied yet
	done       bool      // all up to Config.Until is applied
	endReading func()    // ends the reading of the log; in the background
	goal       uint64    // up to here the worker's pace holds
	resting    bool      // the pace wants a pause
	restTimer  *time.Timer

	touchedPairs   []*pair // since the last settle
	touchedHolders []*holder
	broken         []*pair                           // settle: to be figured anew
	unloaded       []*pair                           // settle: of those, the ones that are not in memory
	missing        []*pair                           // load: scratch
	dirtyPairs     []*pair                           // since the last flush was encoded
	facts          map[*pair][]projection.LoggedFact // of dirty pairs, where the store keeps facts
	dirtyHolders   []*holder
	unpublished    publishQueue
	letters        *letters // since the last flush was encoded

	dirtyBytes    int // of what is applied and not encoded
	inflightBytes int // of the flush that is being written
	flushes       uint32
	flushed       uint32 // number of the last flush that was written
	encoded       uint64 // position of the last flush that was encoded
	stored        uint64 // position of the last flush that was written
	storedTime    int64  // the log's time of stored
	flushing      bool
	flushBegan    time.Time
	flushArmed    bool // flushTimer runs
	flushDue      bool // flushTimer has run out
	flushWaits    int  // how often since the last flush
	flushTimer    *time.Timer
	jobs          chan *flushJob
	flushesDone   chan flushDone

	published     uint64 // what the bucket has all of with the last publish that was handed over
	publishedTime int64  // the log's time of published
	publishFloor  uint64 // the bucket may have snapshots up to here, from before the start
	owes          *debt  // what is to be published from the store once that has passed publishFloor
	publishing    bool
	publishBegan  time.Time
	turn          chan struct{} // the worker's: has publishTurns items, which the partitions that publish hold
	publishJobs   chan *publishJob
	publishesDone chan publishDone
	refresh       *refresher // nil: there is no bucket
	refreshed     bool       // the last publish was of refreshed lines

	// Shared.
	wrongLog chan error    // takes why the log is not the one that is read
	wake     chan struct{} // somebody waits for wanted
	wanted   atomic.Uint64 // position that somebody waits for
	mu       sync.Mutex
	status   PartitionStatus
	moved    chan struct{} // closed and replaced when status changes what waiters look at

	standAt    uint64 // see Stand
	standUntil time.Time

	troubleWith string    // what status.Trouble is about
	hungry      time.Time // since when the log has had more, and position was hungryAt
	hungryAt    uint64
}

func newPartition(id int, cfg *Config, controls *controls, log eventLog, bucket snapshots, turn chan struct{}, metrics *partitionMetrics) *partition {
	store, ok := cfg.Store.(atomicStore)
	pages, keeps := cfg.Store.(pageStore)
	p := &partition{
		id: id, cfg: cfg, log: log, store: cfg.Store, bucket: bucket,
		logger:        cfg.Logger.With(zap.Int("partition", id)),
		metrics:       metrics,
		atomic:        ok && store.AtomicFlush(),
		paged:         keeps && pages.KeepsPages(),
		whole:         readsWhole(cfg.Rules, log.Partitions()),
		controls:      controls,
		in:            newInbox(inboxBytes),
		cache:         newCache(cfg.Rules),
		facts:         map[*pair][]projection.LoggedFact{},
		batch:         batch{rejected: map[string]uint64{}},
		letters:       &letters{},
		flushTimer:    stoppedTimer(),
		restTimer:     stoppedTimer(),
		jobs:          make(chan *flushJob, 1),
		flushesDone:   make(chan flushDone, 1),
		turn:          turn,
		publishJobs:   make(chan *publishJob, 1),
		publishesDone: make(chan publishDone, 1),
		wrongLog:      make(chan error, 1),
		always:        make(chan struct{}),
		wake:          make(chan struct{}, 1),
		status:        PartitionStatus{Partition: id, State: Loading},
		moved:         make(chan struct{}),
	}
	close(p.always)
	if bucket != nil {
		p.refresh = newRefresher(id, cfg)
	}
	if _, ok := p.store.(projection.PageReader); ok {
		p.cache.pages = p.pagesOf
	}
	p.share()
	return p
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(0)
	t.Stop()
	return t
}

// retry is retry for the partition, whose status says what it fails with meanwhile.
func (p *partition) retry(ctx context.Context, what string, f func(context.Context) error) error {
	failed := false
	return retry(ctx, p.logger, what, func(ctx context.Context) error {
		err := f(ctx)
		if err != nil || failed {
			p.trouble(what, err)
			failed = err != nil
		}
		return err
	})
}

// run works until ctx ends, and then writes what is left, which it may do until
// background ends. It returns when everything that it started has ended.
func (p *partition) run(ctx, background context.Context) error {
	// Whatever ends the partition ends what it started.
	background, cancel := context.WithCancel(background)
	p.background = background
	var workers sync.WaitGroup
	workers.Go(func() { p.flusher(background, p.jobs, p.flushesDone) })
	workers.Go(func() { p.publisher(background, ctx, p.publishJobs, p.publishesDone) })
	if p.refresh != nil {
		workers.Go(func() { p.refresh.run(ctx) })
	}
	defer func() {
		cancel()
		close(p.jobs)
		close(p.publishJobs)
		if p.refresh != nil {
			close(p.refresh.jobs)
			p.refresh.timer.Stop()
		}
		workers.Wait()
		p.letters.wg.Wait()
		p.flushTimer.Stop()
		p.restTimer.Stop()
	}()

	err := p.start(ctx)
	if err == nil {
		var stopReading func()
		if stopReading, err = p.read(ctx); err == nil {
			p.endReading = sync.OnceFunc(func() {
				p.in.close()
				// The log may be away, and its client slow to notice; the store need not wait for it.
				workers.Go(stopReading)
			})
			err = p.loop(ctx)
			p.endReading()
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
	if err := p.publishLast(background); err != nil {
		// The bucket is behind the checkpoint; the next start publishes it again.
		p.logger.Warn("stopped before everything was published", zap.Error(err))
	}
	return nil
}

func (p *partition) read(ctx context.Context) (stop func(), err error) {
	err = p.retry(ctx, "read the log", func(ctx context.Context) (err error) {
		stop, err = p.log.read(ctx, p.id, p.position, p.in, p.logger)
		return err
	})
	return stop, err
}

// loop applies, flushes and publishes until ctx ends (nil) or something fails
// for good.
func (p *partition) loop(ctx context.Context) error {
	gc := time.NewTicker(p.cfg.GCInterval)
	defer gc.Stop()
	for {
		p.share()
		if err := p.hand(ctx); err != nil {
			return err
		}
		p.endAtUntil()
		refreshed, refresh := p.startRefresh()
		p.idle()
		var err error
		select {
		case <-ctx.Done():
			return nil
		case <-p.feed():
			err = p.process(ctx, p.next())
			if p.cache.bytes > p.cacheBytes && !p.cache.stuck {
				p.trimFull()
			}
		case done := <-p.flushesDone:
			err = p.finishFlush(done)
		case done := <-p.publishesDone:
			err = p.finishPublish(done)
		case <-p.flushTimer.C:
			p.flushArmed, p.flushDue = false, true
			p.flushWaits++
			if p.flushWaits < flushBehind {
				p.changed() // the time of a partition that is behind
			}
		case <-p.publishTurn():
			err = p.startPublish(ctx, true)
		case err = <-p.wrongLog:
		case <-p.sweepTurn():
			err = p.sweepSome(ctx)
		case d := <-refreshed:
			err = p.refresh.finish(d, func(err error) { p.trouble("refresh the lines of snapshots", err) })
		case <-refresh:
			p.refresh.rouse()
		case <-p.wake:
			if p.refresh != nil {
				p.refresh.rouse()
			}
		case <-p.restTimer.C:
			p.resting = false
		case <-gc.C:
			p.cache.trim(p.cacheBytes, p.flushed)
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

// trimFull trims the cache to some way below its bound, so that not every batch does.
func (p *partition) trimFull() {
	p.cache.trim(p.cacheBytes-p.cacheBytes/8, p.flushed)
	p.cache.stuck = p.cache.bytes > p.cacheBytes
}

// hand starts the flush whose time has come.
func (p *partition) hand(ctx context.Context) error {
	if p.wantsFlush() {
		return p.startFlush(ctx)
	}
	return nil
}

// full says whether the reader has to wait for the flusher or the publisher.
func (p *partition) full() bool {
	if p.flushing && p.cache.stuck && p.cache.bytes >= 2*p.cacheBytes {
		return true // pages of large pairs that cannot leave before they are stored
	}
	return p.dirtyBytes+p.inflightBytes >= p.flushBytes || p.unpublished.len() >= publishMost
}

// changed starts the clock of the next flush with the first change after the last.
func (p *partition) changed() {
	if !p.flushing && !p.flushArmed {
		p.flushArmed = true
		p.flushTimer.Reset(p.cfg.FlushInterval)
	}
}

// fail says what the partition was at.
func fail(p *partition, what string, err error) error {
	return fmt.Errorf("processor: partition %d: %s: %w", p.id, what, err)
}
