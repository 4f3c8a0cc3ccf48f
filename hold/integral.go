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
	last    int64     // start of the last hold
	reach   int64     // the latest end; forever: a hold is open
	sum     [4]uint64 // of what counts in both the live and the settled score; in units of an area
	covered [2]cover  // the time held, live and settled
	rare    *rareSums // nil: nothing of it
}

// rareSums are sums that most integrals do not have, or have only at the end.
type rareSums struct {
	level         [4]uint64 // at the instant of the question
	live, settled [4]uint64 // what counts in one of the scores alone
	from          [2]struct {
		sum [4]uint64
		cover
	} // at the beginning of a window: live and settled
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
	from, until := max(start, r.SeasonFrom), min(to, r.seasonTo())
	live, settled := min(until, q.At), from
	if to <= q.SettledAt {
		settled = until
	}
	i.covered[0].add(from, live)
	i.covered[1].add(from, settled)
	if live == settled && !q.Window && to <= q.At {
		return addProduct(&i.sum, from, live, w) // as most do
	}
	rare := i.makeRare()
	if start <= q.At && q.At < to {
		limbs.Add(rare.level[:], w[:]) // under Merge there is no other
	}
	fits := addProduct(&rare.live, from, live, w)
	fits = addProduct(&rare.settled, from, settled, w) && fits
	if !q.Window {
		return fits
	}
	live, settled = min(until, q.From), from
	if to <= q.From {
		settled = until
	}
	for j, end := range [2]int64{live, settled} {
		rare.from[j].add(from, end)
		fits = addProduct(&rare.from[j].sum, from, end, w) && fits
	}
	return fits
}

func (i *Integral) makeRare() *rareSums {
	if i.rare == nil {
		i.rare = new(rareSums)
	}
	return i.rare
}

// Empty reports whether no hold was added.
func (i *Integral) Empty() bool { return i.last == 0 }

// Answer returns the figures by the rule. It equals [Rule.Answer] of the pair of the
// facts.
func (i *Integral) Answer(q *Question, r *Rule) Answer {
	rare := i.rare
	if rare == nil {
		rare = new(rareSums)
	}
	a := Answer{
		Live:    r.scale(i.covered[0].amount(&i.sum, &rare.live)),
		Settled: r.scale(i.covered[1].amount(&i.sum, &rare.settled)),
	}
	if q.Window {
		var none [4]uint64
		a.LiveFrom = r.scale(rare.from[0].amount(&rare.from[0].sum, &none))
		a.Before = r.scale(rare.from[1].amount(&rare.from[1].sum, &none))
		return a
	}
	limbs.Mul(a.Weight[:], rare.level[:], MultiplierOne)
	if q.At >= r.SeasonFrom && q.At < r.seasonTo() {
		a.Rate = Rate(Score(a.Weight).scaled(r.Multiplier))
	}
	return a
}

// cover is the length of a union of intervals that come by start.
type cover struct {
	held  uint64
	reach int64
}

func (c *cover) add(start, end int64) {
	if start = max(start, c.reach); start < end {
		c.held += uint64(end - start)
		c.reach = end
	}
}

// amount returns the amount of two sums with the time held.
func (c *cover) amount(a, b *[4]uint64) Amount {
	area := interval.Area{Held: c.held}
	copy(area.Sum[:], a[:])
	var more [6]uint64
	copy(more[:], b[:])
	limbs.Add(area.Sum[:], more[:])
	return amountOf(&area)
}

// addProduct adds a weight over [start, end) to a sum, and reports whether that fits.
func addProduct(sum *[4]uint64, start, end int64, w *Weight) bool {
	if start >= end {
		return true
	}
	ns := uint64(end - start)
	hi0, lo0 := bits.Mul64(w[0], ns)
	var carry uint64
	if w[1]|w[2]|w[3] == 0 {
		sum[0], carry = bits.Add64(sum[0], lo0, 0)
		sum[1], carry = bits.Add64(sum[1], hi0, carry)
		sum[2], carry = bits.Add64(sum[2], 0, carry)
		sum[3], carry = bits.Add64(sum[3], 0, carry)
		return carry == 0
	}
	hi1, lo1 := bits.Mul64(w[1], ns)
	hi2, lo2 := bits.Mul64(w[2], ns)
	hi3, lo3 := bits.Mul64(w[3], ns)
	lo1, carry = bits.Add64(lo1, hi0, 0)
	lo2, carry = bits.Add64(lo2, hi1, carry)
	lo3, carry = bits.Add64(lo3, hi2, carry)
	over := hi3 + carry
	sum[0], carry = bits.Add64(sum[0], lo0, 0)
	sum[1], carry = bits.Add64(sum[1], lo1, carry)
	sum[2], carry = bits.Add64(sum[2], lo2, carry)
	sum[3], carry = bits.Add64(sum[3], lo3, carry)
	return over == 0 && carry == 0
}
