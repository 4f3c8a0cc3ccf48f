package hold

import (
	"math/bits"
	"unsafe"
)

const (
	leafMax = 64 // entries in a leaf before it is split
	kidsMax = 32 // children of an inner node before it is split

	// entrySize is what an entry takes, with the slack of its leaf.
	entrySize = int(unsafe.Sizeof(entry{})) * 5 / 4
	nodeSize  = int(unsafe.Sizeof(node{})) + 8
)

// area is a score before any multiplier, in units of 1e-18 weight x ns, and the
// nanoseconds held beside it.
type area struct {
	sum  [6]uint64
	held uint64
}

func (a *area) add(b *area) {
	add(a.sum[:], b.sum[:])
	a.held += b.held
}

func (a *area) sub(b *area) {
	sub(a.sum[:], b.sum[:])
	a.held -= b.held
}

// addLevel adds a weight of level over ns nanoseconds, or takes it away.
func (a *area) addLevel(level *Weight, ns uint64, negative bool) {
	var product [6]uint64
	var carry uint64
	for i := range level {
		hi, lo := bits.Mul64(level[i], ns)
		var c uint64
		product[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
	product[len(level)] = carry
	if negative {
		sub(a.sum[:], product[:])
	} else {
		add(a.sum[:], product[:])
	}
}

// raise is addLevel, with the time itself where that is held as well.
func (a *area) raise(level *Weight, ns uint64, held, negative bool) {
	a.addLevel(level, ns, negative)
	switch {
	case !held:
	case negative:
		a.held -= ns
	default:
		a.held += ns
	}
}

// addTimes adds what a level per ns comes to in ns nanoseconds. All is modulo
// the width of an area, so a level may have been taken away before it was added.
func (a *area) addTimes(level *area, ns uint64) {
	var product [6]uint64
	mul(product[:], level.sum[:], ns)
	add(a.sum[:], product[:])
	a.held += level.held * ns
}

func (a *area) subTimes(level *area, ns uint64) {
	var product area
	product.addTimes(level, ns)
	a.sub(&product)
}

// amount is the area as it is told: with a multiplier of 1.
func (a *area) amount() Amount {
	out := Amount{Held: HeldOf(a.held)}
	mul(out.Score[:], a.sum[:], 1e6)
	return out
}

// family is a set of effective holds whose area is kept.
type family uint8

const (
	allHolds   family = iota // an open hold counts up to MaxTime
	endedHolds               // ended holds only
)

// A pair's timeline is a B+ tree of entries in key order. Each node carries
//
//   - what a search needs to pass it by: the latest end of its holds, of its
//     loose holds, the earliest hold that one of its stops ends;
//   - for each family the area under the policy's curve over the node's own
//     stretch of time, from its first key (as it was when the node was made) to
//     the first key of its neighbour. Holds that began in another node count
//     too: an area belongs to a time, not to the holds that stand there.
//
// What is added over the whole stretch of an inner node stops there, in over,
// and what is below it does not hear of it: the area of a node is its own and,
// for each node above it, over times the length of its stretch.
//
// So a change costs the way to its place, and the holds that overlap what it
// changed. Entries leave only where the hold of a hold_id moves; nodes are never
// merged, since facts are only ever added.
//
// Of a large pair what is below a node may be absent: it is in the node's page,
// and here brings it. All that is said above of a node itself stands in the page
// of the node above it, so that a search that passes a node by does not need it.
type node struct {
	first   key // lower bound of the keys below it; of the leftmost nodes unused
	entries []entry
	kids    []*node
	pager   *pager // nil: the pair is small

	level    uint8  // 0: a leaf
	leftmost bool   // of its level
	dirty    bool   // its page is not stored; it is in the list of pair or pager
	flying   bool   // its page is on its way; it is in the pager's list
	absent   bool   // neither entries nor kids are in memory
	used     bool   // since the hand of the pager came by
	check    uint32 // checksum of its page as it was last written or read

	areas [2]area
	over  *[2]area // of an inner node, per ns; nil: nothing
	summary
}

// summary is what searches ask of a node.
type summary struct {
	lastEnd   [2]int64  // the latest effective end of a hold, by family; forever: open
	lastStart int64     // the latest start of a hold
	lastLoose int64     // the latest effective end of a loose hold; forever: open
	firstStop int64     // the smallest matchStart of an active stop; forever: no stop
	tail      Weight    // level of the open holds together: the largest, or the sum
	heaviest  [2]Weight // the largest weight of a hold, by family
}

func (s *summary) reset() { *s = summary{firstStop: forever} }

// note takes one entry into the summary.
func (s *summary) note(e *entry, policy Policy) {
	if e.is(flagCovers) {
		end := e.effEndOrForever()
		s.lastEnd[allHolds] = max(s.lastEnd[allHolds], end)
		s.lastStart = max(s.lastStart, e.at)
		s.heaviest[allHolds].raise(&e.weight)
		if end != forever {
			s.lastEnd[endedHolds] = max(s.lastEnd[endedHolds], end)
			s.heaviest[endedHolds].raise(&e.weight)
		} else {
			s.raiseTail(&e.weight, policy)
		}
		if e.is(flagLoose) {
			s.lastLoose = max(s.lastLoose, end)
		}
	}
	if e.kind == entryStop && e.active() {
		s.firstStop = min(s.firstStop, e.matchStart())
	}
}

func (s *summary) raiseTail(w *Weight, policy Policy) {
	if policy == Sum {
		add(s.tail[:], w[:])
	} else {
		s.tail.raise(w)
	}
}

// raise makes w at least v.
func (w *Weight) raise(v *Weight) {
	if w.Cmp(*v) < 0 {
		*w = *v
	}
}

func (s *summary) join(o *summary, policy Policy) {
	for f := range s.lastEnd {
		s.lastEnd[f] = max(s.lastEnd[f], o.lastEnd[f])
		s.heaviest[f].raise(&o.heaviest[f])
	}
	s.lastStart = max(s.lastStart, o.lastStart)
	s.lastLoose = max(s.lastLoose, o.lastLoose)
	s.firstStop = min(s.firstStop, o.firstStop)
	s.raiseTail(&o.tail, policy)
}

func newLeaf() *node {
	n := &node{}
	n.reset()
	return n
}

func (n *node) leaf() bool { return n.level == 0 }

// summarize takes the node's summary anew from what is right below it.
func (n *node) summarize(policy Policy) {
	n.reset()
	for i := range n.entries {
		n.note(&n.entries[i], policy)
	}
	for _, kid := range n.kids {
		n.join(&kid.summary, policy)
	}
}

// sumAreas is what an inner node's areas are by its children's, on a stretch of
// that length.
func (n *node) sumAreas(length int64) (areas [2]area) {
	for f := range areas {
		for _, kid := range n.kids {
			areas[f].add(&kid.areas[f])
		}
		if n.over != nil {
			areas[f].addTimes(&n.over[f], uint64(length))
		}
	}
	return areas
}

// search is the index of the first entry of a leaf whose key is k or greater.
func (n *node) search(k *key) int {
	// Most of what comes is newer than all that is there.
	if last := len(n.entries) - 1; last < 0 || n.entries[last].cmpKey(k) < 0 {
		return last + 1
	}
	lo, hi := 0, len(n.entries)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if n.entries[mid].cmpKey(k) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// route is the index of the child that k belongs to.
func (n *node) route(k *key) int {
	lo, hi := 0, len(n.kids)-1
	if n.kids[hi].first.cmp(k) <= 0 {
		return hi // most of what comes is newer than all that is there
	}
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if n.kids[mid].first.cmp(k) <= 0 {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return lo
}

func (k *key) cmp(o *key) int {
	if k.at != o.at {
		return cmpInt(k.at, o.at)
	}
	e := entry{at: k.at, end: k.end, eff: k.ord, weight: k.weight, kind: k.kind}
	if k.hasWeight {
		e.flags = flagHasWeight
	}
	return e.cmpKey(o)
}

// find is the entry of that key, or nil. It stays valid until the next insert or remove.
func (n *node) find(k *key) *entry {
	n.here()
	for !n.leaf() {
		n = n.kids[n.route(k)]
		n.here()
	}
	if i := n.search(k); i < len(n.entries) && n.entries[i].cmpKey(k) == 0 {
		return &n.entries[i]
	}
	return nil
}

// update lets change alter the entry of that key, which must be there, and
// brings the summaries above it up to date. change must leave the key as it is.
func (n *node) update(k *key, policy Policy, change func(*entry)) {
	n.here()
	if n.leaf() {
		change(&n.entries[n.mustSearch(k)])
	} else {
		n.kids[n.route(k)].update(k, policy, change)
	}
	n.changed()
	n.summarize(policy)
}

// mustSearch is the index of the entry of that key in a leaf, which must be there.
func (n *node) mustSearch(k *key) int {
	i := n.search(k)
	if i == len(n.entries) || n.entries[i].cmpKey(k) != 0 {
		n.pager.fail(errNotThere)
	}
	return i
}

// insert puts an entry in its place, where none of its key may be.
func (n *node) insert(e entry, k *key, policy Policy) *node {
	leaf := n
	n.here()
	n.changed()
	if n.leaf() {
		i := n.search(k)
		if len(n.entries) == cap(n.entries) {
			n.grow()
		}
		n.entries = append(n.entries, entry{})
		copy(n.entries[i+1:], n.entries[i:])
		n.entries[i] = e
	} else {
		leaf = n.kids[n.route(k)].insert(e, k, policy)
	}
	n.note(&e, policy)
	return leaf
}

// grow makes room by small steps: most pairs stay small, and slack costs memory.
func (n *node) grow() {
	size := len(n.entries)
	entries := make([]entry, size, min(size+max(1, size/2), leafMax+1))
	if size >= leafMax {
		entries = make([]entry, size, size+leafMax/4) // one start may fill more than a leaf
	}
	copy(entries, n.entries)
	n.entries = entries
}

// remove takes the entry of that key out, which must be there.
func (n *node) remove(k *key, policy Policy) {
	n.here()
	n.changed()
	if n.leaf() {
		i := n.mustSearch(k)
		n.entries = append(n.entries[:i], n.entries[i+1:]...)
	} else {
		n.kids[n.route(k)].remove(k, policy)
	}
	n.summarize(policy)
}

// visit calls fn for the entries from key k on, in order, until fn says false.
func (n *node) visit(k *key, fn func(*entry) bool) bool {
	n.here()
	if n.leaf() {
		for i := n.search(k); i < len(n.entries); i++ {
			if !fn(&n.entries[i]) {
				return false
			}
		}
		return true
	}
	for i := n.route(k); i < len(n.kids); i++ {
		if !n.kids[i].visit(k, fn) {
			return false
		}
	}
	return true
}

// visitAt is visit up to the end of the instant of k.
func (n *node) visitAt(k *key, fn func(*entry) bool) bool {
	n.here()
	if n.leaf() {
		for i := n.search(k); i < len(n.entries); i++ {
			if n.entries[i].at != k.at || !fn(&n.entries[i]) {
				return false
			}
		}
		return true
	}
	for i := n.route(k); i < len(n.kids); i++ {
		if i > 0 && n.kids[i].first.at > k.at || !n.kids[i].visitAt(k, fn) {
			return false
		}
	}
	return true
}

// split halves what is too full on the way to k. lo is where the node's
// stretch of time begins, above what the nodes above it have over theirs. A full
// last leaf that was appended to keeps what it has and a new one begins, so that
// holds that come in order fill their leaves.
func (p *Pair) split(n *node, k *key, lo int64, above *[2]area, last bool) *node {
	n.here()
	if n.leaf() {
		if len(n.entries) <= leafMax {
			return nil
		}
		mid := len(n.entries) / 2
		if last && n.entries[len(n.entries)-1].cmpKey(k) == 0 {
			mid = len(n.entries) - 1
		}
		right := &node{first: n.entries[mid].key(), pager: p.pager}
		for f := range right.areas {
			// The earlier part is the one to look at: behind the last start there may
			// be any number of ends.
			left := p.integrate(family(f), lo, right.first.at)
			left.subTimes(&above[f], uint64(right.first.at-lo))
			right.areas[f] = n.areas[f]
			right.areas[f].sub(&left)
			n.areas[f] = left
		}
		right.entries = append(make([]entry, 0, leafMax/2+leafMax/4), n.entries[mid:]...)
		n.entries = append(make([]entry, 0, max(mid, leafMax/2+leafMax/4)), n.entries[:mid]...)
		n.summarize(p.policy)
		right.summarize(p.policy)
		n.changed()
		right.changed()
		return right
	}
	i := n.route(k)
	from := lo
	if i > 0 {
		from = n.kids[i].first.at
	}
	below := *above
	if n.over != nil {
		for f := range below {
			below[f].add(&n.over[f])
		}
	}
	added := p.split(n.kids[i], k, from, &below, last && i == len(n.kids)-1)
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
	right := &node{first: n.kids[mid].first, level: n.level, kids: append([]*node(nil), n.kids[mid:]...), pager: p.pager}
	n.kids = append([]*node(nil), n.kids[:mid]...)
	right.areas = n.areas
	if n.over != nil {
		over := *n.over
		right.over = &over
	}
	n.areas = n.sumAreas(right.first.at - lo)
	for f := range right.areas {
		right.areas[f].sub(&n.areas[f])
	}
	n.summarize(p.policy)
	right.summarize(p.policy)
	right.changed()
	return right
}

// insert puts an entry into the timeline, and takes note where it is a fact. If
// it counts already, its areas must have been raised.
func (p *Pair) insert(e entry) {
	k := e.key()
	leaf := p.root.insert(e, &k, p.policy)
	p.size += entrySize
	if e.kind <= entryFact {
		p.soil(leaf)
	}
	if len(leaf.entries) <= leafMax || p.opening {
		return
	}
	p.enlarge()
	p.size += nodeSize
	if right := p.split(p.root, &k, 0, &[2]area{}, true); right != nil {
		left := p.root
		p.size += nodeSize
		p.root = &node{level: left.level + 1, leftmost: true, kids: []*node{left, right}, pager: p.pager}
		p.root.areas = p.root.sumAreas(MaxTime)
		p.root.summarize(p.policy)
		p.root.changed()
	}
}

// soil marks a leaf as not stored yet.
func (p *Pair) soil(leaf *node) {
	if leaf.pager != nil {
		leaf.changed()
		return
	}
	if !leaf.dirty {
		leaf.dirty = true
		p.dirtyLeaves = append(p.dirtyLeaves, leaf)
	}
}

// remove takes an entry out of the timeline, which must not count for anything.
func (p *Pair) remove(k *key) {
	p.root.remove(k, p.policy)
	p.size -= entrySize
}
