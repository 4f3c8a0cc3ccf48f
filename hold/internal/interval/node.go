package interval

import (
	"unsafe"

	"holdmetrics/hold/internal/limbs"
)

const (
	leafMax = 64 // entries in a leaf before it is split
	kidsMax = 32 // children of an inner node before it is split

	// entrySize is what an entry takes, with the slack of its leaf.
	entrySize = int(unsafe.Sizeof(Entry{})) * 5 / 4
	nodeSize  = int(unsafe.Sizeof(node{})) + 8
	rootSize  = int(unsafe.Sizeof(node{}))
)

// node is a node of the B+ tree. Each node carries
//
//   - what a search needs to pass it by: the latest end of its holds, of its
//     loose holds, the earliest hold that one of its stops ends;
//   - for each family the area under the policy's curve over the node's own
//     stretch of time, from its first key (as it was when the node was made) to
//     the first key of its neighbour. Holds that began in another node count
//     too: an area belongs to a time, not to the holds that stand there.
//
// A level that is added over the whole stretch of an inner node is kept there, in
// over, and not passed on to the nodes below. So the area of a node is its own plus,
// for each node above it, over times the length of its stretch.
//
// So a change costs the way to its place, and the holds that overlap what it
// changed. Entries leave only where the hold of a hold_id moves; nodes are never
// merged, since facts are only ever added.
//
// In a paged tree the entries or children of a node may be absent: they are in the
// node's page, and here reads it. What a node itself carries is in the page of the
// node above it, so a search that passes a node by does not read its page.
type node struct {
	first   Key // lower bound of the keys below it; of the leftmost nodes unused
	entries []Entry
	kids    []*node
	pager   *Pager // nil: the tree is not paged

	level    uint8  // 0: a leaf
	leftmost bool   // of its level
	dirty    bool   // its page is not stored; if paged, it is in the pager's list
	inFlight bool   // its page is being stored; it is in the pager's list
	absent   bool   // neither entries nor kids are in memory
	used     bool   // since the pager's hand last passed
	check    uint32 // checksum of its page as it was last written or read

	areas [2]Area
	over  *[2]Area // of an inner node, per ns; nil: nothing
	summary
}

// summary is what searches ask of a node.
type summary struct {
	lastEnd   [2]int64  // the latest effective end of a hold, by family; Forever: open
	lastStart int64     // the latest start of a hold
	lastLoose int64     // the latest effective end of a loose hold; Forever: open
	firstStop int64     // the smallest MatchStart of an active stop; Forever: no stop
	tail      Weight    // level of the open holds together: the largest, or the sum
	heaviest  [2]Weight // the largest weight of a hold, by family
}

func (s *summary) reset() { *s = summary{firstStop: Forever} }

// note takes one entry into the summary.
func (s *summary) note(e *Entry, policy Policy) {
	if e.Is(Covers) {
		end := e.EndOrForever()
		s.lastEnd[AllHolds] = max(s.lastEnd[AllHolds], end)
		s.lastStart = max(s.lastStart, e.At)
		s.heaviest[AllHolds].raise(&e.Weight)
		if end != Forever {
			s.lastEnd[EndedHolds] = max(s.lastEnd[EndedHolds], end)
			s.heaviest[EndedHolds].raise(&e.Weight)
		} else {
			s.raiseTail(&e.Weight, policy)
		}
		if e.Is(Loose) {
			s.lastLoose = max(s.lastLoose, end)
		}
	}
	if e.Kind == EntryStop && e.Active() {
		s.firstStop = min(s.firstStop, e.MatchStart())
	}
}

func (s *summary) raiseTail(w *Weight, policy Policy) {
	if policy == Sum {
		limbs.Add(s.tail[:], w[:])
	} else {
		s.tail.raise(w)
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

func (n *node) leaf() bool { return n.level == 0 }

// summarize makes the node's summary from what is directly below it.
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
func (n *node) sumAreas(length int64) (areas [2]Area) {
	for f := range areas {
		for _, kid := range n.kids {
			areas[f].Add(&kid.areas[f])
		}
		if n.over != nil {
			areas[f].addTimes(&n.over[f], uint64(length))
		}
	}
	return areas
}

// search is the index of the first entry of a leaf whose key is k or greater.
func (n *node) search(k *Key) int {
	// Most of what comes is newer than all that is there.
	if last := len(n.entries) - 1; last < 0 || n.entries[last].CmpKey(k) < 0 {
		return last + 1
	}
	lo, hi := 0, len(n.entries)-1
	for lo < hi {
		mid := (lo + hi) / 2
		if n.entries[mid].CmpKey(k) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// route is the index of the child that k belongs to.
func (n *node) route(k *Key) int {
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

// find returns the entry of that key, or nil. It stays valid until the next insert or remove.
func (n *node) find(k *Key) *Entry {
	n.here()
	for !n.leaf() {
		n = n.kids[n.route(k)]
		n.here()
	}
	if i := n.search(k); i < len(n.entries) && n.entries[i].CmpKey(k) == 0 {
		return &n.entries[i]
	}
	return nil
}

// update lets change alter the entry of that key, which must be there, and
// brings the summaries above it up to date. change must leave the key as it is.
func (n *node) update(k *Key, policy Policy, change func(*Entry)) {
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
func (n *node) mustSearch(k *Key) int {
	i := n.search(k)
	if i == len(n.entries) || n.entries[i].CmpKey(k) != 0 {
		fail(n.pager, errNotThere)
	}
	return i
}

// insert puts an entry in its place and returns its leaf. No entry may have its key.
func (n *node) insert(e Entry, k *Key, policy Policy) *node {
	leaf := n
	n.here()
	n.changed()
	if n.leaf() {
		i := n.search(k)
		if len(n.entries) == cap(n.entries) {
			n.grow()
		}
		n.entries = append(n.entries, Entry{})
		copy(n.entries[i+1:], n.entries[i:])
		n.entries[i] = e
	} else {
		leaf = n.kids[n.route(k)].insert(e, k, policy)
	}
	n.note(&e, policy)
	return leaf
}

// grow makes room in small steps: most trees stay small, and slack costs memory.
func (n *node) grow() {
	size := len(n.entries)
	entries := make([]Entry, size, min(size+max(1, size/2), leafMax+1))
	if size >= leafMax {
		entries = make([]Entry, size, size+leafMax/4) // one start may fill more than a leaf
	}
	copy(entries, n.entries)
	n.entries = entries
}

// remove takes the entry of that key out, which must be there.
func (n *node) remove(k *Key, policy Policy) {
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

// visit calls fn for the entries from key k on, in order, until fn returns false. It
// reports whether fn never did.
func (n *node) visit(k *Key, fn func(*Entry) bool) bool {
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
func (n *node) visitAt(k *Key, fn func(*Entry) bool) bool {
	n.here()
	if n.leaf() {
		for i := n.search(k); i < len(n.entries); i++ {
			if n.entries[i].At != k.At || !fn(&n.entries[i]) {
				return false
			}
		}
		return true
	}
	for i := n.route(k); i < len(n.kids); i++ {
		if i > 0 && n.kids[i].first.At > k.At || !n.kids[i].visitAt(k, fn) {
			return false
		}
	}
	return true
}

// visitIn calls fn for the holds below n that start before to and do not end
// before from.
func (n *node) visitIn(from, to int64, fn func(*Entry)) {
	if n.lastStart < from && n.lastEnd[AllHolds] < from {
		return
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.At >= to {
			return
		}
		kid.visitIn(from, to, fn)
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.At >= to {
			return
		}
		if e.Is(Covers) && e.EndOrForever() >= from {
			fn(e)
		}
	}
}
