package hold

// What a hold adds to an area is found by walking along the upper edge of the
// others: at an instant, which hold is on top, and where does that end? Each step
// is a search that passes by what ended before, and what is too light. So the
// cost follows the steps of the edge, not the number of holds below it.

// edge goes along the upper edge of the family's holds over [a, b), in stretches
// of one level each; levels of enough and more count as enough.
func (p *Pair) edge(f family, a, b int64, enough *Weight, yield func(from, to int64, level Weight, covered bool)) {
	for at := a; at < b; {
		top := topHold{until: b, enough: *enough}
		top.search(p.root, f, at)
		to := b
		switch {
		case !top.found:
			to = min(b, p.root.nextStart(f, at, b, nil))
		case top.weight == *enough:
			to = min(b, top.end)
		default:
			to = min(b, top.end)
			to = min(to, p.root.nextStart(f, at, to, &top.weight))
		}
		yield(at, to, top.weight, top.found)
		at = to
	}
}

// topHold is the hold on top at an instant: the heaviest, and of equal ones the
// one that lasts longest. Weights of enough and more are the same to it.
type topHold struct {
	until  int64 // an end beyond it is as good
	enough Weight

	found  bool
	weight Weight
	end    int64
}

// best says whether nothing can be better.
func (t *topHold) best() bool { return t.found && t.end >= t.until && t.weight == t.enough }

// search looks below n: first where a hold of enough may last longest, then the
// latest starts first.
func (t *topHold) search(n *node, f family, at int64) {
	if n.lastEnd[f] <= at || t.best() {
		return
	}
	if t.found {
		if n.heaviest[f].Cmp(t.weight) < 0 || t.weight == t.enough && n.lastEnd[f] <= t.end {
			return
		}
	}
	n.here()
	first := -1
	for i, kid := range n.kids {
		if i > 0 && kid.first.at > at {
			break
		}
		if kid.heaviest[f].Cmp(t.enough) >= 0 && (first < 0 || kid.lastEnd[f] > n.kids[first].lastEnd[f]) {
			first = i
		}
	}
	if first >= 0 {
		t.search(n.kids[first], f, at)
	}
	for i := len(n.kids) - 1; i >= 0; i-- {
		if i != first && (i == 0 || n.kids[i].first.at <= at) {
			t.search(n.kids[i], f, at)
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.at > at {
			return
		}
		end, counts := e.within(f)
		if !counts || end <= at {
			continue
		}
		w := e.weight
		if w.Cmp(t.enough) > 0 {
			w = t.enough
		}
		if !t.found || w.Cmp(t.weight) > 0 || w == t.weight && end > t.end {
			t.found, t.weight, t.end = true, w, end
			if t.best() {
				return
			}
		}
	}
}

// within is the end of a hold as its family counts it, and whether it does.
func (e *entry) within(f family) (end int64, counts bool) {
	if !e.is(flagCovers) {
		return 0, false
	}
	end = e.effEnd()
	if end == 0 {
		return MaxTime, f == allHolds
	}
	return end, end > e.at
}

// nextStart is the first start in (t, until) of a hold of the family that is
// heavier than w, or of any where w is nil; forever where there is none.
func (n *node) nextStart(f family, t, until int64, w *Weight) int64 {
	if n.lastStart <= t || w != nil && n.heaviest[f].Cmp(*w) <= 0 {
		return forever
	}
	n.here()
	for i := range n.kids {
		if i+1 < len(n.kids) && n.kids[i+1].first.at <= t {
			continue
		}
		if i > 0 && n.kids[i].first.at >= until {
			return forever
		}
		if at := n.kids[i].nextStart(f, t, until, w); at != forever {
			return at
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.at <= t {
			continue
		}
		if e.at >= until {
			return forever
		}
		if _, counts := e.within(f); counts && (w == nil || e.weight.Cmp(*w) > 0) {
			return e.at
		}
	}
	return forever
}
