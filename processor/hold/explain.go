package hold

import (
	"container/heap"
	"iter"
	"slices"
)

// Contribution is what one hold of a pair adds to the pair's live score in a
// window. Under merge an instant counts for the heaviest hold that covers it; of
// equal ones, for the one that comes first in the order of [Pair.Holds]. So what
// the holds of a pair count adds up to the pair's score in the window, exactly.
type Contribution struct {
	Hold
	Alone   Amount // what the hold would count if there were no other
	Counted Amount // what it counts; its Held is how long it is the one that counts
}

// Removed is the score that overlap took away.
func (c *Contribution) Removed() Score { return c.Alone.Score.Sub(c.Counted.Score) }

// Explain says what each of the holds of a pair contributes to the window
// [from, to), in their order, which must be that of [Pair.Holds]. Holds that do
// not reach into the window are left out. It takes O(n log n) for n holds.
//
// Under sum every hold counts whole, so the counted held times of overlapping
// holds add up to more than the pair's.
func Explain(policy Policy, holds iter.Seq[Hold], from, to int64) []Contribution {
	var parts []Contribution
	for h := range holds {
		if h.Start >= to {
			break
		}
		end := h.End
		if end == 0 || end > to {
			end = to
		}
		start := max(h.Start, from)
		if end < start || end == start && (h.Start < from || h.End != h.Start) {
			continue
		}
		c := Contribution{Hold: h, Alone: levelAmount(h.Weight, end-start)}
		if policy == Sum {
			c.Counted = c.Alone
		}
		parts = append(parts, c)
	}
	if policy == Merge {
		countHeaviest(parts, from, to)
	}
	return parts
}

// levelAmount is a weight over ns nanoseconds.
func levelAmount(w Weight, ns int64) Amount {
	var a area
	a.addLevel(&w, uint64(ns), false)
	a.held = uint64(ns)
	return a.amount()
}

// countHeaviest goes over the window from one start or end to the next, with the
// holds that cover the stretch in a heap, the one that counts on top. A hold that
// has ended is only taken out when it comes to the top.
func countHeaviest(parts []Contribution, from, to int64) {
	span := func(i int) (start, end int64) {
		start, end = max(parts[i].Start, from), parts[i].End
		if end == 0 || end > to {
			end = to
		}
		return start, end
	}
	cuts := make([]int64, 0, 2*len(parts))
	for i := range parts {
		start, end := span(i)
		cuts = append(cuts, start, end)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	running := heaviest{parts: parts}
	next := 0
	for i := 1; i < len(cuts); i++ {
		at := cuts[i-1]
		for ; next < len(parts); next++ {
			if start, _ := span(next); start > at {
				break
			}
			heap.Push(&running, next)
		}
		for len(running.order) > 0 {
			if _, end := span(running.order[0]); end > at {
				break
			}
			heap.Pop(&running)
		}
		if len(running.order) > 0 {
			top := &parts[running.order[0]]
			top.Counted = top.Counted.Add(levelAmount(top.Weight, cuts[i]-at))
		}
	}
}

// heaviest is a heap of indices of parts.
type heaviest struct {
	parts []Contribution
	order []int
}

func (h *heaviest) Len() int { return len(h.order) }
func (h *heaviest) Less(i, j int) bool {
	a, b := h.order[i], h.order[j]
	if c := h.parts[a].Weight.Cmp(h.parts[b].Weight); c != 0 {
		return c > 0
	}
	return a < b
}
func (h *heaviest) Swap(i, j int) { h.order[i], h.order[j] = h.order[j], h.order[i] }
func (h *heaviest) Push(x any)    { h.order = append(h.order, x.(int)) }
func (h *heaviest) Pop() any {
	last := h.order[len(h.order)-1]
	h.order = h.order[:len(h.order)-1]
	return last
}
