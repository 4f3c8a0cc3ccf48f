package processor

import (
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"holdmetrics/ingest"
)

// controls are what changes of a worker while it runs, for all its partitions.
type controls struct {
	letters atomic.Uint64 // dead letters are written of messages up to this position
	beside  atomic.Int64  // how many workers share the bounds of memory
	pace    *pace         // nil: as fast as it goes
}

// SetDeadLetters has dead letters written of the messages up to a position; 0 is
// none, math.MaxUint64 is all. What is rejected beyond it is counted. It begins as
// Config.DiscardDeadLetters says.
func (w *Worker) SetDeadLetters(upTo uint64) { w.controls.letters.Store(upTo) }

// SetBeside says how many workers share the bounds of memory, this one included.
func (w *Worker) SetBeside(workers int) { w.controls.beside.Store(int64(max(workers, 1))) }

// share takes the partition's part of the worker's bounds.
func (p *partition) share() {
	n := len(p.cfg.Partitions)
	if p.sharers != nil {
		n = int(max(p.sharers.Load(), 1))
	}
	n *= int(max(p.controls.beside.Load(), 1))
	p.cacheBytes, p.flushBytes = p.cfg.CacheBytes/n, p.cfg.FlushBytes/n
}

// pace bounds how many events a worker applies in a second, while it is behind
// Config.Goal.
type pace struct {
	whole      float64 // events a second, for all partitions of the log
	partitions int     // of the log

	mu      sync.Mutex
	limiter *rate.Limiter
}

func newPace(perSecond uint64, partitions int) *pace {
	if perSecond == 0 {
		return nil
	}
	p := &pace{whole: float64(perSecond), partitions: partitions}
	p.limiter = rate.NewLimiter(rate.Limit(p.whole), burstOf(perSecond))
	return p
}

// burstOf is what may come at once after a rest: a tenth of a second's worth.
func burstOf(perSecond uint64) int { return int(min(max(perSecond/10, 1), math.MaxInt32)) }

// share makes the bound that of so many partitions.
func (p *pace) share(owned int) {
	if p != nil {
		p.limiter.SetLimit(rate.Limit(p.whole * float64(max(owned, 1)) / float64(p.partitions)))
	}
}

// after is how long to wait after so many events were applied. p.mu is held.
func (p *pace) after(events int, now time.Time) (wait time.Duration) {
	for most := p.limiter.Burst(); events > 0; events -= most {
		wait = p.limiter.ReserveN(now, min(events, most)).DelayFrom(now)
	}
	return wait
}

// take takes so many events, where nothing is owed for those before; ok says so. It
// does however many they are, since a message is applied whole, and then the pace is in
// debt. wait is how long to apply nothing: after these, or else before they are asked
// for again. So the worker never goes on in one partition while it owes for another.
func (p *pace) take(events int, now time.Time) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if owed := -p.limiter.TokensAt(now); owed > 0 {
		seconds := min(owed/float64(p.limiter.Limit()), paceMost.Seconds())
		return time.Duration(seconds*float64(time.Second)) + 1, false
	}
	return min(p.after(events, now), paceMost), true
}

// bytes is about how much a partition applies before it looks whether to rest: a
// tenth of a second's worth, so that the work is spread.
func (p *pace) bytes() int { return int(p.whole/float64(p.partitions)/10*paceEventBytes) + 1 }

// paceMost is how long is waited at once: the bound may be another one then.
const paceMost = time.Minute

// paceEventBytes is about what an event takes in the log.
const paceEventBytes = 64

// paced says whether messages may be applied now, and has the partition wait where it
// is not to be faster: before them or after them.
func (p *partition) paced(messages []message) bool {
	if p.controls.pace == nil || p.position >= p.goal || len(messages) == 0 {
		return true
	}
	events := 0
	for i := range messages {
		events += ingest.EventsIn(messages[i].data)
	}
	wait, ok := p.controls.pace.take(events, time.Now())
	if wait > 0 {
		p.resting = true
		p.restTimer.Reset(wait)
	}
	return ok
}

// feed is where messages come from, nil while none are to be applied.
func (p *partition) feed() <-chan struct{} {
	switch {
	case p.full() || p.resting:
		return nil
	case len(p.ahead) == 0:
		return p.in.ready
	case p.ahead[0].position > p.limit():
		return nil
	}
	return always
}

// always is ready.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// next are the messages at hand that may be applied. Those beyond the limit stay
// ahead until it goes.
func (p *partition) next() []message {
	if len(p.ahead) == 0 {
		p.ahead = p.in.take()
	}
	limit, n, room := p.limit(), 0, math.MaxInt
	if p.controls.pace != nil && p.position < p.goal {
		room = p.controls.pace.bytes()
	}
	for n < len(p.ahead) && p.ahead[n].position <= limit && (n == 0 || room > 0) {
		room -= len(p.ahead[n].data)
		n++
	}
	now := p.ahead[:n]
	if !p.paced(now) {
		return nil
	}
	p.ahead = p.ahead[n:]
	return now
}

// until is the last position that is ever applied.
func (c *Config) until() uint64 {
	if c.Until == 0 {
		return math.MaxUint64
	}
	return c.Until
}

// limit is the last position that may be applied now.
func (p *partition) limit() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Now().Before(p.standUntil) {
		return min(p.cfg.until(), p.standAt)
	}
	return p.cfg.until()
}

// endAtUntil ends the reading where all up to Config.Until is applied.
func (p *partition) endAtUntil() {
	if p.done || p.cfg.Until == 0 {
		return
	}
	beyond := len(p.ahead) > 0 && p.ahead[0].position > p.cfg.Until
	if !beyond && p.position < p.cfg.Until && (p.tail > p.cfg.Until || p.position < p.tail) {
		return
	}
	p.done, p.ahead, p.pending = true, nil, 0
	p.publishFloor = min(p.publishFloor, p.position) // the bucket can have no more than that
	p.endReading()
	p.set(func(s *PartitionStatus) {
		s.Position, s.Done = p.position, true
		if s.State == CatchingUp && p.owes == nil {
			s.State = Running
		}
	})
}

// standFor is how long a partition stands still unless it is asked again.
const standFor = 20 * time.Second

// Stand has a partition apply messages up to a position, or up to where it is
// already where that is further, and none beyond, until [Worker.Go] is called or 20
// seconds have passed since the last call. It returns where the partition stands
// once the store has everything up to there. The errors are those of
// [Worker.WaitApplied].
func (w *Worker) Stand(ctx context.Context, partition int, position uint64) (uint64, error) {
	p, err := w.at(partition)
	if err != nil {
		return 0, err
	}
	end, err := w.log.End(ctx, partition)
	if err != nil {
		return 0, fmt.Errorf("processor: stand at position %d of partition %d: %w", position, partition, err)
	}
	p.mu.Lock()
	p.standAt, p.standUntil, p.status.Standing = min(position, end), time.Now().Add(standFor), false
	p.mu.Unlock()
	time.AfterFunc(standFor+time.Millisecond, p.rouse) // it goes on by itself
	p.rouse()
	for {
		s, moved := p.snapshot()
		switch {
		case s.State == Failed:
			return 0, s.Err
		case s.State == Stopped:
			return 0, fmt.Errorf("%w: partition %d", ErrStopped, partition)
		case (s.Standing || s.Done) && s.Checkpoint >= s.Position:
			return s.Position, nil
		case s.Standing || s.Done:
			if err := p.waitStored(ctx, s.Position); err != nil {
				return 0, err
			}
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// standing is stands for the partition itself.
func (p *partition) standing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stands()
}

// stands says whether the partition has come to where it is to stand. p.mu is held.
func (p *partition) stands() bool {
	return time.Now().Before(p.standUntil) &&
		(p.position >= p.standAt || len(p.ahead) > 0 && p.ahead[0].position > p.standAt)
}

// Go has a partition that stands go on.
func (w *Worker) Go(partition int) {
	if p, err := w.at(partition); err == nil {
		p.mu.Lock()
		p.standUntil = time.Time{}
		p.mu.Unlock()
		p.rouse()
	}
}

// rouse has the partition look again.
func (p *partition) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

func (w *Worker) at(partition int) (*partition, error) {
	w.mu.Lock()
	p := w.byID[partition]
	w.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("%w: partition %d is not run here", ErrStopped, partition)
	}
	return p, nil
}
