package interval

import (
	"fmt"
	"slices"

	"holdmetrics/hold/internal/coding"
)

// Page is a part of a pair as it is stored. Key orders it among the pages of its
// pair. Empty Data means that the page is to be removed.
type Page struct {
	Key, Data []byte
}

// Pages reads the stored pages of one pair. They must include the last flush that
// was written. If it has a method Lost(error), that is called when the pair is lost
// (see [Pager.Err]).
type Pages interface {
	// Page returns the data of the page with that key, or nil if there is none. The
	// caller does not keep the data.
	Page(key []byte) ([]byte, error)
	// Scan calls yield with the pages whose keys begin with prefix, in the order of
	// their keys, until yield returns false. A page is valid until yield returns.
	Scan(prefix []byte, yield func(Page) bool) error
}

// maxLevel bounds the height of a tree that was damaged on purpose: 16^16 leaves
// are more than a store can keep.
const maxLevel = 16

// Pager is what a paged tree has beside its nodes: they are read into memory when
// something asks for them, and leave it when memory is wanted. A tree that is paged
// stays so.
//
// A search that meets a node which is not in memory reads it there and then. If that
// fails, or the page is damaged, the whole operation is given up with a panic, which
// [Tree.Guard] recovers. The error stays with the tree, and the tree is lost: it may
// be half changed.
type Pager struct {
	tree  *Tree
	pages Pages // nil: nothing was stored that could be read back
	err   error

	dirty    []*node
	inFlight []*node
	hand     *Key // of the leaf that Trim continues with

	obsolete  [][]byte // keys of pages that an earlier version wrote, to be removed
	unchecked bool     // checksums are not compared
}

// errNotThere means that an entry refers to one that is not there.
var errNotThere = fmt.Errorf("%w: an entry that others refer to is missing", coding.ErrCorrupt)

// failure is the value that fail panics with, and Guard recovers.
type failure struct{ error }

func fail(g *Pager, err error) {
	if g == nil {
		panic(err) // a tree in memory refers to nothing that could be missing
	}
	panic(failure{err})
}

// Pager returns the tree's pager, or nil if the tree is not paged.
func (tree *Tree) Pager() *Pager { return tree.pager }

// Enlarge makes a tree of one leaf a paged one.
func (tree *Tree) Enlarge() {
	if tree.pager != nil || tree.opening {
		return
	}
	tree.pager = &Pager{tree: tree}
	tree.root.pager = tree.pager
	tree.root.dirty = false
	tree.root.changed()
}

// Err returns why the tree is lost, or nil.
func (tree *Tree) Err() error {
	if tree.pager == nil {
		return nil
	}
	return tree.pager.err
}

// Guard ends an operation that has failed. It must be deferred.
func (tree *Tree) Guard() {
	if tree.pager == nil {
		return
	}
	if r := recover(); r != nil {
		f, ours := r.(failure)
		if !ours {
			panic(r)
		}
		tree.pager.Lose(f.error)
	}
}

// Lost reports whether the tree is lost.
func (g *Pager) Lost() bool { return g.err != nil }

// Fail gives up the operation that is under way. It must be called below a Guard.
func (g *Pager) Fail(err error) { fail(g, err) }

// Lose marks the tree as lost.
func (g *Pager) Lose(err error) {
	g.err = err
	if listener, ok := g.pages.(interface{ Lost(error) }); ok {
		listener.Lost(err)
	}
}

// Pages returns where pages can be read, or nil if that is nowhere.
func (g *Pager) Pages() Pages { return g.pages }

// ReadFrom sets where pages can be read. Until then nothing leaves memory.
func (g *Pager) ReadFrom(pages Pages) { g.pages = pages }

// Remove notes that a stored page is obsolete.
func (g *Pager) Remove(key []byte) { g.obsolete = append(g.obsolete, key) }

// PageKeys returns the keys of all pages that are stored, or may be in flight, but
// the root's.
func (g *Pager) PageKeys() [][]byte {
	keys := slices.Clone(g.obsolete)
	var nodes func(n *node)
	nodes = func(n *node) {
		n.here()
		for _, kid := range n.kids {
			keys = append(keys, kid.pageKey())
			if !kid.leaf() {
				nodes(kid)
			}
		}
	}
	nodes(g.tree.root)
	return keys
}

// here reads what is below a node into memory.
func (n *node) here() {
	if n.pager != nil {
		n.used = true
		if n.absent {
			n.pager.load(n)
		}
	}
}

// changed notes that the page of a node is not stored. A node is never noted without
// the nodes above it.
func (n *node) changed() {
	if n.pager != nil && !n.dirty {
		n.dirty = true
		n.pager.dirty = append(n.pager.dirty, n)
	}
}

func (g *Pager) load(n *node) {
	if g.pages == nil {
		fail(g, fmt.Errorf("%w: a page is missing", coding.ErrCorrupt))
	}
	data, err := g.pages.Page(n.pageKey())
	if err == nil {
		err = n.read(data)
	}
	if err != nil {
		fail(g, err)
	}
	g.tree.size += n.below()
}

// below returns about how many bytes the entries or children of a node take.
func (n *node) below() int {
	return len(n.entries)*entrySize + len(n.kids)*nodeSize
}

// ClearDirty notes that the pages of DirtyPages are stored or in flight, and that
// those before them are stored.
func (g *Pager) ClearDirty() {
	g.Landed()
	for _, n := range g.dirty {
		n.dirty, n.inFlight = false, true
	}
	g.inFlight, g.dirty = g.dirty, nil
	g.obsolete = nil
}

// Landed notes that the pages in flight are stored.
func (g *Pager) Landed() {
	for _, n := range g.inFlight {
		n.inFlight = false
	}
	g.inFlight = nil
}

// Trim takes nodes out of memory until about free bytes are free, or nothing is left
// that can go: nodes that changed or are in flight stay. Nodes that were used since
// they were last passed get another round. It returns how many bytes it freed.
func (g *Pager) Trim(free int) (freed int) {
	before := g.tree.size
	// From the hand to the end, then from the beginning to the hand.
	for turn := 0; turn < 2 && before-g.tree.size < free; turn++ {
		from := g.hand
		g.hand = nil
		g.trim(g.tree.root, from, free-(before-g.tree.size))
		if from == nil {
			break
		}
	}
	return before - g.tree.size
}

// trim takes out what is below n, from that key on, and reports whether free bytes
// are free. Then the hand is where it stopped.
func (g *Pager) trim(n *node, from *Key, free int) (enough bool) {
	least := g.tree.size - free
	i := 0
	if from != nil {
		i = n.route(from)
	}
	for ; i < len(n.kids); i++ {
		kid := n.kids[i]
		if kid.absent {
			continue
		}
		if g.tree.size <= least {
			first := kid.first
			g.hand = &first
			return true
		}
		if !kid.leaf() {
			if g.trim(kid, from, g.tree.size-least) {
				return true
			}
			from = nil
			if slices.ContainsFunc(kid.kids, func(n *node) bool { return !n.absent }) {
				continue
			}
		}
		switch {
		case kid.dirty || kid.inFlight:
		case kid.used:
			kid.used = false
		default:
			g.tree.size -= kid.below()
			kid.entries, kid.kids, kid.absent = nil, nil, true
		}
	}
	return false
}
