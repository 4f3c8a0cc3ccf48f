package hold

import (
	"math/bits"
	"slices"
	"sync"

	"holdmetrics/hold/internal/interval"
)

// Chain is the sum of ended holds without hold_id that follow one another: each
// starts after the one before has started, and not before it has ended. It is
// what most histories are, and then a score is a plain sum, under either policy:
// nothing overlaps, so facts need not be kept to know what they come to.
//
// The zero Chain is empty. Chains of neighbouring parts of a history join into
// the chain of the whole, exactly, so parts may be summed anywhere. A Chain is not
// safe for concurrent use.
type Chain struct {
	first int64 // start of the first hold
	last  int64 // start of the last one
	end   int64 // its end
	len   int
	total interval.Area
}

// Extend appends as many of the events, which are all of the chain's pair, as
// continue it, and says how many: all of them, or those before the first that is
// no ended hold without hold_id, or that does not follow.
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

// Join appends the chain of the part that follows, or says false and changes
// nothing where that part does not follow. An empty chain always does.
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

// Len is how many holds the chain has.
func (c *Chain) Len() int { return c.len }

// Settled is the settled amount of the chain's holds, all of them.
func (c *Chain) Settled() Amount { return amountOf(&c.total) }

// Settled is the settled amount of a pair of which these events are all that is
// known, in any order: what [Pair.SettledAt] of [MaxTime] gives of their facts.
// Nothing of the pair is kept.
//
// The events are summed on so many cores, by goroutines that have ended when it
// returns. Where they are no chain but ended holds without hold_id all the same,
// it sorts them and sweeps over them once, on one core; any others are added to a
// pair one by one. The events must not change meanwhile.
func Settled(policy Policy, events []Event, cores int) Amount {
	if c, ok := chainOf(events, cores); ok {
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

// minPart is how many events are worth a goroutine.
const minPart = 1024

// chainOf is the chain of the events, if they are one.
func chainOf(events []Event, cores int) (Chain, bool) {
	n := max(1, min(cores, len(events)/minPart))
	var own Chain
	chains := make([]Chain, n-1)
	var working sync.WaitGroup
	for i := range chains {
		part := events[len(events)*(i+1)/n : len(events)*(i+2)/n]
		working.Go(func() {
			var c Chain
			c.Extend(part)
			chains[i] = c
		})
	}
	own.Extend(events[:len(events)/n])
	working.Wait()
	for i := range chains {
		if !own.Join(&chains[i]) {
			return Chain{}, false
		}
	}
	return own, own.len == len(events)
}

// spansOf are the holds that the events come to, by start, where all of them are
// ended ones without hold_id and of no start some give a weight and some none. A
// hold of no length counts for nothing and is left out.
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
