package interval

import (
	"math"

	"holdmetrics/hold/internal/coding"
	"holdmetrics/hold/internal/limbs"
)

// curve is a tree as the curve under which areas are kept.
type curve struct {
	root   *node
	policy Policy
}

func (tree *Tree) curve() curve { return curve{tree.root, tree.policy} }

// cover makes the areas count a hold, or no longer count it. The entry of the hold
// must not count in the tree meanwhile.
func (c curve) cover(at, end int64, w *Weight, negative bool) {
	if end == 0 {
		c.raise(AllHolds, at, coding.MaxTime, w, negative)
		return
	}
	if c.root.lastEnd[AllHolds] != Forever && c.root.leaf() {
		// Without open holds both families are the same.
		c.raise(AllHolds, at, end, w, negative)
		c.root.areas[EndedHolds] = c.root.areas[AllHolds]
		return
	}
	c.raise(AllHolds, at, end, w, negative)
	c.raise(EndedHolds, at, end, w, negative)
}

// sweepMost is the number of holds up to which a sweep is quicker than a walk along
// the edge.
const sweepMost = 4 * leafMax

// integrate is the area of the family's holds over [a, b).
func (c curve) integrate(f Family, a, b int64) Area {
	total, few := c.sweepArea(f, a, b, Forever, sweepMost)
	if few {
		return total
	}
	total = Area{}
	enough := weightLimit
	if c.policy == Sum {
		c.root.weigh(f, a, b, &total)
		enough = Weight{} // only what is held is left to ask
	}
	c.root.edge(f, a, b, &enough, func(from, to int64, level Weight, covered bool) {
		if covered {
			total.Hold(&level, uint64(to-from))
		}
	})
	return total
}

// weigh adds weight x time of every hold of the family over [a, b), whatever
// lies beside it.
func (n *node) weigh(f Family, a, b int64, total *Area) {
	if n.lastEnd[f] <= a {
		return
	}
	if f == AllHolds && n.lastStart <= a && n.lastEnd[EndedHolds] <= a {
		total.AddLevel(&n.tail, uint64(b-a), false) // open holds, all of them
		return
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.At >= b {
			return
		}
		kid.weigh(f, a, b, total)
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.At >= b {
			return
		}
		if end, counts := e.within(f); counts && end > a {
			total.AddLevel(&e.Weight, uint64(min(end, b)-max(e.At, a)), false)
		}
	}
}

// sweepArea is the area over [a, b) of the family's holds that end at maxEnd or
// before, by looking at all of them. It gives up where they are more than most.
func (c curve) sweepArea(f Family, a, b, maxEnd int64, most int) (total Area, few bool) {
	var buf [8]Span
	spans := c.root.overlapping(buf[:0], f, a, b, maxEnd, c.policy, most)
	if len(spans) > most {
		return Area{}, false
	}
	return areaIn(c.policy, spans, a, b), true
}

// raise adds, or takes away, what a hold of weight w over [a, b) brings beside
// the family's other holds there. The hold itself must not cover [a, b) in the
// tree while it runs.
func (c curve) raise(f Family, a, b int64, w *Weight, negative bool) {
	if a >= b {
		return
	}
	if c.root.lastEnd[f] <= a && c.root.leaf() {
		// Nothing else is there: holds that come in order end here.
		c.root.areas[f].raise(w, uint64(b-a), true, negative)
		return
	}
	if c.policy == Sum {
		c.root.spread(f, a, b, 0, coding.MaxTime, w, false, negative)
		w = &Weight{} // what is held already adds no held time, whatever it weighs
	}
	c.root.edge(f, a, b, w, func(from, to int64, level Weight, covered bool) {
		if covered && level == *w {
			return
		}
		gain := *w
		limbs.Sub(gain[:], level[:])
		c.root.spread(f, from, to, 0, coding.MaxTime, &gain, !covered, negative)
	})
}

// spread adds a level over [a, b) to the areas of the nodes whose stretches of
// time it crosses, as far down as they are not within it. lo and hi bound the
// node's own.
func (n *node) spread(f Family, a, b, lo, hi int64, level *Weight, held, negative bool) {
	a, b = max(a, lo), min(b, hi)
	if a >= b {
		return
	}
	n.areas[f].raise(level, uint64(b-a), held, negative)
	if n.leaf() {
		return
	}
	if a == lo && b == hi {
		if n.over == nil {
			n.over = &[2]Area{}
		}
		n.over[f].raise(level, 1, held, negative)
		if *n.over == ([2]Area{}) {
			n.over = nil
		}
		return
	}
	n.here()
	n.changed()
	for i := n.kidAt(a); i < len(n.kids); i++ {
		from, to := n.stretch(i, lo, hi)
		if from >= b {
			return
		}
		n.kids[i].spread(f, a, b, from, to, level, held, negative)
	}
}

// kidAt is the first child whose stretch may reach past t.
func (n *node) kidAt(t int64) int {
	lo, hi := 0, len(n.kids)-1
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if n.kids[mid].first.At <= t {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

// stretch is the time that child i answers for, within its parent's.
func (n *node) stretch(i int, lo, hi int64) (from, to int64) {
	from, to = lo, hi
	if i > 0 {
		from = n.kids[i].first.At
	}
	if i+1 < len(n.kids) {
		to = n.kids[i+1].first.At
	}
	return from, to
}

// before returns the area of the family over all time before t.
func (c curve) before(f Family, t int64) Area {
	var total, above Area // above: what the nodes above have over this stretch
	n, lo, hi := c.root, int64(0), coding.MaxTime
	for !n.leaf() && t < hi {
		n.here()
		at := n.kidAt(t)
		for i := range at {
			total.Add(&n.kids[i].areas[f])
		}
		if n.over != nil {
			above.Add(&n.over[f])
		}
		from, to := n.stretch(at, lo, hi)
		total.addTimes(&above, uint64(from-lo))
		n, lo, hi = n.kids[at], from, to
	}
	if t >= hi {
		total.Add(&n.areas[f])
		total.addTimes(&above, uint64(hi-lo))
		return total
	}
	rest := c.integrate(f, lo, t)
	total.Add(&rest)
	return total
}

// beforeAny is before for any t.
func (c curve) beforeAny(f Family, t int64) Area {
	if t <= 0 {
		return Area{}
	}
	return c.before(f, min(t, coding.MaxTime))
}

// Settled returns the area over [from, to) of the holds that end at t or before,
// with t >= from (S1.7). It costs O(log n) and the holds that begin between the
// earliest one that reaches past t and t.
func (tree *Tree) Settled(t, from, to int64) Area {
	// Holds that reach past t do not count at all. So up to where the first of them
	// begins the curve is the kept one, and behind that it is another one.
	kept := int64(Forever)
	if tree.root.lastEnd[EndedHolds] > t {
		kept = min(t, tree.root.firstCrossing(EndedHolds, t))
	}
	total := tree.curve().beforeAny(EndedHolds, min(to, kept))
	if from > 0 {
		less := tree.curve().beforeAny(EndedHolds, min(from, kept))
		total.Sub(&less)
	}
	if a, b := max(from, kept), min(to, t); a < b {
		// The tree keeps nothing about holds that end by t, so all are looked at.
		rest, _ := tree.curve().sweepArea(EndedHolds, a, b, t, math.MaxInt)
		total.Add(&rest)
	}
	return total
}

// AllSettled returns the area of all ended holds.
func (tree *Tree) AllSettled() Area { return tree.root.areas[EndedHolds] }

// Live returns the area of all holds, cut at t.
func (tree *Tree) Live(t int64) Area {
	if t <= 0 {
		return Area{}
	}
	if !tree.quietAfter(t) && t < coding.MaxTime {
		return tree.curve().before(AllHolds, t)
	}
	// After the last start and end only open holds go on, at one level. The kept area
	// counts them up to MaxTime.
	total := tree.root.areas[AllHolds]
	open := tree.root.lastEnd[AllHolds] == Forever
	back := t < coding.MaxTime
	ns := uint64(t - coding.MaxTime)
	if back {
		ns = uint64(coding.MaxTime - t)
	}
	total.raise(&tree.root.tail, ns, open, back)
	return total
}

// quietAfter reports whether nothing starts or ends after t.
func (tree *Tree) quietAfter(t int64) bool {
	return tree.root.lastStart <= t && tree.root.lastEnd[EndedHolds] <= t
}

// Level returns what the live area gains in the nanosecond from the instant at on,
// and the next instant at which that may change, or Forever.
func (tree *Tree) Level(at int64) (level Area, until int64) {
	if tree.quietAfter(at) {
		copy(level.Sum[:], tree.root.tail[:])
		if tree.root.lastEnd[AllHolds] == Forever {
			level.Held = 1
		}
		return level, Forever
	}
	return tree.curve().integrate(AllHolds, at, at+1), tree.root.nextBreak(at, Forever)
}

// Reach returns the latest instant that a hold reaches, or Forever if one is open.
func (tree *Tree) Reach() int64 { return max(tree.root.lastEnd[AllHolds], tree.root.lastStart) }

// FirstCrossing returns the earliest start of a hold, ended or open, that starts
// before t and ends after it, or Forever.
func (tree *Tree) FirstCrossing(t int64) int64 { return tree.root.firstCrossing(AllHolds, t) }
