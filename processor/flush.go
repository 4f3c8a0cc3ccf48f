package processor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/tracing"
	"holdmetrics/projection"
)

// flushJob is one flush on its way. The partition goes on while it is written,
// so nothing in it is touched any more.
type flushJob struct {
	batch       projection.Batch
	deadLetters *deadLetters // to be durable before the checkpoint passes them
	number      uint32
	bytes       int  // estimate; counted against the bound until it is written
	behind      bool // some of it was applied far behind the log
	trail       tracing.Trail
}

type flushDone struct {
	job  *flushJob
	took time.Duration
	err  error
}

// changes is what was applied since the last flush was encoded.
type changes struct {
	paged        bool // the store keeps pages, so no facts are gathered
	pairs        []*pair
	facts        map[*pair][]projection.LoggedFact // of pairs, where the store keeps facts
	holders      []*holder
	deadLetters  *deadLetters
	bytes        int                     // estimate
	sealed       []projection.PairChange // of pairs that are not in memory
	sealedCached bool                    // a pair in memory was sealed
}

func newChanges(s *scope) *changes {
	return &changes{paged: s.paged, facts: map[*pair][]projection.LoggedFact{}, deadLetters: &deadLetters{}}
}

// addFact keeps a fact that is new to a pair, for stores that keep facts.
func (c *changes) addFact(pr *pair, fact projection.LoggedFact) {
	if !c.paged {
		c.facts[pr] = append(c.facts[pr], fact)
	}
}

// markDirty has a pair stored with the next flush, and its holder beside it.
func (c *changes) markDirty(pr *pair) {
	if !pr.dirty {
		pr.dirty = true
		c.pairs = append(c.pairs, pr)
		c.bytes += dirtyPairBytes
	}
	if h := pr.holder; !h.dirty {
		h.dirty = true
		c.holders = append(c.holders, h)
		c.bytes += dirtyHolderBytes
	}
}

// takeSealed moves what was sealed in place of the store into a flush.
func (c *changes) takeSealed(pairs []projection.PairChange) []projection.PairChange {
	c.sealedCached = false
	if len(c.sealed) == 0 {
		return pairs
	}
	pairs = append(pairs, c.sealed...)
	slices.SortFunc(pairs, func(a, b projection.PairChange) int { return a.Key.Compare(b.Key) })
	c.sealed = nil
	return pairs
}

// reset begins to gather for the next flush. facts were taken out pair by pair.
func (c *changes) reset() {
	c.pairs, c.holders = emptied(c.pairs), emptied(c.holders)
	c.deadLetters, c.bytes = &deadLetters{}, 0
}

// flusher writes what changed to the store, in one flush at a time: start encodes
// it, run writes it in a goroutine of its own, and finish notes the end.
type flusher struct {
	*scope
	mem     *memory
	changes *changes

	number       uint32 // of the last flush that was encoded
	encoded      uint64 // position of the last flush that was encoded
	encodedSweep int64  // mem.swept, as the last flush has it
	stored       uint64 // position of the last flush that was written
	storedTime   int64  // the log's time of stored
	fresh        bool   // the store had nothing when this owner began
	inFlight     int    // estimated bytes of the flush that is being written
	busy         bool   // a flush is being written
	began        time.Time
	took         time.Duration // by the last flush; 0 if that had what was applied far behind the log
	armed        bool          // timer runs
	armedAt      time.Time
	stretched    bool // the timer runs for longer than the interval
	due          bool // timer has run out
	waits        int  // how often since the last flush
	behind       bool // the partition was far behind the log since the last flush
	late         bool // it was, and is not, but the timer ran out before it came to the end
	timer        *time.Timer
	waiting      tracing.Waiting // spans of messages that no flush was made of
	jobs         chan *flushJob
	done         chan flushDone
}

func newFlusher(s *scope, mem *memory, c *changes) *flusher {
	return &flusher{
		scope: s, mem: mem, changes: c, timer: stoppedTimer(),
		jobs: make(chan *flushJob, 1), done: make(chan flushDone, 1),
	}
}

// run writes flushes one after the other until jobs is closed.
func (f *flusher) run(ctx context.Context) {
	for job := range f.jobs {
		began := time.Now()
		span := f.trace(job)
		err := job.deadLetters.wait()
		if err == nil {
			err = f.retry(ctx, "flush", func(ctx context.Context) error {
				if err := f.owned(); err != nil {
					return err
				}
				// A consumer that was created again may have read another log.
				if err := f.sameLog(ctx, job.batch.Checkpoint.Position); err != nil {
					return err
				}
				return f.store.Flush(ctx, &job.batch)
			})
		}
		span.End(err)
		f.done <- flushDone{job, time.Since(began), err}
	}
}

// trace starts the span of a flush; nil: nothing in it is of a sampled request.
func (f *flusher) trace(job *flushJob) *tracing.Span {
	if job.trail.Empty() {
		return nil
	}
	return f.cfg.Tracer.Start(&job.trail, tracing.Step{Name: "flush", Kind: trace.SpanKindClient, Attributes: []attribute.KeyValue{
		tracing.DBSystem.String(f.cfg.StoreSystem), tracing.DBOperation.String("flush"),
		tracing.DBBatchSize.Int(len(job.batch.Pairs) + len(job.batch.Holders)), tracing.PartitionID.String(strconv.Itoa(f.id)),
		tracing.Position.Int64(int64(job.batch.Checkpoint.Position)),
	}})
}

// unencoded reports whether there is something that no flush was made of.
func (f *flusher) unencoded() bool {
	return f.mem.position != f.encoded || len(f.changes.sealed) > 0 || f.changes.sealedCached || f.mem.swept != f.encodedSweep
}

// wants reports whether it is time to flush; urgent: as soon as there is something.
func (f *flusher) wants(urgent bool) bool {
	if f.busy || !f.unencoded() {
		return false
	}
	wanted := f.board.wanted.Load()
	if urgent {
		return true
	}
	due := f.due
	switch {
	case f.mem.farBehind():
		due = due && f.waits >= f.waitsBehind()
	case f.behind: // the next flush is the one that has the whole log
		due = due && (f.mem.pending == 0 || f.late)
	}
	// The cache is full of what is dirty, which cannot leave it.
	due = due || f.mem.cache.stuck && len(f.changes.pairs) > 0
	return f.changes.bytes >= f.flushBytes/2 || due || f.encoded < wanted && wanted <= f.mem.position
}

// A partition that is behind the log by behindMessages or more flushes
// flushBehind times as seldom: what a crash takes from it is in the log, and
// every flush writes the pages of the same pairs again, so their number is what
// a replay costs the store. It comes to that by and by: see waitsBehind.
const (
	behindMessages = 32
	flushBehind    = 20
)

// waitsBehind is how many intervals pass before the next flush of a partition that
// is behind. It begins with one, and doubles: an owner who loses the partition
// again and again, because the machine is too busy for its leases, would otherwise
// never get to its first flush, nor would the next one, and all would begin at the
// same checkpoint for ever.
func (f *flusher) waitsBehind() int {
	if f.number >= 5 {
		return flushBehind
	}
	return min(1<<f.number, flushBehind)
}

// start encodes what changed since the last flush, whose figures are settled, and
// has it written.
func (f *flusher) start() error {
	f.number++
	job := &flushJob{
		batch: projection.Batch{
			Partition: f.id,
			Pairs:     make([]projection.PairChange, 0, len(f.changes.pairs)),
			Holders:   make([]projection.HolderRecord, 0, len(f.changes.holders)),
			Checkpoint: projection.Checkpoint{
				LogID: f.log.ID(), Position: f.mem.position, Epoch: f.epoch,
				LogTime: f.mem.clock, Events: f.mem.events, Rejected: f.mem.rejected,
				Horizon: f.mem.horizon, Swept: f.mem.swept, Hash: f.mem.hash, Messages: f.mem.messages,
			},
		},
		deadLetters: f.changes.deadLetters,
		number:      f.number,
		bytes:       f.changes.bytes,
		behind:      f.behind,
		trail:       f.waiting.Take(f.mem.position),
	}
	// In the order of the keys, in which a store takes them most easily. The holder
	// of a dirty pair is dirty too.
	slices.SortFunc(f.changes.pairs, func(a, b *pair) int { return a.key().Compare(b.key()) })
	slices.SortFunc(f.changes.holders, func(a, b *holder) int { return strings.Compare(a.name, b.name) })
	pairs := f.changes.pairs
	for _, h := range f.changes.holders {
		h.dirty, h.flush = false, f.number
		var figures *hold.Figures // of its first pair, where they are its own
		for ; len(pairs) > 0 && pairs[0].holder == h; pairs = pairs[1:] {
			job.batch.Pairs = append(job.batch.Pairs, f.encode(pairs[0]))
			if pairs[0].isFirst() && pairs[0].at == h.updatedAt && h.rest == nil {
				figures = &job.batch.Pairs[len(job.batch.Pairs)-1].Figures
			}
		}
		record := projection.HolderRecord{Holder: h.name, UpdatedAt: h.updatedAt, Position: h.position}
		if figures != nil {
			record.Figures = *figures
			record.Figures.Line.Until = h.breaks.next() // another pair's may be earlier
		} else {
			record.Figures = h.figures()
		}
		job.batch.Holders = append(job.batch.Holders, record)
	}
	job.batch.Pairs = f.changes.takeSealed(job.batch.Pairs)
	f.changes.reset()
	f.inFlight = job.bytes
	f.encoded, f.encodedSweep, f.busy, f.armed, f.due, f.waits = f.mem.position, f.mem.swept, true, false, false, 0
	f.behind, f.late = false, false
	f.timer.Stop()
	f.began = f.cfg.Now()
	if f.lost != nil {
		f.busy = false
		return f.lost
	}
	f.jobs <- job // has room: one is in flight at most
	return nil
}

// A flush writes every pair again that changed, be it by one event. So the more a flush
// has to write, the longer the next one waits: flushRests times as long as it took, and
// flushStretch intervals at most. A reader who waits for the store, and a snapshot whose
// line has ended, do not wait for that. A flush of what was applied far behind the log,
// in many intervals, says nothing of the next one.
const (
	flushRests   = 10
	flushStretch = 8
)

// interval is the time from the first change after a flush to the next flush.
func (f *flusher) interval() time.Duration {
	if f.mem.farBehind() {
		return f.cfg.FlushInterval // of which many pass; see waitsBehind
	}
	return min(max(f.cfg.FlushInterval, flushRests*f.took), flushStretch*f.cfg.FlushInterval)
}

// changed starts the clock of the next flush with the first change after the last.
func (f *flusher) changed() {
	f.behind = f.behind || f.mem.farBehind()
	if f.busy || f.armed {
		return
	}
	wait := f.interval()
	f.armed, f.armedAt, f.stretched = true, time.Now(), wait > f.cfg.FlushInterval
	f.timer.Reset(wait)
}

// expired notes that the timer has run out.
func (f *flusher) expired() {
	f.armed, f.due, f.late = false, true, f.behind && !f.mem.farBehind()
	if f.waits++; f.waits < flushBehind {
		f.changed() // the time of a partition that is behind
	}
}

// hasten has the next flush wait no longer than the interval that is set.
func (f *flusher) hasten() {
	if f.armed && f.stretched {
		f.stretched = false
		f.timer.Reset(max(f.cfg.FlushInterval-time.Since(f.armedAt), 0))
	}
}

// encode takes a pair's changes out of it.
func (f *flusher) encode(pr *pair) projection.PairChange {
	c := projection.PairChange{Key: pr.key(), Policy: pr.state.Policy(), Figures: pr.figures(pr.at)}
	if !f.paged {
		c.Facts = f.changes.facts[pr]
		delete(f.changes.facts, pr)
		c.Sealed = pr.state.DirtySealed()
	}
	for page := range pr.state.DirtyPages() {
		c.Pages = append(c.Pages, page) // its bytes are ours
	}
	pr.state.ClearDirty()
	pr.dirty, pr.flush = false, f.number
	return c
}

// finish notes that a flush is written.
func (f *flusher) finish(d flushDone) error {
	f.busy, f.began, f.inFlight, f.took = false, time.Time{}, 0, d.took
	if d.job.behind {
		f.took = 0
	}
	if d.err != nil {
		return fmt.Errorf("processor: partition %d: flush up to position %d: %w", f.id, d.job.batch.Checkpoint.Position, d.err)
	}
	f.mem.flushed, f.stored, f.storedTime = d.job.number, d.job.batch.Checkpoint.Position, d.job.batch.Checkpoint.LogTime
	if f.mem.cache.stuck {
		f.mem.trimFull()
	}
	f.metrics.flush(d)
	if d.took >= slowFlush {
		f.controls.tally.Note("slow flush", 1, func() func(int) {
			fields := []zap.Field{zap.Duration("took", d.took), zap.Int("pairs", len(d.job.batch.Pairs)), zap.Int("holders", len(d.job.batch.Holders)),
				zap.Int("bytes", d.job.bytes), zap.Uint64("position", d.job.batch.Checkpoint.Position)}
			return func(count int) { f.logger.Warn("slow flush", append(fields, zap.Int("count", count))...) }
		})
	}
	f.board.set(func(s *PartitionStatus) { s.Checkpoint = d.job.batch.Checkpoint.Position })
	if f.unencoded() {
		f.changed()
	}
	return nil
}

func notFlushed(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrNotFlushed, err)
	}
	return err
}

// deadLettersAtOnce is how many messages of dead letters are on their way together.
const deadLettersAtOnce = 32

// deadLetters are the dead letters of the messages between two checkpoints. A flush
// waits for them, so no checkpoint passes an event that is neither in the store
// nor durable as a dead letter. Those of one message of the log are stored together, and
// storing them again after a crash changes nothing.
type deadLetters struct {
	wg  sync.WaitGroup
	mu  sync.Mutex
	err error // the first; only the end of the context makes one
}

// send publishes the dead letters in the background, those of one message of the log
// together. Each is tried until it is stored or ctx ends. Their bytes must stay as they are.
func (l *deadLetters) send(ctx context.Context, batch []ingest.DeadLetter, publish func(context.Context, []ingest.DeadLetter) error, retry func(ctx context.Context, what string, f func(context.Context) error) error) {
	// What a seal refuses comes behind the other refusals of its message.
	slices.SortStableFunc(batch, func(a, b ingest.DeadLetter) int {
		return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.Index, b.Index))
	})
	l.wg.Go(func() {
		var group errgroup.Group
		group.SetLimit(deadLettersAtOnce)
		for len(batch) > 0 {
			n := 1
			for n < len(batch) && batch[n].Sequence == batch[0].Sequence {
				n++
			}
			of := batch[:n:n]
			batch = batch[n:]
			group.Go(func() error {
				return retry(ctx, "publish a dead letter", func(ctx context.Context) error { return publish(ctx, of) })
			})
		}
		if err := group.Wait(); err != nil {
			l.mu.Lock()
			if l.err == nil {
				l.err = err
			}
			l.mu.Unlock()
		}
	})
}

// wait returns when all dead letters are stored, or the error of one that is not.
func (l *deadLetters) wait() error {
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
