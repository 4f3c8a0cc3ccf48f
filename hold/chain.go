package hold

import (
	"math/bits"
	"slices"

	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// Chain is the sum of consecutive ended holds without a hold_id: each starts after the
// start of the one before, and not before its end. Most histories are chains. Their
// holds do not overlap, so the score is a plain sum under either policy, and no facts
// need to be kept.
//
// The zero Chain is empty. The chains of consecutive parts of a history join exactly to
// the chain of the whole. A Chain is not safe for concurrent use.
type Chain struct {
	first int64 // start of the first hold
	last  int64 // start of the last one
	end   int64 // its end
	len   int
	total interval.Area
}

// Extend appends events of the chain's pair up to the first one that does not continue
// the chain, and returns how many it appended. An event continues the chain if it is an
// ended hold without a hold_id that follows the last hold.
func (c *Chain) Extend(events []Event) int {
	var sum [4]uint64 // of weights that fit two limbs; each product takes three
	var held uint64
	last, end := c.last, c.end
	n := 0
	for ; n < len(events); n++ {
		e := &events[n]
		if e.Start <= last || e.Start < end || e.End < e.Start || e.Retract || e.HoldID != "" {
			break
		}
		last, end = e.Start, e.End
		ns := uint64(end - last)
		held += ns
		w := &e.Weight
		if !e.HasWeight {
			w = &One
		}
		if w[2]|w[3] != 0 {
			c.total.AddLevel((*interval.Weight)(w), ns, false)
			continue
		}
		var carry uint64
		hi, lo := bits.Mul64(w[0], ns)
		sum[0], carry = bits.Add64(sum[0], lo, 0)
		sum[1], carry = bits.Add64(sum[1], hi, carry)
		sum[2], carry = bits.Add64(sum[2], 0, carry)
		sum[3] += carry
		if w[1] != 0 {
			hi, lo = bits.Mul64(w[1], ns)
			sum[1], carry = bits.Add64(sum[1], lo, 0)
			sum[2], carry = bits.Add64(sum[2], hi, carry)
			sum[3] += carry
		}
	}
	if n == 0 {
		return 0
	}
	c.total.Add(&interval.Area{Sum: [6]uint64{sum[0], sum[1], sum[2], sum[3]}, Held: held})
	if c.len == 0 {
		c.first = events[0].Start
	}
	c.last, c.end, c.len = last, end, c.len+n
	return n
}

// Join appends the chain of the next part. It returns false, and changes nothing, if
// that part does not follow this one. An empty chain always follows.
func (c *Chain) Join(next *Chain) bool {
	switch {
	case next.len == 0:
		return true
	case c.len == 0:
		*c = *next
		return true
	case next.first <= c.last || next.first < c.end:
		return false
	}
	c.total.Add(&next.total)
	c.last, c.end, c.len = next.last, next.end, c.len+next.len
	return true
}

// Settled returns the settled amount of all holds of the chain.
func (c *Chain) Settled() Amount { return amountOf(&c.total) }

// Each runs f(0) to f(n-1), in any order or at once, and returns when all have
// returned.
type Each func(n int, f func(i int))

// InOrder is the [Each] that runs one call after the other.
func InOrder(n int, f func(i int)) {
	for i := range n {
		f(i)
	}
}

// Settled returns the settled amount of the pair whose events these are, in any order.
// It equals [Pair.SettledAt] of [MaxTime] of their facts. Nothing of the pair is kept.
//
// A chain of events is summed in up to that many parts. each runs the parts, so the
// caller decides whether they run concurrently. Other ended holds without a hold_id are
// sorted and swept once. All other events are added to a pair one by one. The events
// must not change until Settled returns.
func Settled(policy Policy, events []Event, parts int, each Each) Amount {
	if c, ok := chainOf(events, parts, each); ok {
		return c.Settled()
	}
	if spans, ok := spansOf(events); ok {
		total := interval.AreaOf(interval.Policy(policy), spans)
		return amountOf(&total)
	}
	p := NewPair(policy)
	for i := range events {
		p.Add(events[i].Fact())
	}
	return p.SettledAt(MaxTime)
}

// minPart is the least number of events in a part: fewer are not worth a goroutine.
const minPart = 1024

// chainOf returns the chain of the events, or false if they are not a chain.
func chainOf(events []Event, parts int, each Each) (Chain, bool) {
	n := max(1, min(parts, len(events)/minPart))
	chains := make([]Chain, n)
	each(n, func(i int) {
		var c Chain // of its own, so that parts do not write to one cache line
		c.Extend(events[len(events)*i/n : len(events)*(i+1)/n])
		chains[i] = c
	})
	whole := chains[0]
	for i := range chains[1:] {
		if !whole.Join(&chains[i+1]) {
			return Chain{}, false
		}
	}
	return whole, whole.len == len(events)
}

// spansOf returns the holds of the events by start, or false if the events need more
// than that. All of them must be ended holds without a hold_id, and events of equal
// start must agree on whether they have a weight. Holds of length zero are left out.
func spansOf(events []Event) ([]interval.Span, bool) {
	type weighed struct {
		interval.Span
		has bool
	}
	all := make([]weighed, len(events))
	for i := range events {
		e := &events[i]
		if e.HoldID != "" || e.Retract || e.Start == 0 || e.End < e.Start {
			return nil, false
		}
		all[i] = weighed{interval.Span{Start: e.Start, End: e.End, Weight: interval.One}, e.HasWeight}
		if e.HasWeight {
			all[i].Weight = interval.Weight(e.Weight)
		}
	}
	slices.SortFunc(all, func(a, b weighed) int {
		if a.Start != b.Start {
			return cmpInt(a.Start, b.Start)
		}
		if a.End != b.End {
			return cmpInt(a.End, b.End)
		}
		return a.Weight.Cmp(&b.Weight)
	})
	spans := make([]interval.Span, 0, len(all))
	for i := range all {
		if i > 0 && all[i].Start == all[i-1].Start && all[i].has != all[i-1].has {
			return nil, false
		}
		if all[i].End == all[i].Start || i > 0 && all[i].Span == all[i-1].Span {
			continue // an equal fact is the same fact
		}
		spans = append(spans, all[i].Span)
	}
	return spans, len(spans) > 0
}

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
