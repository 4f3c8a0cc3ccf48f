package processor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// flushJob is one flush on its way. The partition goes on while it is written,
// so nothing in it is touched any more.
type flushJob struct {
	batch   projection.Batch
	letters *letters // to be durable before the checkpoint passes them
	number  uint32
	bytes   int // estimate; counted against the bound until it is written
}

type flushDone struct {
	job  *flushJob
	took time.Duration
	err  error
}

// flusher writes flushes one after the other until jobs is closed.
func (p *partition) flusher(ctx context.Context, jobs <-chan *flushJob, done chan<- flushDone) {
	for job := range jobs {
		began := time.Now()
		err := job.letters.wait()
		if err == nil {
			err = p.retry(ctx, "flush", func(ctx context.Context) error {
				if err := p.owned(); err != nil {
					return err
				}
				// A consumer that was made anew may have read another log.
				if err := p.sameLog(ctx, job.batch.Checkpoint.Position); err != nil {
					return err
				}
				return p.store.Flush(ctx, &job.batch)
			})
		}
		done <- flushDone{job, time.Since(began), err}
	}
}

// unencoded says whether there is something that no flush was made of.
func (p *partition) unencoded() bool { return p.position != p.encoded || p.sweep.unencoded() }

// wantsFlush says whether it is time to flush.
func (p *partition) wantsFlush() bool {
	if p.flushing || !p.unencoded() {
		return false
	}
	wanted := p.wanted.Load()
	if p.owes != nil && p.stored < p.publishFloor && p.position >= p.publishFloor {
		return true // the bucket waits for the store
	}
	if p.done || p.standing() {
		return true // nothing comes that could be flushed with it
	}
	due := p.flushDue && (!p.farBehind() || p.flushWaits >= p.waitsBehind())
	// The cache is full of what is dirty, which cannot leave it.
	due = due || p.cache.stuck && len(p.dirtyPairs) > 0
	return p.dirtyBytes >= p.flushBytes/2 || due || p.encoded < wanted && wanted <= p.position
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
func (p *partition) waitsBehind() int {
	if p.flushes >= 5 {
		return flushBehind
	}
	return min(1<<p.flushes, flushBehind)
}

// farBehind says whether the partition is catching up, as far as the last batch knew.
func (p *partition) farBehind() bool { return p.pending >= behindMessages }

// startFlush encodes what changed and hands it to the flusher.
func (p *partition) startFlush(ctx context.Context) error {
	p.applying()
	if err := p.settle(ctx); err != nil {
		return err
	}
	p.sealCached()
	p.flushes++
	job := &flushJob{
		batch: projection.Batch{
			Partition: p.id,
			Pairs:     make([]projection.PairChange, 0, len(p.dirtyPairs)),
			Holders:   make([]projection.HolderRecord, 0, len(p.dirtyHolders)),
			Checkpoint: projection.Checkpoint{
				LogID: p.log.ID(), Position: p.position, Epoch: p.epoch,
				LogTime: p.clock, Events: p.events, Rejected: p.rejected,
				Horizon: p.horizon, Swept: p.sweep.done,
			},
		},
		letters: p.letters,
		number:  p.flushes,
		bytes:   p.dirtyBytes,
	}
	// In the order of the keys, in which a store takes them most easily. The holder
	// of a dirty pair is dirty too.
	slices.SortFunc(p.dirtyPairs, func(a, b *pair) int { return a.key().Compare(b.key()) })
	slices.SortFunc(p.dirtyHolders, func(a, b *holder) int { return strings.Compare(a.name, b.name) })
	pairs := p.dirtyPairs
	for _, h := range p.dirtyHolders {
		h.dirty, h.flush = false, p.flushes
		var figures *hold.Figures // of its first pair, where they are its own
		for ; len(pairs) > 0 && pairs[0].holder == h; pairs = pairs[1:] {
			job.batch.Pairs = append(job.batch.Pairs, p.encode(pairs[0]))
			if pairs[0].isFirst() && pairs[0].at == h.sumAt && h.rest == nil {
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
	job.batch.Pairs = p.sweep.take(job.batch.Pairs)
	clear(p.dirtyPairs)
	clear(p.dirtyHolders)
	p.dirtyPairs, p.dirtyHolders = p.dirtyPairs[:0], p.dirtyHolders[:0]
	p.letters = &letters{}
	p.dirtyBytes, p.inflightBytes = 0, job.bytes
	p.encoded, p.flushing, p.flushArmed, p.flushDue, p.flushWaits = p.position, true, false, false, 0
	p.flushTimer.Stop()
	p.flushBegan = p.cfg.Now()
	if p.lost != nil {
		p.flushing = false
		return p.lost
	}
	p.jobs <- job // has room: one is in flight at most
	return nil
}

// encode takes a pair's changes out of it.
func (p *partition) encode(pr *pair) projection.PairChange {
	c := projection.PairChange{Key: pr.key(), Policy: pr.state.Policy(), Figures: pr.figures(pr.at)}
	if !p.paged {
		c.Facts = p.facts[pr]
		delete(p.facts, pr)
		c.Sealed = pr.state.DirtySealed()
	}
	for page := range pr.state.DirtyPages() {
		c.Pages = append(c.Pages, page) // its bytes are ours
	}
	pr.state.ClearDirty()
	pr.dirty, pr.flush = false, p.flushes
	return c
}

// finishFlush notes that a flush is written.
func (p *partition) finishFlush(d flushDone) error {
	p.flushing, p.flushBegan, p.inflightBytes = false, time.Time{}, 0
	if d.err != nil {
		return fmt.Errorf("processor: partition %d: flush up to position %d: %w", p.id, d.job.batch.Checkpoint.Position, d.err)
	}
	p.flushed, p.stored, p.storedTime = d.job.number, d.job.batch.Checkpoint.Position, d.job.batch.Checkpoint.LogTime
	if slices.ContainsFunc(d.job.batch.Pairs, func(c projection.PairChange) bool { return c.Sealed != nil }) {
		p.removable()
	}
	if p.cache.stuck {
		p.trimFull()
	}
	p.metrics.flush(d)
	if p.refresh != nil {
		p.refresh.rouse()
	}
	p.set(func(s *PartitionStatus) { s.Checkpoint = d.job.batch.Checkpoint.Position })
	if p.unencoded() {
		p.changed()
	}
	return nil
}

// flushRest writes what is left when the partition stops.
func (p *partition) flushRest(ctx context.Context) error {
	for p.flushing || p.position != p.encoded {
		if !p.flushing {
			if err := p.startFlush(ctx); err != nil {
				return notFlushed(err)
			}
		}
		if err := p.finishFlush(<-p.flushesDone); err != nil {
			return notFlushed(err)
		}
	}
	return nil
}

func notFlushed(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrNotFlushed, err)
	}
	return err
}

// lettersAtOnce is how many dead letters of one batch are on their way together.
const lettersAtOnce = 32

// letters are the dead letters of the messages between two checkpoints. A flush
// waits for them, so no checkpoint passes an event that is neither in the store
// nor durable as a dead letter. A letter has a subject of its own, so sending it
// again after a crash changes nothing.
type letters struct {
	wg  sync.WaitGroup
	mu  sync.Mutex
	err error // the first; only the end of the context makes one
}

// send publishes the letters in the background. Each is tried until it is
// stored or ctx ends. Their bytes must stay as they are.
func (l *letters) send(ctx context.Context, batch []ingest.DeadLetter, publish func(context.Context, ingest.DeadLetter) error, retry func(ctx context.Context, what string, f func(context.Context) error) error) {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		var group errgroup.Group
		group.SetLimit(lettersAtOnce)
		for i := range batch {
			group.Go(func() error {
				return retry(ctx, "publish a dead letter", func(ctx context.Context) error { return publish(ctx, batch[i]) })
			})
		}
		if err := group.Wait(); err != nil {
			l.mu.Lock()
			if l.err == nil {
				l.err = err
			}
			l.mu.Unlock()
		}
	}()
}

// wait returns when all letters are stored, or why one is not.
func (l *letters) wait() error {
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
