package hold

import (
	"iter"
	"slices"
)

// A walk over all of a large pair goes leaf by leaf, and leaves in memory what
// was there before.

// eachEntry gives all entries in order, until fn says false.
func (p *Pair) eachEntry(fn func(*entry) bool) (whole bool) {
	for from := (&key{}); from != nil; {
		leaf, next, brought := p.leafAt(from)
		if leaf == nil {
			return false
		}
		for i := range leaf.entries {
			if !fn(&leaf.entries[i]) {
				return false
			}
		}
		if brought && !leaf.dirty && !leaf.flying {
			p.size -= leaf.below()
			leaf.entries, leaf.absent = nil, true
		}
		from = next
	}
	return true
}

// leafAt is the leaf that k belongs to, the first key of the next one, and
// whether it was brought into memory for that. No leaf: the pair has failed.
func (p *Pair) leafAt(k *key) (leaf *node, next *key, brought bool) {
	defer p.guard()
	if p.failed() {
		return nil, nil, false
	}
	n := p.root
	for n.here(); !n.leaf(); {
		i := n.route(k)
		if i+1 < len(n.kids) {
			next = &n.kids[i+1].first
		}
		n = n.kids[i]
		brought = n.absent
		n.here()
	}
	return n, next, brought
}

// eachID gives what is kept of each hold_id, by id, until fn says false.
func (p *Pair) eachID(fn func(id string, g *identified) bool) {
	here := p.sortedIDs()
	if p.pager == nil || p.pager.pages == nil {
		for _, id := range here {
			if !fn(id, p.ids[id]) {
				return
			}
		}
		return
	}
	if p.failed() {
		return
	}
	// What is in memory is the newer.
	var failed error
	more := true
	upTo := func(id string, all bool) {
		for more && len(here) > 0 && (all || here[0] < id) {
			more = fn(here[0], p.ids[here[0]])
			here = here[1:]
		}
	}
	err := p.pager.pages.Scan([]byte{pageOfID}, func(page Page) bool {
		id := string(page.Key[1:])
		upTo(id, false)
		if !more {
			return false
		}
		if len(here) > 0 && here[0] == id {
			return true // its turn comes
		}
		var g *identified
		if g, failed = readID(id, page.Data); failed == nil {
			more = fn(id, g)
		}
		return more && failed == nil
	})
	if failed != nil {
		err = failed
	}
	if err != nil {
		p.pager.lose(err)
		return
	}
	upTo("", true)
}

// pagedFacts is Facts of a large pair.
func (p *Pair) pagedFacts(yield func(Fact) bool) {
	if p.eachEntry(func(e *entry) bool { return e.facts(yield) }) {
		p.eachID(func(id string, g *identified) bool { return g.eachFact(id, yield) })
	}
}

// pagedHolds is Holds of a large pair. It keeps the holds of hold_ids, which do
// not come in order, and those of one start.
func (p *Pair) pagedHolds(yield func(Hold) bool) {
	var named, same []Hold
	p.eachID(func(id string, g *identified) bool {
		if g.held {
			h := g.hold
			h.HoldID = id
			named = append(named, h)
		}
		return true
	})
	if p.failed() {
		return
	}
	byAll := func(a, b Hold) int { return orderHolds(&a, &b) }
	slices.SortFunc(named, byAll)
	flush := func() bool {
		slices.SortFunc(same, byAll)
		for _, h := range same {
			if !yield(h) {
				return false
			}
		}
		same = same[:0]
		return true
	}
	take := func(h Hold) bool {
		if len(same) > 0 && same[0].Start != h.Start && !flush() {
			return false
		}
		same = append(same, h)
		return true
	}
	before := func(start int64) bool {
		for len(named) > 0 && named[0].Start <= start {
			if !take(named[0]) {
				return false
			}
			named = named[1:]
		}
		return true
	}
	whole := p.eachEntry(func(e *entry) bool {
		if !e.is(flagCovers) || e.kind == entryID {
			return true
		}
		return before(e.at) && take(Hold{Start: e.at, End: e.effEnd(), Weight: e.weight})
	})
	if whole && before(forever) {
		flush()
	}
}

// HoldsIn gives the holds of [Pair.Holds], in the same order, but need not give
// those that start at to or later, nor those that start and end before from. Of a
// large pair only the part is read that may have others; of its hold_ids all.
func (p *Pair) HoldsIn(from, to int64) iter.Seq[Hold] {
	if !p.Large() {
		return p.Holds()
	}
	return func(yield func(Hold) bool) {
		for _, h := range p.gatherIn(from, to) {
			if !yield(h) {
				return
			}
		}
	}
}

func (p *Pair) gatherIn(from, to int64) (holds []Hold) {
	p.eachID(func(id string, g *identified) bool {
		if g.held {
			h := g.hold
			h.HoldID = id
			holds = append(holds, h)
		}
		return true
	})
	defer p.guard()
	if p.failed() {
		return nil
	}
	p.root.visitIn(from, to, func(e *entry) {
		if e.kind != entryID {
			holds = append(holds, Hold{Start: e.at, End: e.effEnd(), Weight: e.weight})
		}
	})
	slices.SortFunc(holds, func(a, b Hold) int { return orderHolds(&a, &b) })
	return holds
}

// visitIn calls fn for the holds below n that start before to and do not end
// before from.
func (n *node) visitIn(from, to int64, fn func(*entry)) {
	if n.lastStart < from && n.lastEnd[allHolds] < from {
		return
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.at >= to {
			return
		}
		kid.visitIn(from, to, fn)
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.at >= to {
			return
		}
		if e.is(flagCovers) && e.effEndOrForever() >= from {
			fn(e)
		}
	}
}

func orderHolds(a, b *Hold) int {
	if *a == *b {
		return 0
	}
	return a.cmp(b)
}
