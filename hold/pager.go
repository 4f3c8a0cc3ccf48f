package hold

import (
	"fmt"
	"slices"
)

// Pages reads pages of one pair as they are stored. The last flush that was
// written must be in them. One with a method Lost(error) is told when the pair is
// lost (see [Pair.Err]).
type Pages interface {
	// Page gives the data of the page with that key; nil where there is none. The
	// pair does not keep the data.
	Page(key []byte) ([]byte, error)
	// Scan gives the pages whose keys begin with prefix, in the order of their
	// keys, until yield says false. A page is valid until yield returns.
	Scan(prefix []byte, yield func(Page) bool) error
}

// idsMax is how many hold_ids a small pair has at most.
const idsMax = 64

// maxLevel bounds the height of a tree that was damaged on purpose: 16^16 leaves
// are more than a store can keep.
const maxLevel = 16

// pager is what a large pair has beside a small one: its nodes and hold_ids are
// brought into memory when something asks for them, and leave it when the room
// is wanted. A pair becomes large with its second leaf, or with more hold_ids
// than idsMax, and stays large.
//
// What a search meets that is not in memory is read then and there, deep in the
// search. If it cannot be read, or is damaged, all that is under way is given up
// at once (fail), the error stays with the pair, and the pair is lost: it may be
// half changed.
type pager struct {
	pair  *Pair
	pages Pages // nil: nothing was stored that could be read back
	err   error

	dirty     []*node
	flying    []*node
	flyingIDs []string
	hand      *key // of the leaf that Trim goes on with

	obsolete  [][]byte // keys of pages that an earlier version wrote, to be removed
	unchecked bool     // checksums count for nothing; tests damage pages on purpose
}

// errNotThere: an entry points to one that is not there.
var errNotThere = fmt.Errorf("%w: an entry that others refer to is missing", ErrCorrupt)

// failure is what fail panics with, and guard catches.
type failure struct{ error }

// fail gives up what is under way.
func (g *pager) fail(err error) {
	if g == nil {
		panic(err) // a small pair refers to nothing that could be missing
	}
	panic(failure{err})
}

// guard ends a call that has failed. It is to be deferred.
func (p *Pair) guard() {
	if !p.Large() {
		return
	}
	if r := recover(); r != nil {
		f, ours := r.(failure)
		if !ours {
			panic(r)
		}
		p.pager.lose(f.error)
	}
}

func (g *pager) lose(err error) {
	g.err = err
	if told, ok := g.pages.(interface{ Lost(error) }); ok {
		told.Lost(err)
	}
}

func (p *Pair) failed() bool { return p.Large() && p.pager.err != nil }

// Err says why the pair is lost: a page of it could not be read, or is damaged
// ([ErrCorrupt]). What such a pair tells means nothing, and nothing of it must be
// stored. It is to be dropped and opened anew, and all facts added again that
// were added since what is stored. A pair that was not opened with [Pages] of its
// own, and was not trimmed, is never lost.
func (p *Pair) Err() error {
	if !p.Large() {
		return nil
	}
	return p.pager.err
}

// Large says whether the pair has pages that may be read, and leave memory, one
// by one. It never becomes small again.
func (p *Pair) Large() bool { return p.timeline != nil && p.pager != nil }

// ReadFrom says where the pages of a large pair can be read that was not opened
// from there. Until it is said, all of the pair stays in memory.
func (p *Pair) ReadFrom(pages Pages) {
	if !p.Large() {
		return
	}
	if s := p.sealedPart(); s.landing {
		s.pending = pages
		return
	}
	p.pager.pages = pages
}

// enlarge makes a small pair a large one.
func (p *Pair) enlarge() {
	if p.pager != nil || p.opening {
		return
	}
	p.pager = &pager{pair: p}
	p.root.pager = p.pager
	p.root.dirty = false
	p.dirtyLeaves = nil
	p.root.changed()
	// The pages of hold_ids may be on their way from before.
	for id, kept := range p.ids {
		kept.flying = true
		p.pager.flyingIDs = append(p.pager.flyingIDs, id)
	}
}

func (p *Pair) addPaged(f *Fact) (added bool) {
	defer p.guard()
	if p.failed() {
		return false
	}
	if added = p.addGrown(f); added {
		p.root.changed() // it has the number of facts
	}
	return added
}

// must is the entry of that key, which must be there.
func (p *Pair) must(k *key) *entry {
	e := p.root.find(k)
	if e == nil {
		p.pager.fail(errNotThere)
	}
	return e
}

// here brings what is below a node into memory.
func (n *node) here() {
	if n.pager != nil {
		n.used = true
		if n.absent {
			n.pager.load(n)
		}
	}
}

// changed notes that what is below a node of a large pair is not stored yet. A
// node is never noted without those above it.
func (n *node) changed() {
	if n.pager != nil && !n.dirty {
		n.dirty = true
		n.pager.dirty = append(n.pager.dirty, n)
	}
}

func (g *pager) load(n *node) {
	if g.pages == nil {
		g.fail(fmt.Errorf("%w: a page is missing", ErrCorrupt))
	}
	data, err := g.pages.Page(n.pageKey())
	if err == nil {
		err = n.read(data)
	}
	if err != nil {
		g.fail(err)
	}
	g.pair.size += n.below()
}

// below is about what the entries or children of a node take, in bytes.
func (n *node) below() int {
	return len(n.entries)*entrySize + len(n.kids)*nodeSize
}

// loadID reads what is kept of a hold_id; nil where there is nothing.
func (p *Pair) loadID(id string) *identified {
	if p.pager.pages == nil {
		return nil
	}
	data, err := p.pager.pages.Page(idPageKey(id))
	if err != nil {
		p.pager.fail(err)
	}
	if data == nil {
		return nil
	}
	g, err := readID(id, data)
	if err != nil {
		p.pager.fail(err)
	}
	p.keepID(id, g)
	return g
}

// clearDirty notes that the dirty pages are on their way.
func (g *pager) clearDirty() {
	g.land()
	for _, n := range g.dirty {
		n.dirty, n.flying = false, true
	}
	g.flying, g.dirty = g.dirty, nil
	for _, id := range g.pair.dirtyIDs {
		g.pair.ids[id].flying = true
	}
	g.flyingIDs = g.pair.dirtyIDs
	g.obsolete = nil
}

// land notes that the pages which were on their way are stored.
func (g *pager) land() {
	for _, n := range g.flying {
		n.flying = false
	}
	for _, id := range g.flyingIDs {
		g.pair.ids[id].flying = false
	}
	g.flying, g.flyingIDs = nil, nil
}

// Trim takes parts of a large pair out of memory until about free bytes are
// free, or nothing is left that can go. What changed since the last ClearDirty
// stays; what was on its way then stays too, unless stored says that it is there.
// What was used since the last Trim leaves last. Which parts are in memory shows
// in nothing but [Pair.Bytes].
func (p *Pair) Trim(free int, stored bool) {
	if !p.Large() || p.failed() {
		return
	}
	g := p.pager
	if stored {
		g.land()
		p.readAgain()
	}
	if g.pages == nil {
		return
	}
	for round := 0; round < 2 && free > 0; round++ {
		before := p.size
		g.trimIDs(free)
		free -= before - p.size
		// From the hand to the end, then from the beginning to the hand.
		for turn := 0; turn < 2 && free > 0; turn++ {
			from := g.hand
			g.hand = nil
			before = p.size
			g.trim(p.root, from, free)
			free -= before - p.size
			if from == nil {
				break
			}
		}
	}
}

// trimIDs takes hold_ids out. In which order does not matter to anybody.
func (g *pager) trimIDs(free int) {
	p := g.pair
	least := p.size - free
	for id, kept := range p.ids {
		switch {
		case p.size <= least:
			return
		case kept.dirty || kept.flying:
		case kept.used:
			kept.used = false
		default:
			delete(p.ids, id)
			p.size -= kept.bytes(id)
		}
	}
}

// trim takes out what is below n, from that key on, and says whether free bytes
// are free. Then the hand is where it stopped.
func (g *pager) trim(n *node, from *key, free int) (enough bool) {
	least := g.pair.size - free
	i := 0
	if from != nil {
		i = n.route(from)
	}
	for ; i < len(n.kids); i++ {
		kid := n.kids[i]
		if kid.absent {
			continue
		}
		if g.pair.size <= least {
			first := kid.first
			g.hand = &first
			return true
		}
		if !kid.leaf() {
			if g.trim(kid, from, g.pair.size-least) {
				return true
			}
			from = nil
			if slices.ContainsFunc(kid.kids, func(n *node) bool { return !n.absent }) {
				continue
			}
		}
		switch {
		case kid.dirty || kid.flying:
		case kid.used:
			kid.used = false
		default:
			g.pair.size -= kid.below()
			kid.entries, kid.kids, kid.absent = nil, nil, true
		}
	}
	return false
}
