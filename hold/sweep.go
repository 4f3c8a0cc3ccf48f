package hold

import "slices"

// span is an effective hold, or as much of it as a sweep looks at.
type span struct {
	start, end int64
	weight     Weight
}

// overlapping appends the holds of the family that cover any of [a, b) and end
// at maxEnd or before, clipped to [a, b), by start. Those that cover all of it
// are one span together, the first. It stops once there are more than most.
func (n *node) overlapping(dst []span, f family, a, b, maxEnd int64, policy Policy, most int) []span {
	if n.lastEnd[f] <= a || len(dst) > most {
		return dst
	}
	if f == allHolds && n.lastStart <= a && n.lastEnd[endedHolds] <= a && maxEnd == forever {
		return overAll(dst, a, b, &n.tail, policy) // open holds, all of them
	}
	n.here()
	for _, kid := range n.kids {
		if kid != n.kids[0] && kid.first.at >= b {
			return dst
		}
		dst = kid.overlapping(dst, f, a, b, maxEnd, policy, most)
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.at >= b {
			return dst
		}
		end, counts := e.within(f)
		if !counts || end <= a || end > maxEnd {
			continue
		}
		if e.at <= a && end >= b {
			dst = overAll(dst, a, b, &e.weight, policy)
			continue
		}
		dst = append(dst, span{start: max(e.at, a), end: min(end, b), weight: e.weight})
	}
	return dst
}

// overAll takes a level over all of [a, b) into the first span.
func overAll(dst []span, a, b int64, level *Weight, policy Policy) []span {
	switch {
	case len(dst) == 0 || dst[0].start != a || dst[0].end != b:
		return slices.Insert(dst, 0, span{start: a, end: b, weight: *level})
	case policy == Sum:
		add(dst[0].weight[:], level[:])
	case dst[0].weight.Cmp(*level) < 0:
		dst[0].weight = *level
	}
	return dst
}

// sweeping is a heap of the spans that cover the instant a sweep is at: under
// merge the largest weight on top, under sum the earliest end. It is written out
// because container/heap would box every span.
type sweeping struct {
	spans  []span
	policy Policy
}

func (h *sweeping) less(i, j int) bool {
	if h.policy == Merge {
		if c := h.spans[i].weight.Cmp(h.spans[j].weight); c != 0 {
			return c > 0
		}
		return h.spans[i].end > h.spans[j].end
	}
	return h.spans[i].end < h.spans[j].end
}

func (h *sweeping) push(s span) {
	h.spans = append(h.spans, s)
	for i := len(h.spans) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(i, up) {
			return
		}
		h.spans[i], h.spans[up] = h.spans[up], h.spans[i]
		i = up
	}
}

func (h *sweeping) pop() span {
	top, last := h.spans[0], len(h.spans)-1
	h.spans[0] = h.spans[last]
	h.spans = h.spans[:last]
	for i := 0; ; {
		down := 2*i + 1
		if down >= last {
			return top
		}
		if down+1 < last && h.less(down+1, down) {
			down++
		}
		if !h.less(down, i) {
			return top
		}
		h.spans[i], h.spans[down] = h.spans[down], h.spans[i]
		i = down
	}
}

// sweep goes over [a, b) in stretches of one level each: the largest weight, or
// the sum of the weights, of the spans that cover it. spans are ordered by start
// and lie within [a, b).
func sweep(policy Policy, spans []span, a, b int64, yield func(from, to int64, level Weight, covered bool)) {
	if len(spans) == 0 {
		if a < b {
			yield(a, b, Weight{}, false)
		}
		return
	}
	if len(spans) == 1 {
		s := &spans[0]
		if a < s.start {
			yield(a, s.start, Weight{}, false)
		}
		yield(s.start, s.end, s.weight, true)
		if s.end < b {
			yield(s.end, b, Weight{}, false)
		}
		return
	}
	var buf [8]span
	running := sweeping{spans: buf[:0], policy: policy}
	var level Weight
	for at := a; at < b; {
		for len(spans) > 0 && spans[0].start <= at {
			running.push(spans[0])
			add(level[:], spans[0].weight[:])
			spans = spans[1:]
		}
		for len(running.spans) > 0 && running.spans[0].end <= at {
			gone := running.pop()
			sub(level[:], gone.weight[:])
		}
		to := b
		if len(spans) > 0 {
			to = min(to, spans[0].start)
		}
		if len(running.spans) == 0 {
			yield(at, to, Weight{}, false)
			at = to
			continue
		}
		// What comes next ends the stretch: under merge only the largest one's own
		// end matters, since what ends below it changes nothing.
		to = min(to, running.spans[0].end)
		if policy == Merge {
			yield(at, to, running.spans[0].weight, true)
		} else {
			yield(at, to, level, true)
		}
		at = to
	}
}

// sweepMost is up to how many holds a sweep is quicker than a walk along the edge.
const sweepMost = 4 * leafMax

// integrate is the area of the family's holds over [a, b).
func (p *Pair) integrate(f family, a, b int64) area {
	total, few := p.sweepArea(f, a, b, forever, sweepMost)
	if few {
		return total
	}
	total = area{}
	enough := maxWeight
	if p.policy == Sum {
		p.root.weigh(f, a, b, &total)
		enough = Weight{} // only what is held is left to ask
	}
	p.edge(f, a, b, &enough, func(from, to int64, level Weight, covered bool) {
		if covered {
			total.addLevel(&level, uint64(to-from), false)
			total.held += uint64(to - from)
		}
	})
	return total
}

// weigh adds weight x time of every hold of the family over [a, b), whatever
// lies beside it.
func (n *node) weigh(f family, a, b int64, total *area) {
	if n.lastEnd[f] <= a {
		return
	}
	if f == allHolds && n.lastStart <= a && n.lastEnd[endedHolds] <= a {
		total.addLevel(&n.tail, uint64(b-a), false) // open holds, all of them
		return
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.at >= b {
			return
		}
		kid.weigh(f, a, b, total)
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.at >= b {
			return
		}
		if end, counts := e.within(f); counts && end > a {
			total.addLevel(&e.weight, uint64(min(end, b)-max(e.at, a)), false)
		}
	}
}

// sweepArea is the area over [a, b) of the family's holds that end at maxEnd or
// before, by looking at all of them. It gives up where they are more than most.
func (p *Pair) sweepArea(f family, a, b, maxEnd int64, most int) (total area, few bool) {
	var buf [8]span
	spans := p.root.overlapping(buf[:0], f, a, b, maxEnd, p.policy, most)
	if len(spans) > most {
		return area{}, false
	}
	sweep(p.policy, spans, a, b, func(from, to int64, level Weight, covered bool) {
		if covered {
			total.addLevel(&level, uint64(to-from), false)
			total.held += uint64(to - from)
		}
	})
	return total, true
}

// raise adds, or takes away, what a hold of weight w over [a, b) brings beside
// the family's other holds there. The hold itself must not cover [a, b) in the
// tree while it runs.
func (p *Pair) raise(f family, a, b int64, w *Weight, negative bool) {
	if a >= b {
		return
	}
	if p.root.lastEnd[f] <= a && p.root.leaf() {
		// Nothing else is there: holds that come in order end here.
		p.root.areas[f].raise(w, uint64(b-a), true, negative)
		return
	}
	if p.policy == Sum {
		p.root.spread(f, a, b, 0, MaxTime, w, false, negative)
		w = &Weight{} // what is held already adds no held time, whatever it weighs
	}
	p.edge(f, a, b, w, func(from, to int64, level Weight, covered bool) {
		if covered && level == *w {
			return
		}
		gain := *w
		sub(gain[:], level[:])
		p.root.spread(f, from, to, 0, MaxTime, &gain, !covered, negative)
	})
}

// spread adds a level over [a, b) to the areas of the nodes whose stretches of
// time it crosses, as far down as they are not within it. lo and hi bound the
// node's own.
func (n *node) spread(f family, a, b, lo, hi int64, level *Weight, held, negative bool) {
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
			n.over = &[2]area{}
		}
		n.over[f].raise(level, 1, held, negative)
		if *n.over == ([2]area{}) {
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
		if n.kids[mid].first.at <= t {
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
		from = n.kids[i].first.at
	}
	if i+1 < len(n.kids) {
		to = n.kids[i+1].first.at
	}
	return from, to
}

// before is the area of the family over all time before t.
func (p *Pair) before(f family, t int64) area {
	var total, above area // above: what the nodes above have over this stretch
	n, lo, hi := p.root, int64(0), MaxTime
	for !n.leaf() && t < hi {
		n.here()
		at := n.kidAt(t)
		for i := range at {
			total.add(&n.kids[i].areas[f])
		}
		if n.over != nil {
			above.add(&n.over[f])
		}
		from, to := n.stretch(at, lo, hi)
		total.addTimes(&above, uint64(from-lo))
		n, lo, hi = n.kids[at], from, to
	}
	if t >= hi {
		total.add(&n.areas[f])
		total.addTimes(&above, uint64(hi-lo))
		return total
	}
	rest := p.integrate(f, lo, t)
	total.add(&rest)
	return total
}
