package hold

import (
	"holdmetrics/hold/internal/heap"
	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// Rules that measure runs or ages need one walk over the holds in order of start.
// tally follows the curve of the policy (S1.3) and accumulates the current run. When
// the run ends, it adds the run's amount if the run is long enough.

// tally adds up holds, which it receives in order of start.
type tally struct {
	r     *Rule
	total tallied

	open       bool // within a run
	start, end int64
	run        tallied
	at         int64 // the run is accumulated up to here

	running heap.Heap[piece] // pieces that cover the instant at
	waiting heap.Heap[piece] // pieces that begin later; at most one of each hold
	level   Rate             // the sum of the running pieces' rates, for sum
}

// tallied is an amount of one pair.
type tallied struct {
	score Score
	held  uint64
}

func (a *tallied) amount() Amount { return Amount{Score: a.score, Held: HeldOf(a.held)} }

func newTally(r *Rule) *tally {
	t := &tally{r: r}
	t.running.Before = endsFirst
	if r.Policy == Merge {
		t.running.Before = weighsMore
	}
	t.waiting.Before = startsFirst
	return t
}

// add adds a hold over [start, end), which must not be empty.
func (t *tally) add(start, end int64, w *interval.Weight) {
	if t.open && start > t.end {
		t.close()
	}
	if !t.open {
		t.open, t.start, t.end, t.at, t.run = true, start, end, start, tallied{}
	}
	t.advance(start)
	t.end = max(t.end, end)
	t.waiting.Push(t.r.firstPiece(start, end, w))
}

// close ends the run, and counts it if it is long enough.
func (t *tally) close() {
	if !t.open {
		return
	}
	t.advance(t.end)
	t.open = false
	t.running.Clear()
	t.waiting.Clear()
	t.level = Rate{}
	if t.end-t.start >= t.r.Shortest {
		t.total.score = t.total.score.Add(t.run.score)
		t.total.held += t.run.held
	}
}

// amount returns the total.
func (t *tally) amount() Amount {
	t.close()
	return t.total.amount()
}

// advance accumulates the run up to the instant to.
func (t *tally) advance(to int64) {
	for t.at < to {
		for t.waiting.Len() > 0 && t.waiting.Top().start <= t.at {
			c := t.waiting.Pop()
			if next, more := t.r.nextPiece(&c); more {
				t.waiting.Push(next)
			}
			t.level = t.level.Add(c.rate)
			t.running.Push(c)
		}
		for t.running.Len() > 0 && t.running.Top().end <= t.at {
			gone := t.running.Pop()
			t.level = t.level.Sub(gone.rate)
		}
		end := to
		if t.waiting.Len() > 0 {
			end = min(end, t.waiting.Top().start)
		}
		// A run has no gap, so at least one piece is running.
		top := t.running.Top()
		end = min(end, top.end)
		level := &t.level
		if t.r.Policy == Merge {
			level = &top.rate
		}
		a, b := max(t.at, t.r.SeasonFrom), min(end, t.r.seasonTo())
		if a < b {
			t.run.score = t.run.score.Add(t.r.levelScore(level, t.start, a, b))
			t.run.held += uint64(b - a)
		}
		t.at = end
	}
}

// factor returns the Multiplier times the boost of step i; -1: before the first.
func (r *Rule) factor(i int) uint64 {
	if i < 0 {
		return r.Multiplier
	}
	m, _ := timesMillionths(r.Multiplier, r.Boosts[i].Factor)
	return m
}

// stepAt returns the boost step that counts at an age, or -1 before the first. It also
// returns the age at which the next step begins, or forever if there is none.
func (r *Rule) stepAt(age int64) (step int, next int64) {
	step = -1
	for step+1 < len(r.Boosts) && r.Boosts[step+1].After <= age {
		step++
	}
	if step+1 < len(r.Boosts) {
		return step, r.Boosts[step+1].After
	}
	return step, forever
}

// boostsHolds reports whether boosts are by hold (S8.8).
func (r *Rule) boostsHolds() bool { return r.BoostBy == ByHold && len(r.Boosts) > 0 }

// levelScore returns the score of a level over [a, b) in a run that began at start. If
// boosts are by hold, the level already includes the factors.
func (r *Rule) levelScore(level *Rate, start, a, b int64) Score {
	if r.boostsHolds() {
		return level.Times(uint64(b - a))
	}
	var total Score
	for a < b {
		step, next := r.stepAt(a - start)
		end := min(b, later(start, next))
		total = total.Add(level.Times(r.factor(step)).times(uint64(end - a)))
		a = end
	}
	return total
}

// piece is a part of a hold with one rate. The rate is the weight, times the factor if
// boosts are by hold.
type piece struct {
	hold       interval.Span // the whole hold
	step       int           // of the boost; -1: before the first
	start, end int64
	rate       Rate
	index      int64 // of the hold; orders pieces of equal rate
}

// firstPiece returns the first piece of a hold over [start, end).
func (r *Rule) firstPiece(start, end int64, w *interval.Weight) piece {
	c := piece{hold: interval.Span{Start: start, End: end, Weight: *w}, step: -1, start: start}
	if !r.boostsHolds() {
		c.end = end
		copy(c.rate[:], w[:])
		return c
	}
	if r.Boosts[0].After == 0 {
		c.step = 0
	}
	r.cutPiece(&c)
	return c
}

// nextPiece returns the piece after c, or false if c is the last.
func (r *Rule) nextPiece(c *piece) (piece, bool) {
	if c.end == c.hold.End {
		return piece{}, false
	}
	next := *c
	next.step, next.start = c.step+1, c.end
	r.cutPiece(&next)
	return next, true
}

// cutPiece sets the end and the rate of a piece from its step and start.
func (r *Rule) cutPiece(c *piece) {
	c.end = c.hold.End
	if c.step+1 < len(r.Boosts) {
		c.end = min(c.end, later(c.hold.Start, r.Boosts[c.step+1].After))
	}
	limbs.Mul(c.rate[:], c.hold.Weight[:], r.factor(c.step))
}

// The orders of pieces in heaps.
func endsFirst(a, b piece) bool   { return a.end < b.end }
func startsFirst(a, b piece) bool { return a.start < b.start }
func weighsMore(a, b piece) bool {
	if c := limbs.Cmp(a.rate[:], b.rate[:]); c != 0 {
		return c > 0
	}
	return a.index < b.index
}
