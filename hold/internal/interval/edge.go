package interval

// The area that a hold adds is found by walking along the upper edge of the other
// holds: at an instant, which hold is on top, and where does it end? Each step is a
// search that skips holds which ended before or are too light. So the cost follows
// the steps of the edge, not the number of holds below it.

// edge goes along the upper edge of the family's holds over [a, b), in stretches
// of one level each; levels of enough and more count as enough.
func (n *node) edge(f Family, a, b int64, enough *Weight, yield func(from, to int64, level Weight, covered bool)) {
	for at := a; at < b; {
		top := topHold{until: b, enough: *enough}
		top.search(n, f, at)
		to := b
		switch {
		case !top.found:
			to = min(b, n.nextStart(f, at, b, nil))
		case top.weight == *enough:
			to = min(b, top.end)
		default:
			to = min(b, top.end)
			to = min(to, n.nextStart(f, at, to, &top.weight))
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

// best reports whether nothing can be better.
func (t *topHold) best() bool { return t.found && t.end >= t.until && t.weight == t.enough }

// search looks below n: first where a hold of enough may last longest, then the
// latest starts first.
func (t *topHold) search(n *node, f Family, at int64) {
	if n.lastEnd[f] <= at || t.best() {
		return
	}
	if t.found {
		if n.heaviest[f].Cmp(&t.weight) < 0 || t.weight == t.enough && n.lastEnd[f] <= t.end {
			return
		}
	}
	n.here()
	first := -1
	for i, kid := range n.kids {
		if i > 0 && kid.first.At > at {
			break
		}
		if kid.heaviest[f].Cmp(&t.enough) >= 0 && (first < 0 || kid.lastEnd[f] > n.kids[first].lastEnd[f]) {
			first = i
		}
	}
	if first >= 0 {
		t.search(n.kids[first], f, at)
	}
	for i := len(n.kids) - 1; i >= 0; i-- {
		if i != first && (i == 0 || n.kids[i].first.At <= at) {
			t.search(n.kids[i], f, at)
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.At > at {
			return
		}
		end, counts := e.within(f)
		if !counts || end <= at {
			continue
		}
		w := e.Weight
		if w.Cmp(&t.enough) > 0 {
			w = t.enough
		}
		if !t.found || w.Cmp(&t.weight) > 0 || w == t.weight && end > t.end {
			t.found, t.weight, t.end = true, w, end
			if t.best() {
				return
			}
		}
	}
}

// nextStart returns the first start in (t, until) of a hold of the family that is
// heavier than w, or of any if w is nil. If there is
// none it returns Forever.
func (n *node) nextStart(f Family, t, until int64, w *Weight) int64 {
	if n.lastStart <= t || w != nil && n.heaviest[f].Cmp(w) <= 0 {
		return Forever
	}
	n.here()
	for i := range n.kids {
		if i+1 < len(n.kids) && n.kids[i+1].first.At <= t {
			continue
		}
		if i > 0 && n.kids[i].first.At >= until {
			return Forever
		}
		if at := n.kids[i].nextStart(f, t, until, w); at != Forever {
			return at
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.At <= t {
			continue
		}
		if e.At >= until {
			return Forever
		}
		if _, counts := e.within(f); counts && (w == nil || e.Weight.Cmp(w) > 0) {
			return e.At
		}
	}
	return Forever
}
