package interval

import "holdmetrics/hold/internal/coding"

// Tree is the timeline of a pair. The zero Tree is not ready; use [New] or
// [Tree.Open]. A Tree must not be copied.
type Tree struct {
	root    *node
	pager   *Pager // nil: one leaf, in memory
	size    int    // of entries and of nodes but the root, in bytes
	policy  Policy
	opening bool // the leaf may grow beyond leafMax; see Opening
}

// Init makes the tree one leaf of these entries, which are in the order of their
// keys and count as they stand. areas are those of all and of the ended holds.
func (tree *Tree) Init(policy Policy, entries []Entry, areas [2]Area) {
	tree.policy = policy
	tree.root = &node{leftmost: true, entries: entries, areas: areas}
	tree.root.summarize(policy)
	tree.size = len(entries) * entrySize
}

// Opening sets whether the tree keeps one leaf whatever its size. It is set while a
// tree is filled from a page that an earlier version stored.
func (tree *Tree) Opening(on bool) { tree.opening = on }

// Full reports whether the tree has more than a tree of one leaf may have.
func (tree *Tree) Full() bool { return tree.root.leaf() && len(tree.root.entries) > leafMax }

// LeafMax is how many entries a tree of one leaf has at most.
const LeafMax = leafMax

// Bytes returns about how much memory the tree takes, without the Tree itself.
func (tree *Tree) Bytes() int { return rootSize + tree.size }

// Find returns the entry of that key, or nil. It stays valid until the tree changes.
func (tree *Tree) Find(k *Key) *Entry { return tree.root.find(k) }

// Must returns the entry of that key, which must be there.
func (tree *Tree) Must(k *Key) *Entry {
	e := tree.root.find(k)
	if e == nil {
		fail(tree.pager, errNotThere)
	}
	return e
}

// VisitAt calls fn for the entries of the instant of k from k on, in order, until fn
// returns false.
func (tree *Tree) VisitAt(k *Key, fn func(*Entry) bool) { tree.root.visitAt(k, fn) }

// NextBreak returns the first start or end of a hold of a tree after t, or Forever.
func NextBreak(tree *Tree, t int64) int64 { return tree.root.nextBreak(t, Forever) }

// VisitIn calls fn for the holds that start before to and do not end before from, by
// start.
func (tree *Tree) VisitIn(from, to int64, fn func(*Entry)) { tree.root.visitIn(from, to, fn) }

// EndsBefore reports whether every entry is before t.
func (tree *Tree) EndsBefore(t int64) bool { return tree.root.endsBefore(t) }

// StartsBefore reports whether any entry is before t.
func (tree *Tree) StartsBefore(t int64) (found bool) {
	tree.root.visit(&Key{}, func(e *Entry) bool {
		found = e.At < t
		return false
	})
	return found
}

// TopLoose returns the latest-started loose hold (of equal starts the one of the
// largest weight) that started before t and has no end up to t, or nil (S4.5).
func (tree *Tree) TopLoose(t int64) *Entry { return tree.root.topLoose(t) }

// StopAfter returns the first active stop after the instant t that ends nothing, or
// that ends a hold which gives way to h; or nil (S4.5).
func (tree *Tree) StopAfter(h *Key, t int64) *Entry { return tree.root.stopAfter(h, &Key{At: t + 1}) }

// Flag sets flags of an entry that say which facts were sent. The entry must be
// there.
func (tree *Tree) Flag(k *Key, flags uint8) {
	tree.root.update(k, tree.policy, func(e *Entry) { e.Flags |= flags })
	tree.markLeaf(tree.root)
}

// Match sets which hold the stop at an instant ends; nil: none. The stop must be
// there.
func (tree *Tree) Match(at int64, h *Key) {
	tree.root.update(&Key{At: at, Kind: EntryStop}, tree.policy, func(e *Entry) {
		e.Flags &^= Matched | MatchedHasWeight
		e.Eff, e.Weight = 0, Weight{}
		if h != nil {
			e.Flags |= Matched
			if h.HasWeight {
				e.Flags |= MatchedHasWeight
			}
			e.Eff, e.Weight = h.At, h.Weight
		}
	})
}

// InsertHold inserts the entry of an ended hold, and counts it.
func (tree *Tree) InsertHold(e Entry) {
	e.Flags |= Covers
	tree.curve().cover(e.At, e.End, &e.Weight, false)
	tree.Insert(e)
}

// Insert inserts an entry that does not count yet. No entry may have its key.
func (tree *Tree) Insert(e Entry) {
	k := e.Key()
	leaf := tree.root.insert(e, &k, tree.policy)
	tree.size += entrySize
	if e.Kind <= EntryFact {
		tree.markLeaf(leaf)
	}
	if len(leaf.entries) <= leafMax || tree.opening {
		return
	}
	tree.Enlarge()
	tree.size += nodeSize
	if right := tree.split(tree.root, &k, 0, &[2]Area{}, true); right != nil {
		left := tree.root
		tree.size += nodeSize
		tree.root = &node{level: left.level + 1, leftmost: true, kids: []*node{left, right}, pager: tree.pager}
		tree.root.areas = tree.root.sumAreas(coding.MaxTime)
		tree.root.summarize(tree.policy)
		tree.root.changed()
	}
}

// markLeaf notes that a leaf has facts that are not stored.
func (tree *Tree) markLeaf(leaf *node) {
	if tree.pager != nil {
		leaf.changed() // or it was marked on the way down
		return
	}
	leaf.dirty = true
}

// Mark notes that the facts of a tree of one leaf, or the root of a paged tree, are
// not stored.
func (tree *Tree) Mark() { tree.markLeaf(tree.root) }

// FactsDirty reports whether a tree of one leaf has facts that are not stored.
func (tree *Tree) FactsDirty() bool { return tree.pager == nil && tree.root.dirty }

// FactsStored notes that the facts of a tree of one leaf are stored.
func (tree *Tree) FactsStored() {
	if tree.pager == nil {
		tree.root.dirty = false
	}
}

// Remove removes the entry of that key, which must be there and must not count.
func (tree *Tree) Remove(k *Key) {
	tree.root.remove(k, tree.policy)
	tree.size -= entrySize
}

// split halves the nodes that are too full on the way to k. lo is where the node's
// stretch of time begins, and above is what the nodes above it have over theirs. A
// full last leaf that was appended to keeps its entries and a new one begins, so
// holds that come in order fill their leaves.
func (tree *Tree) split(n *node, k *Key, lo int64, above *[2]Area, last bool) *node {
	n.here()
	if n.leaf() {
		if len(n.entries) <= leafMax {
			return nil
		}
		mid := len(n.entries) / 2
		if last && n.entries[len(n.entries)-1].CmpKey(k) == 0 {
			mid = len(n.entries) - 1
		}
		right := &node{first: n.entries[mid].Key(), pager: tree.pager}
		for f := range right.areas {
			// The earlier part is the one to look at: behind the last start there may
			// be any number of ends.
			left := tree.curve().integrate(Family(f), lo, right.first.At)
			left.subTimes(&above[f], uint64(right.first.At-lo))
			right.areas[f] = n.areas[f]
			right.areas[f].Sub(&left)
			n.areas[f] = left
		}
		right.entries = append(make([]Entry, 0, leafMax/2+leafMax/4), n.entries[mid:]...)
		n.entries = append(make([]Entry, 0, max(mid, leafMax/2+leafMax/4)), n.entries[:mid]...)
		n.summarize(tree.policy)
		right.summarize(tree.policy)
		n.changed()
		right.changed()
		return right
	}
	i := n.route(k)
	from := lo
	if i > 0 {
		from = n.kids[i].first.At
	}
	below := *above
	if n.over != nil {
		for f := range below {
			below[f].Add(&n.over[f])
		}
	}
	added := tree.split(n.kids[i], k, from, &below, last && i == len(n.kids)-1)
	if added == nil {
		return nil
	}
	n.changed()
	n.kids = append(n.kids, nil)
	copy(n.kids[i+2:], n.kids[i+1:])
	n.kids[i+1] = added
	if len(n.kids) <= kidsMax {
		return nil
	}
	mid := len(n.kids) / 2
	if last && i+2 == len(n.kids) {
		mid = len(n.kids) - 1
	}
	right := &node{first: n.kids[mid].first, level: n.level, kids: append([]*node(nil), n.kids[mid:]...), pager: tree.pager}
	n.kids = append([]*node(nil), n.kids[:mid]...)
	right.areas = n.areas
	if n.over != nil {
		over := *n.over
		right.over = &over
	}
	n.areas = n.sumAreas(right.first.At - lo)
	for f := range right.areas {
		right.areas[f].Sub(&n.areas[f])
	}
	n.summarize(tree.policy)
	right.summarize(tree.policy)
	right.changed()
	return right
}

// Count makes the entry of that key an effective hold, or none.
func (tree *Tree) Count(k *Key, on bool) {
	e := tree.Must(k)
	if e.Is(Covers) == on {
		return
	}
	at, end, w := e.At, e.EffectiveEnd(), e.Weight
	if on {
		tree.curve().cover(at, end, &w, false)
	}
	tree.root.update(k, tree.policy, func(e *Entry) {
		e.Flags ^= Covers
		if e.Is(Loose) {
			e.Flags &^= Loose
			e.Eff = 0
		}
	})
	if !on {
		tree.curve().cover(at, end, &w, true)
	}
}

// CountLoose makes the entry of that key an effective hold that the stop at eff
// ends (0: none does), and moves its end if it counted already. Areas that grow are
// raised before the tree shows the change, and areas that shrink after it.
func (tree *Tree) CountLoose(k *Key, eff int64) {
	e := tree.Must(k)
	at, was, w := e.At, e.Eff, e.Weight
	counted := e.Is(Covers)
	if counted && was == eff {
		return
	}
	change := func(e *Entry) {
		e.Flags |= Covers | Loose
		e.Eff = eff
	}
	if !counted {
		tree.curve().cover(at, eff, &w, false)
		tree.root.update(k, tree.policy, change)
		return
	}
	from, to := was, eff
	if from == 0 {
		from = coding.MaxTime
	}
	if to == 0 {
		to = coding.MaxTime
	}
	if from < to {
		tree.curve().raise(AllHolds, from, to, &w, false)
	}
	switch {
	case was == 0:
		tree.curve().raise(EndedHolds, at, eff, &w, false)
	case eff > was:
		tree.curve().raise(EndedHolds, was, eff, &w, false)
	}
	tree.root.update(k, tree.policy, change)
	if to < from {
		tree.curve().raise(AllHolds, to, from, &w, true)
	}
	switch {
	case eff == 0:
		tree.curve().raise(EndedHolds, at, was, &w, true)
	case eff < was:
		tree.curve().raise(EndedHolds, eff, was, &w, true)
	}
}

// Each calls fn for all entries in order, until fn returns false. It goes leaf by
// leaf, and the leaves that it reads leave memory again. It reports whether it came
// to the end.
func (tree *Tree) Each(fn func(*Entry) bool) bool {
	for from := (&Key{}); from != nil; {
		leaf, next, loaded := tree.leafAt(from)
		if leaf == nil {
			return false
		}
		for i := range leaf.entries {
			if !fn(&leaf.entries[i]) {
				return false
			}
		}
		leaf.leave(loaded)
		from = next
	}
	return true
}

// EachReaching is Each for the entries of the leaf that k belongs to and those behind
// it. It leaves out leaves all of whose holds end at lo or before.
func (tree *Tree) EachReaching(k Key, lo int64, fn func(*Entry) bool) bool {
	for from := &k; from != nil; {
		leaf, next, loaded := reachingAt(tree, from, lo)
		if leaf == nil {
			return tree.Err() == nil
		}
		for i := range leaf.entries {
			if !fn(&leaf.entries[i]) {
				leaf.leave(loaded)
				return false
			}
		}
		leaf.leave(loaded)
		from = next
	}
	return true
}

// leave takes a leaf that was read for a walk out of memory again.
func (n *node) leave(loaded bool) {
	if loaded && !n.dirty && !n.inFlight {
		n.pager.tree.size -= n.below()
		n.entries, n.absent = nil, true
	}
}

// reachingAt is leafAt for the first leaf from k on that has holds which end after lo.
// It returns no leaf, too, if there is none.
func reachingAt(tree *Tree, k *Key, lo int64) (leaf *node, next *Key, loaded bool) {
	defer tree.Guard()
	if tree.Err() != nil {
		return nil, nil, false
	}
	return tree.root.reachingAt(k, lo)
}

func (n *node) reachingAt(k *Key, lo int64) (leaf *node, next *Key, loaded bool) {
	if n.lastEnd[AllHolds] <= lo {
		return nil, nil, false
	}
	loaded = n.absent
	n.here()
	if n.leaf() {
		return n, nil, loaded
	}
	for i := n.route(k); i < len(n.kids); i++ {
		leaf, next, loaded = n.kids[i].reachingAt(k, lo)
		if leaf == nil {
			continue
		}
		if next == nil && i+1 < len(n.kids) {
			next = &n.kids[i+1].first
		}
		return leaf, next, loaded
	}
	return nil, nil, false
}

// leafAt returns the leaf that k belongs to, the first key of the next leaf (nil:
// there is none), and whether the leaf was read for that. It returns no leaf if the
// tree is lost.
func (tree *Tree) leafAt(k *Key) (leaf *node, next *Key, loaded bool) {
	defer tree.Guard()
	if tree.Err() != nil {
		return nil, nil, false
	}
	n := tree.root
	for n.here(); !n.leaf(); {
		i := n.route(k)
		if i+1 < len(n.kids) {
			next = &n.kids[i+1].first
		}
		n = n.kids[i]
		loaded = n.absent
		n.here()
	}
	return n, next, loaded
}
