package processor

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"holdmetrics/internal/logs"
)

// controls are what changes of a worker while it runs, for all its partitions.
type controls struct {
	deadLetters atomic.Uint64 // dead letters are written of messages up to this position
	beside      atomic.Int64  // how many workers share the bounds of memory
	pace        *pace         // nil: as fast as it goes
	sealed      atomic.Int64  // the horizon that a partition came to last

	outages *logs.Outages
	tally   *logs.Tally

	shown   atomic.Pointer[shown] // see Worker.SetShown
	recheck atomic.Uint64         // how often Worker.Recheck was called
}

// SetDeadLetters has dead letters written of the messages up to a position; 0 is
// none, math.MaxUint64 is all. What is rejected beyond it is counted. It begins as
// Config.DiscardDeadLetters says.
func (w *Worker) SetDeadLetters(upTo uint64) { w.controls.deadLetters.Store(upTo) }

// SetBeside says how many workers share the bounds of memory, this one included.
func (w *Worker) SetBeside(workers int) { w.controls.beside.Store(int64(max(workers, 1))) }

// share takes the partition's part of the worker's bounds.
func (s *scope) share() {
	n := len(s.cfg.Partitions)
	if s.sharers != nil {
		n = int(max(s.sharers.Load(), 1))
	}
	n *= int(max(s.controls.beside.Load(), 1))
	s.cacheBytes, s.flushBytes = s.cfg.CacheBytes/n, s.cfg.FlushBytes/n
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

// take takes so many events from the bucket, unless it is overdrawn; ok reports that. It
// takes them however many they are, since a message is applied whole, and may overdraw
// it. wait is how long to apply nothing: after these, or else before they are asked
// for again. So no partition goes on while another has overdrawn.
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

// lateMoves is how long ago a partition has applied something, at most, for Late to count it.
const lateMoves = time.Second

// Late is how late events are applied: the greatest age of an event of the log that a
// partition is about to apply. Partitions that do not move do not count, for whatever
// reason they stand still, nor those that catch up with what the log had at their start.
func (w *Worker) Late() (late time.Duration) {
	now := w.cfg.Now()
	for _, p := range w.running() {
		p.board.mu.Lock()
		late = max(late, p.board.status.late(now))
		p.board.mu.Unlock()
	}
	return late
}

func (s *PartitionStatus) late(now time.Time) time.Duration {
	if s.State != Running || s.behind.IsZero() || s.Paused || s.Resting || now.Sub(s.moved) > lateMoves {
		return 0
	}
	// What follows came after the last message that was applied, and after the partition
	// had nothing to apply.
	return min(now.Sub(time.Unix(0, s.LogTime)), now.Sub(s.behind))
}
