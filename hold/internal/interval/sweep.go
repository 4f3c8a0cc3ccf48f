package interval

import (
	"slices"

	"holdmetrics/hold/internal/heap"
	"holdmetrics/hold/internal/limbs"
)

// Span is an effective hold, or the part of one that a sweep looks at.
type Span struct {
	Start, End int64
	Weight     Weight
}

// AreaOf returns the area under the policy's curve over the spans, which are
// ordered by start.
func AreaOf(policy Policy, spans []Span) (total Area) {
	if len(spans) == 0 {
		return total
	}
	reach := spans[0].End
	for i := range spans {
		reach = max(reach, spans[i].End)
	}
	return areaIn(policy, spans, spans[0].Start, reach)
}

// areaIn is AreaOf for spans within [a, b).
func areaIn(policy Policy, spans []Span, a, b int64) (total Area) {
	sweep(policy, spans, a, b, func(from, to int64, level Weight, covered bool) {
		if covered {
			total.Hold(&level, uint64(to-from))
		}
	})
	return total
}

// Two orders of the spans that cover an instant: under merge the one that counts is
// on top, under sum the one that ends first.
func heavier(a, b Span) bool {
	if c := a.Weight.Cmp(&b.Weight); c != 0 {
		return c > 0
	}
	return a.End > b.End
}

func endsFirst(a, b Span) bool { return a.End < b.End }

// overlapping appends the holds of the family that cover any of [a, b) and end
// at maxEnd or before, clipped to [a, b), by start. Those that cover all of it
// are one span together, the first. It stops once there are more than most.
func (n *node) overlapping(dst []Span, f Family, a, b, maxEnd int64, policy Policy, most int) []Span {
	if n.lastEnd[f] <= a || len(dst) > most {
		return dst
	}
	if f == AllHolds && n.lastStart <= a && n.lastEnd[EndedHolds] <= a && maxEnd == Forever {
		return overAll(dst, a, b, &n.tail, policy) // open holds, all of them
	}
	n.here()
	for _, kid := range n.kids {
		if kid != n.kids[0] && kid.first.At >= b {
			return dst
		}
		dst = kid.overlapping(dst, f, a, b, maxEnd, policy, most)
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.At >= b {
			return dst
		}
		end, counts := e.within(f)
		if !counts || end <= a || end > maxEnd {
			continue
		}
		if e.At <= a && end >= b {
			dst = overAll(dst, a, b, &e.Weight, policy)
			continue
		}
		dst = append(dst, Span{Start: max(e.At, a), End: min(end, b), Weight: e.Weight})
	}
	return dst
}

// overAll adds a level over all of [a, b) to the first span.
func overAll(dst []Span, a, b int64, level *Weight, policy Policy) []Span {
	switch {
	case len(dst) == 0 || dst[0].Start != a || dst[0].End != b:
		return slices.Insert(dst, 0, Span{Start: a, End: b, Weight: *level})
	case policy == Sum:
		limbs.Add(dst[0].Weight[:], level[:])
	case dst[0].Weight.Cmp(level) < 0:
		dst[0].Weight = *level
	}
	return dst
}

// sweep goes over [a, b) in stretches of one level each: the largest weight, or
// the sum of the weights, of the spans that cover it. spans are ordered by start
// and lie within [a, b).
func sweep(policy Policy, spans []Span, a, b int64, yield func(from, to int64, level Weight, covered bool)) {
	if len(spans) == 0 {
		if a < b {
			yield(a, b, Weight{}, false)
		}
		return
	}
	if len(spans) == 1 {
		s := &spans[0]
		if a < s.Start {
			yield(a, s.Start, Weight{}, false)
		}
		yield(s.Start, s.End, s.Weight, true)
		if s.End < b {
			yield(s.End, b, Weight{}, false)
		}
		return
	}
	var buf [8]Span
	running := heap.Heap[Span]{Items: buf[:0], Before: heavier}
	if policy == Sum {
		running.Before = endsFirst
	}
	var level Weight
	for at := a; at < b; {
		for len(spans) > 0 && spans[0].Start <= at {
			running.Push(spans[0])
			limbs.Add(level[:], spans[0].Weight[:])
			spans = spans[1:]
		}
		for running.Len() > 0 && running.Top().End <= at {
			gone := running.Pop()
			limbs.Sub(level[:], gone.Weight[:])
		}
		to := b
		if len(spans) > 0 {
			to = min(to, spans[0].Start)
		}
		if running.Len() == 0 {
			yield(at, to, Weight{}, false)
			at = to
			continue
		}
		// The next event ends the stretch. Under merge only the largest one's own
		// end matters, since what ends below it changes nothing.
		to = min(to, running.Top().End)
		if policy == Merge {
			yield(at, to, running.Top().Weight, true)
		} else {
			yield(at, to, level, true)
		}
		at = to
	}
}
