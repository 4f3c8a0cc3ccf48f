package hold

import (
	"math/bits"

	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// Question is which figures of pairs are asked for. Times are in nanoseconds.
type Question struct {
	At        int64 // of the live amount and of the rates
	SettledAt int64 // of the settled amount; [MaxTime]: every ended hold
	From      int64 // with Window: the beginning of the window that ends at At
	Window    bool
}

// Answer is the figures of a pair, or of several as their sum.
type Answer struct {
	Live, Settled    Amount
	LiveFrom, Before Amount // of a window: the live and the settled amount at its beginning
	Weight, Rate     Rate   // without a window: by the policy alone, and by the whole rule
}

// Add is a + b.
func (a *Answer) Add(b *Answer) {
	a.Live, a.Settled = a.Live.Add(b.Live), a.Settled.Add(b.Settled)
	a.LiveFrom, a.Before = a.LiveFrom.Add(b.LiveFrom), a.Before.Add(b.Before)
	a.Weight, a.Rate = a.Weight.Add(b.Weight), a.Rate.Add(b.Rate)
}

// Answer returns the figures of a pair by the rule.
func (r *Rule) Answer(p *Pair, q *Question) Answer {
	if q.Window {
		return Answer{
			Live: r.LiveAt(p, q.At), Settled: r.SettledAt(p, q.SettledAt),
			LiveFrom: r.LiveAt(p, q.From), Before: r.SettledAt(p, q.From),
		}
	}
	f := r.Figures(p, q.At)
	a := Answer{Live: f.Line.Base, Settled: f.Settled, Rate: f.Line.Rate, Weight: f.Line.Rate}
	if q.SettledAt != MaxTime {
		a.Settled = r.SettledAt(p, q.SettledAt)
	}
	if !r.isPlain() {
		plain := Rule{Policy: p.Policy(), Multiplier: MultiplierOne}
		a.Weight = plain.Figures(p, q.At).Line.Rate
	}
	return a
}

// isPlain reports whether the rule counts weights as they are.
func (r *Rule) isPlain() bool { return r.Multiplier == MultiplierOne && !r.hasSeason() && !r.byRuns() }

// Integral is the answer to a question about one pair, worked out hold by hold. It keeps
// sums and no facts. It is for holds without a hold_id, each with a later start than the
// one before, so that no two facts can be equal or replace one another. Under [Merge] the
// holds must not overlap either.
//
// The zero Integral has no holds. It is not safe for concurrent use.
type Integral struct {
	last          int64 // start of the last hold
	reach         int64 // the latest end; forever: a hold is open
	level         [4]uint64
	live, settled closedArea
	window        *[2]closedArea // of the beginning of a window: live and settled
}

// Closed reports whether integrals can answer by the rule: it does not measure runs or
// ages.
func (r *Rule) Closed() bool { return !r.byRuns() }

// Add adds a hold; an end of 0 leaves it open. It returns false if the hold does not
// follow the others, or the sums do not fit. Then the integral is good for nothing, and
// the facts have to be added to a [Pair]. The question and the rule must be those of
// every other call. The rule must be one for which [Rule.Closed] is true.
func (i *Integral) Add(q *Question, r *Rule, start, end int64, w *Weight) bool {
	if start <= i.last || r.Policy != Sum && start < i.reach {
		return false
	}
	i.last = start
	to := end
	if end == 0 {
		to = forever
	}
	i.reach = max(i.reach, to)
	if start <= q.At && q.At < to {
		limbs.Add(i.level[:], w[:]) // under Merge there is no other
	}
	from, until := r.SeasonFrom, r.seasonTo()
	fits := i.live.add(max(start, from), min(to, q.At, until), w)
	if to <= q.SettledAt {
		fits = i.settled.add(max(start, from), min(to, until), w) && fits
	}
	if !q.Window {
		return fits
	}
	if i.window == nil {
		i.window = new([2]closedArea)
	}
	fits = i.window[0].add(max(start, from), min(to, q.From, until), w) && fits
	if to <= q.From {
		fits = i.window[1].add(max(start, from), min(to, until), w) && fits
	}
	return fits
}

// Empty reports whether no hold was added.
func (i *Integral) Empty() bool { return i.last == 0 }

// Answer returns the figures by the rule. It equals [Rule.Answer] of the pair of the
// facts.
func (i *Integral) Answer(q *Question, r *Rule) Answer {
	a := Answer{Live: r.scale(i.live.amount()), Settled: r.scale(i.settled.amount())}
	if q.Window {
		if i.window != nil {
			a.LiveFrom, a.Before = r.scale(i.window[0].amount()), r.scale(i.window[1].amount())
		}
		return a
	}
	limbs.Mul(a.Weight[:], i.level[:], MultiplierOne)
	if q.At >= r.SeasonFrom && q.At < r.seasonTo() {
		a.Rate = Rate(Score(a.Weight).scaled(r.Multiplier))
	}
	return a
}

// closedArea is an [interval.Area] in fewer bytes. The holds come by start.
type closedArea struct {
	sum   [4]uint64
	held  uint64
	reach int64
}

// add adds a hold over [start, end), and reports whether the sum fits.
func (c *closedArea) add(start, end int64, w *Weight) bool {
	if start >= end {
		return true
	}
	ns := uint64(end - start)
	if start >= c.reach {
		c.held += ns
		c.reach = end
	} else if end > c.reach {
		c.held += uint64(end - c.reach)
		c.reach = end
	}
	hi0, lo0 := bits.Mul64(w[0], ns)
	if w[1]|w[2]|w[3] == 0 {
		var carry uint64
		c.sum[0], carry = bits.Add64(c.sum[0], lo0, 0)
		c.sum[1], carry = bits.Add64(c.sum[1], hi0, carry)
		c.sum[2], carry = bits.Add64(c.sum[2], 0, carry)
		c.sum[3], carry = bits.Add64(c.sum[3], 0, carry)
		return carry == 0
	}
	hi1, lo1 := bits.Mul64(w[1], ns)
	hi2, lo2 := bits.Mul64(w[2], ns)
	hi3, lo3 := bits.Mul64(w[3], ns)
	var carry uint64
	lo1, carry = bits.Add64(lo1, hi0, 0)
	lo2, carry = bits.Add64(lo2, hi1, carry)
	lo3, carry = bits.Add64(lo3, hi2, carry)
	over := hi3 + carry
	c.sum[0], carry = bits.Add64(c.sum[0], lo0, 0)
	c.sum[1], carry = bits.Add64(c.sum[1], lo1, carry)
	c.sum[2], carry = bits.Add64(c.sum[2], lo2, carry)
	c.sum[3], carry = bits.Add64(c.sum[3], lo3, carry)
	return over == 0 && carry == 0
}

func (c *closedArea) amount() Amount {
	area := interval.Area{Held: c.held}
	copy(area.Sum[:], c.sum[:])
	return amountOf(&area)
}
