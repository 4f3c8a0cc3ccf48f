package hold

import (
	"math/bits"
	"slices"

	"holdmetrics/hold/internal/interval"
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
