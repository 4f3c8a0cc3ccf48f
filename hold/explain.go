package hold

import (
	"iter"
	"slices"

	"holdmetrics/hold/internal/heap"
	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// Contribution is what one hold of a pair adds to the pair's live score in a
// window. Under merge an instant counts for the hold whose weight counts, boosted
// where holds are boosted alone; of equal ones, for the one that comes first in the
// order of [Pair.Holds]. So what the holds of a pair count adds up to the pair's
// score in the window, exactly.
//
// From what the hold weighs to what it counts it is, exactly,
//
//	Plain - Cut() + Multiplied() + Boosted() = Alone
//	Alone - Removed() + Added() = Counted
type Contribution struct {
	Hold
	Plain   Amount // its weight times how long it covers the window, whatever the rule
	Alone   Amount // what the hold would count, by the rule, if there were no other
	Counted Amount // what it counts; its Held is how long it is the one that counts
	// Settled is what it counts in the pair's settled score as of the end of a window
	// that begins with the epoch; in others it is not told.
	Settled Amount

	weighed, scaled Score // weight x Alone.Held, and that times the multiplier
}

// Cut is the score that a season, or a shortest run, takes away from what the hold
// weighs. It is negative where a run became long enough in the window, so that what
// lies before the window counts in it.
func (c *Contribution) Cut() Change { return changeOf(c.weighed, c.Plain.Score) }

// Multiplied is what the multiplier adds; below 1 it is negative.
func (c *Contribution) Multiplied() Change { return changeOf(c.weighed, c.scaled) }

// Boosted is what boosts add to the hold alone; a factor below 1 makes it negative.
func (c *Contribution) Boosted() Change { return changeOf(c.scaled, c.Alone.Score) }

// Removed is the score that other holds took away: 0 where they added some.
func (c *Contribution) Removed() Score { return c.Alone.Score.less(c.Counted.Score) }

// Added is the score that other holds added: 0 where they took some away. A hold
// counts for more than it would alone where others began its run earlier, so that
// it is boosted more, or made it long enough to count.
func (c *Contribution) Added() Score { return c.Counted.Score.less(c.Alone.Score) }

// ExplainSealed says what the holds of a pair that were sealed contribute, as one hold
// that has no start and no weight, and whose end is the last of theirs; false where
// nothing was sealed. What overlap removed among them is not known any more.
func (r *Rule) ExplainSealed(p *Pair) (Contribution, bool) {
	plain, counted := p.Sealed(), r.Sealed(p)
	return Contribution{
		Hold: Hold{End: plain.Last}, Plain: plain.Total, Alone: counted.Total, Counted: counted.Total, Settled: counted.Total,
		weighed: plain.Total.Score, scaled: counted.Total.Score,
	}, counted.Facts > 0
}

// Explain says what each of the holds of a pair contributes to the window
// [from, to), in their order, which must be that of [Pair.Holds]. Holds that do
// not reach into the window are left out. It takes O(n log n) for n holds.
//
// Under sum every hold counts whole, so the counted held times of overlapping
// holds add up to more than the pair's.
func Explain(policy Policy, holds iter.Seq[Hold], from, to int64) []Contribution {
	return PlainRule(policy).explain(holds, from, to)
}

// Explain says what each hold of a pair contributes to the window [from, to) by
// the rule, as the function [Explain] does. Where a run became long enough in the
// window, all of it counts there, and its holds are told though they may have
// ended before the window. As in every figure, the policy is the pair's.
func (r *Rule) Explain(p *Pair, from, to int64) []Contribution {
	if policy := p.Policy(); policy != r.Policy {
		own := *r
		own.Policy = policy
		r = &own
	}
	if r.byRuns() {
		return r.explain(p.Holds(), from, to)
	}
	return r.explain(p.HoldsIn(from, to), from, to)
}

// explain takes the holds in the order of [Pair.Holds]: where it matters how long
// something lasts all of them, else those that reach into the window.
func (r *Rule) explain(holds iter.Seq[Hold], from, to int64) []Contribution {
	live, settled := explained{r: r, from: from, to: to}, explained{r: r, from: from, to: to}
	for h := range holds {
		if h.Start >= to {
			break
		}
		live.add(h)
		if from == 0 && h.settledBy(to) {
			settled.add(h)
		}
	}
	live.close()
	settled.close()
	// From the epoch on every hold is told, so these are some of those, in their order.
	rest := settled.told
	for i := range live.told {
		if c := &live.told[i]; len(rest) > 0 && c.settledBy(to) {
			c.Settled, rest = rest[0].Counted, rest[1:]
		}
	}
	return live.told
}

// settledBy reports whether a hold is one that the settled score as of an instant has.
func (h *Hold) settledBy(at int64) bool { return h.End != 0 && h.End <= at }

// explained tells holds that are looked at as of to, run by run. Holds of no length
// may stand in the list of a run that are not in it.
type explained struct {
	r          *Rule
	from, to   int64
	start, end int64
	parts      []Contribution // of the run
	told       []Contribution // of those before it
}

// add takes the next hold, which starts before to.
func (e *explained) add(h Hold) {
	end := h.End
	if end == 0 || end > e.to {
		end = e.to
	}
	if end > h.Start {
		if h.Start > e.end {
			e.close()
			e.start = h.Start
		}
		e.end = max(e.end, end)
	}
	e.parts = append(e.parts, Contribution{Hold: h})
}

// close counts the run's holds, tells those that are to be told, and begins anew.
func (e *explained) close() {
	a, b := e.counts(e.start, e.end)
	jumped := a < b && a < e.from
	for i := range e.parts {
		c := &e.parts[i]
		end := e.endOf(c)
		from, to := e.counts(c.Start, end)
		from, to = max(c.Start, from), min(end, to)
		c.Alone = e.over(&c.Weight, c.Start, c.Start, from, to)
		c.weighed, c.scaled = c.Weight.over(MultiplierOne, from, to).Score, c.Weight.over(e.r.Multiplier, from, to).Score
		c.Plain = c.Weight.over(MultiplierOne, max(c.Start, e.from), end)
		if e.r.Policy == Sum {
			origin := e.start
			if e.r.boostsHolds() {
				origin = c.Start
			}
			c.Counted = e.over(&c.Weight, origin, c.Start, max(c.Start, a), min(end, b))
		}
	}
	if e.r.Policy == Merge {
		e.countHeaviest(a, b)
	}
	for i := range e.parts {
		c := &e.parts[i]
		end, start := e.endOf(c), max(c.Start, e.from)
		reaches := end > start || end == start && c.Start >= e.from && c.End == c.Start
		if reaches || jumped && end > c.Start {
			e.told = append(e.told, *c)
		}
	}
	e.parts = e.parts[:0]
}

// over is what a weight comes to over [a, b), times a multiplier.
func (w *Weight) over(multiplier uint64, a, b int64) Amount {
	if a >= b {
		return Amount{}
	}
	var rate Rate
	limbs.Mul(rate[:], w[:], multiplier)
	return Amount{rate.Times(uint64(b - a)), HeldOf(uint64(b - a))}
}

func (e *explained) endOf(c *Contribution) int64 {
	if c.End == 0 || c.End > e.to {
		return e.to
	}
	return c.End
}

// counts is the part of a run over [start, end), cut at the window's end, that the
// window has: what counts as of its end and did not as of its beginning.
func (e *explained) counts(start, end int64) (from, to int64) {
	from, to = start, end
	switch {
	case end-start < e.r.Shortest:
		return 0, 0
	case end < e.from:
		return 0, 0 // both have all of it
	case start < e.from && e.from-start >= e.r.Shortest:
		from = e.from
	}
	return max(from, e.r.SeasonFrom), min(to, e.r.seasonTo())
}

// over is what a weight comes to over [a, b), boosted by the age since origin, or
// where holds are boosted alone since hold.
func (e *explained) over(w *Weight, origin, hold, a, b int64) Amount {
	if a >= b {
		return Amount{}
	}
	if !e.r.boostsHolds() {
		var level Rate
		copy(level[:], w[:])
		return Amount{e.r.levelScore(&level, origin, a, b), HeldOf(uint64(b - a))}
	}
	var total Score
	for c, more := e.r.firstPiece(hold, b, (*interval.Weight)(w)), true; more; c, more = e.r.nextPiece(&c) {
		if from := max(a, c.start); from < c.end {
			total = total.Add(c.rate.Times(uint64(c.end - from)))
		}
	}
	return Amount{total, HeldOf(uint64(b - a))}
}

// countHeaviest goes over [a, b) from one start or end of a piece to the next, with
// the pieces that cover the stretch in a heap, the one that counts on top. A piece
// that has ended is only taken out when it comes to the top.
func (e *explained) countHeaviest(a, b int64) {
	if a >= b {
		return
	}
	var all []piece
	cuts := make([]int64, 0, 2*len(e.parts))
	for i := range e.parts {
		start, end := e.parts[i].Start, min(e.endOf(&e.parts[i]), b)
		if start >= end || end <= a {
			continue
		}
		for c, more := e.r.firstPiece(start, end, (*interval.Weight)(&e.parts[i].Weight)), true; more; c, more = e.r.nextPiece(&c) {
			if c.end <= a {
				continue
			}
			c.start, c.index = max(c.start, a), i
			all = append(all, c)
			cuts = append(cuts, c.start, c.end)
		}
	}
	slices.SortFunc(all, func(x, y piece) int { return int(min(max(x.start-y.start, -1), 1)) })
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	running := heap.Heap[piece]{Before: weighsMore}
	for i := 1; i < len(cuts); i++ {
		at := cuts[i-1]
		for len(all) > 0 && all[0].start <= at {
			running.Push(all[0])
			all = all[1:]
		}
		for running.Len() > 0 && running.Top().end <= at {
			running.Pop()
		}
		if running.Len() > 0 {
			top := running.Top()
			counted := &e.parts[top.index].Counted
			*counted = counted.Add(Amount{e.r.levelScore(&top.rate, e.start, at, cuts[i]), HeldOf(uint64(cuts[i] - at))})
		}
	}
}
