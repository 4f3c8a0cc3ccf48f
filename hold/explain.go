package hold

import (
	"iter"
	"slices"

	"holdmetrics/hold/internal/heap"
	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// Contribution is the part of one hold in the live score of its pair in a window.
// Under merge, each instant counts for the hold with the largest weight, after boosts
// by hold. Among equal weights it counts for the first hold in the order of
// [Pair.Holds]. So the contributions of a pair add up to its score in the window
// exactly.
//
// These equations hold exactly:
//
//	Plain - Cut() + Multiplied() + Boosted() = Alone
//	Alone - Removed() + Added() = Counted
type Contribution struct {
	Hold
	Plain   Amount // weight times time covered in the window, without any rule
	Alone   Amount // what the hold would count by the rule if it were the only hold
	Counted Amount // what the hold counts; Held is the time during which it is the hold that counts
	// Settled is its part in the pair's settled score as of the end of the window. It
	// is set only if the window begins at the epoch.
	Settled Amount

	weighed, scaled Score // weight x Alone.Held, and that times the multiplier
}

// Cut returns the score that a season or a shortest run removes. It is negative if a
// run became long enough within the window, because the part of the run before the
// window then counts in the window (S8.9).
func (c *Contribution) Cut() Change { return changeOf(c.weighed, c.Plain.Score) }

// Multiplied returns what the multiplier adds. A multiplier below 1 makes it negative.
func (c *Contribution) Multiplied() Change { return changeOf(c.weighed, c.scaled) }

// Boosted returns what boosts add to the hold alone. A factor below 1 makes it negative.
func (c *Contribution) Boosted() Change { return changeOf(c.scaled, c.Alone.Score) }

// Removed returns the score that other holds removed, or 0 if they added to it.
func (c *Contribution) Removed() Score { return c.Alone.Score.less(c.Counted.Score) }

// Added returns the score that other holds added, or 0 if they removed some. A hold
// counts more than it would alone if other holds started its run earlier. The run
// then has a greater boost, or becomes long enough to count.
func (c *Contribution) Added() Score { return c.Counted.Score.less(c.Alone.Score) }

// ExplainSealed returns the contribution of the pair's sealed holds, as one hold without
// a start and a weight. Its end is the latest end of a sealed hold. It returns false if
// nothing was sealed. Overlap among sealed holds is no longer known.
func (r *Rule) ExplainSealed(p *Pair) (Contribution, bool) {
	plain, counted := p.Sealed(), r.Sealed(p)
	return Contribution{
		Hold: Hold{End: plain.Last}, Plain: plain.Total, Alone: counted.Total, Counted: counted.Total, Settled: counted.Total,
		weighed: plain.Total.Score, scaled: counted.Total.Score,
	}, counted.Facts > 0
}

// Explain returns the contribution of each hold of a pair to the window [from, to).
// The holds must be in the order of [Pair.Holds]. Holds outside the window are left
// out. It takes O(n log n) for n holds.
//
// Under sum, every hold counts fully. So the counted held times of overlapping holds
// add up to more than the held time of the pair.
func Explain(policy Policy, holds iter.Seq[Hold], from, to int64) []Contribution {
	return PlainRule(policy).explain(holds, from, to)
}

// Explain returns the contribution of each hold of a pair to the window [from, to) by
// the rule, like the function [Explain]. If a run became long enough within the window,
// the whole run counts there. Its holds are then included even if they ended before
// the window. The policy is that of the pair.
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

// explain takes the holds in the order of [Pair.Holds]. A rule that measures runs or
// ages needs all holds; other rules need only those that reach into the window.
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
	// If the window begins at the epoch, live has every hold, so settled is a subsequence.
	rest := settled.earlier
	for i := range live.earlier {
		if c := &live.earlier[i]; len(rest) > 0 && c.settledBy(to) {
			c.Settled, rest = rest[0].Counted, rest[1:]
		}
	}
	return live.earlier
}

// settledBy reports whether the settled score as of an instant includes the hold.
func (h *Hold) settledBy(at int64) bool { return h.End != 0 && h.End <= at }

// explained collects the contributions of holds as of to, run by run. The list of a run
// may include holds of length zero that are not part of the run.
type explained struct {
	r          *Rule
	from, to   int64
	start, end int64
	parts      []Contribution // of the current run
	earlier    []Contribution // of the earlier runs
}

// add adds the next hold, which must start before to.
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

// close counts the holds of the run, keeps those that belong in the answer, and resets
// the run.
func (e *explained) close() {
	a, b := e.r.counts(e.from, e.start, e.end)
	jumped := a < b && a < e.from
	for i := range e.parts {
		c := &e.parts[i]
		e.r.explainAlone(c, e.from, e.to)
		if e.r.Policy == Sum {
			c.Counted = e.r.summed(&c.Hold, e.start, a, b, e.to)
		}
	}
	if e.r.Policy == Merge {
		e.countHeaviest(a, b)
	}
	for i := range e.parts {
		if c := &e.parts[i]; c.explained(e.from, e.to, jumped) {
			e.earlier = append(e.earlier, *c)
		}
	}
	e.parts = e.parts[:0]
}

// over returns the amount of a weight over [a, b), times a multiplier.
func (w *Weight) over(multiplier uint64, a, b int64) Amount {
	if a >= b {
		return Amount{}
	}
	var rate Rate
	limbs.Mul(rate[:], w[:], multiplier)
	return Amount{rate.Times(uint64(b - a)), HeldOf(uint64(b - a))}
}

// explainAlone sets what a hold is in the window by itself.
func (r *Rule) explainAlone(c *Contribution, from, to int64) {
	end := c.endBy(to)
	a, b := r.counts(from, c.Start, end)
	a, b = max(c.Start, a), min(end, b)
	c.Alone = r.over(&c.Weight, c.Start, c.Start, a, b)
	c.weighed, c.scaled = c.Weight.over(MultiplierOne, a, b).Score, c.Weight.over(r.Multiplier, a, b).Score
	c.Plain = c.Weight.over(MultiplierOne, max(c.Start, from), end)
}

// summed returns what a hold counts under sum in a run that began at start, of which
// [a, b) counts.
func (r *Rule) summed(h *Hold, start, a, b, to int64) Amount {
	if r.boostsHolds() {
		start = h.Start
	}
	return r.over(&h.Weight, start, h.Start, max(h.Start, a), min(h.endBy(to), b))
}

// explained reports whether a hold has a row: it reaches into the window, or its run
// became long enough there.
func (h *Hold) explained(from, to int64, jumped bool) bool {
	end, start := h.endBy(to), max(h.Start, from)
	reaches := end > start || end == start && h.Start >= from && h.End == h.Start
	return reaches || jumped && end > h.Start
}

// endBy returns the end of a hold that is cut at to.
func (h *Hold) endBy(to int64) int64 {
	if h.End == 0 || h.End > to {
		return to
	}
	return h.End
}

// counts returns the part of a run over [start, end) that counts in a window that
// begins at from: what counts as of the window's end and did not count as of its
// beginning. The run is cut at the window's end.
func (r *Rule) counts(from, start, end int64) (a, b int64) {
	a, b = start, end
	switch {
	case end-start < r.Shortest:
		return 0, 0
	case end < from:
		return 0, 0 // both have all of it
	case start < from && from-start >= r.Shortest:
		a = from
	}
	return max(a, r.SeasonFrom), min(b, r.seasonTo())
}

// over returns the amount of a weight over [a, b). It is boosted by the age since
// origin, or since hold if boosts are by hold.
func (r *Rule) over(w *Weight, origin, hold, a, b int64) Amount {
	if a >= b {
		return Amount{}
	}
	if !r.boostsHolds() {
		var level Rate
		copy(level[:], w[:])
		return Amount{r.levelScore(&level, origin, a, b), HeldOf(uint64(b - a))}
	}
	var total Score
	for c, more := r.firstPiece(hold, b, (*interval.Weight)(w)), true; more; c, more = r.nextPiece(&c) {
		if from := max(a, c.start); from < c.end {
			total = total.Add(c.rate.Times(uint64(c.end - from)))
		}
	}
	return Amount{total, HeldOf(uint64(b - a))}
}

// countHeaviest sweeps [a, b) from one boundary of a piece to the next. A heap has the
// pieces that cover the current interval, with the one that counts on top. A piece
// that has ended is removed only when it comes to the top.
func (e *explained) countHeaviest(a, b int64) {
	if a >= b {
		return
	}
	var all []piece
	cuts := make([]int64, 0, 2*len(e.parts))
	for i := range e.parts {
		start, end := e.parts[i].Start, min(e.parts[i].endBy(e.to), b)
		if start >= end || end <= a {
			continue
		}
		for c, more := e.r.firstPiece(start, end, (*interval.Weight)(&e.parts[i].Weight)), true; more; c, more = e.r.nextPiece(&c) {
			if c.end <= a {
				continue
			}
			c.start, c.index = max(c.start, a), int64(i)
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
