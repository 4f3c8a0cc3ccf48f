package hold

import (
	"iter"
	"slices"
)

// Contribution is what one hold of a pair adds to the pair's live score in a
// window. Under merge an instant counts for the hold whose weight counts, boosted
// where holds are boosted alone; of equal ones, for the one that comes first in the
// order of [Pair.Holds]. So what the holds of a pair count adds up to the pair's
// score in the window, exactly.
type Contribution struct {
	Hold
	Alone   Amount // what the hold would count if there were no other
	Counted Amount // what it counts; its Held is how long it is the one that counts
}

// Removed is the score that other holds took away: 0 where they added some.
func (c *Contribution) Removed() Score { return c.Alone.Score.less(c.Counted.Score) }

// Added is the score that other holds added: 0 where they took some away. A hold
// counts for more than it would alone where others began its run earlier, so that
// it is boosted more, or made it long enough to count.
func (c *Contribution) Added() Score { return c.Counted.Score.less(c.Alone.Score) }

// less is s - t, but not below 0.
func (s Score) less(t Score) Score {
	if s.Cmp(t) <= 0 {
		return Score{}
	}
	return s.Sub(t)
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
// ended before the window.
func (r *Rule) Explain(p *Pair, from, to int64) []Contribution {
	if r.byRuns() {
		return r.explain(p.Holds(), from, to)
	}
	return r.explain(p.HoldsIn(from, to), from, to)
}

// explain takes the holds in the order of [Pair.Holds]: where it matters how long
// something lasts all of them, else those that reach into the window.
func (r *Rule) explain(holds iter.Seq[Hold], from, to int64) []Contribution {
	var out []Contribution
	run := explained{r: r, from: from, to: to}
	for h := range holds {
		if h.Start >= to {
			break
		}
		end := h.End
		if end == 0 || end > to {
			end = to
		}
		if end > h.Start {
			if h.Start > run.end {
				out = run.close(out)
				run.start = h.Start
			}
			run.end = max(run.end, end)
		}
		run.parts = append(run.parts, Contribution{Hold: h})
	}
	return run.close(out)
}

// explained is a run of holds that are looked at as of to. Holds of no length may
// stand in its list that are not in it.
type explained struct {
	r          *Rule
	from, to   int64
	start, end int64
	parts      []Contribution
}

// close counts the run's holds, appends those that are told to out, and begins anew.
func (e *explained) close(out []Contribution) []Contribution {
	a, b := e.counts(e.start, e.end)
	jumped := a < b && a < e.from
	for i := range e.parts {
		c := &e.parts[i]
		end := e.endOf(c)
		from, to := e.counts(c.Start, end)
		c.Alone = e.over(&c.Weight, c.Start, c.Start, max(c.Start, from), min(end, to))
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
			out = append(out, *c)
		}
	}
	e.parts = e.parts[:0]
	return out
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
	for c, more := e.r.firstPiece(hold, b, w), true; more; c, more = e.r.nextPiece(&c) {
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
		for c, more := e.r.firstPiece(start, end, &e.parts[i].Weight), true; more; c, more = e.r.nextPiece(&c) {
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
	running := pieces{before: weighsMore}
	for i := 1; i < len(cuts); i++ {
		at := cuts[i-1]
		for len(all) > 0 && all[0].start <= at {
			running.push(all[0])
			all = all[1:]
		}
		for len(running.list) > 0 && running.list[0].end <= at {
			running.pop()
		}
		if len(running.list) > 0 {
			top := &running.list[0]
			counted := &e.parts[top.index].Counted
			*counted = counted.Add(Amount{e.r.levelScore(&top.rate, e.start, at, cuts[i]), HeldOf(uint64(cuts[i] - at))})
		}
	}
}
