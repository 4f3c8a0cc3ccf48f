package interval

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"holdmetrics/hold/internal/coding"
)

// A node's page has what is directly below it: the entries of a leaf with all that
// was derived, or of each child of an inner node its first key, its areas and
// summary, and the checksum of its page. So reading detects a page that is damaged,
// or that is from another flush than the page above it.
//
//	node  2 <level> <count> <entry> ... | <child> ...
//	root  2 <level, root> <policy> <facts> <waiting> <head> <count> <entry> ... | <child> ... <checksum>
//	child <first key, but of the first child> <head> <checksum of its page>
//
// The root's key is empty, whatever its level; the other nodes' keys begin with
// their level and go on with what they are the first of.
const (
	pageNode = 2

	// PageOfNode is the first byte of the keys of all pages of a tree but the root's.
	PageOfNode = 'n'

	nodeRoot   = 0x80 // beside the level
	nodeSealed = 0x40 // of a root: there is a page of what was sealed

	// Flags of a head.
	headSameAreas    = 1 << 0 // those of ended holds are those of all
	headSameHeaviest = 1 << 1
	headOver         = 1 << 2 // and what it has over its stretch follows

	// Beside the kind of an entry or key.
	markOpen      = 1 << 2 // its end is 0
	markOne       = 1 << 3 // its weight is 1
	markHasWeight = 1 << 4 // of a key; an entry has it among its flags
	kindMask      = 3
)

// entryFlags are the flags that an entry of a kind may have.
var entryFlags = [...]uint8{
	EntryStop:    Sent | Retracted | Matched | MatchedHasWeight,
	EntryFact:    Sent | Retracted | HasWeight | Covers | Loose,
	EntryDerived: HasWeight | Covers,
	EntryID:      Covers,
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// Header is what the owner of a tree keeps in the tree's root page.
type Header struct {
	Facts, Waiting uint64
	Sealed         bool // there is a page of sealed facts
}

// IsRoot reports whether the data of a page with an empty key is the root of a paged
// tree.
func IsRoot(data []byte) bool { return len(data) > 0 && data[0] == pageNode }

// pageKey returns the key of the node's page.
func (n *node) pageKey() []byte {
	if n == n.pager.tree.root {
		return nil
	}
	key := []byte{PageOfNode, n.level}
	if n.leftmost {
		return key
	}
	k := &n.first
	key = binary.BigEndian.AppendUint64(key, uint64(k.At))
	head := byte(k.Kind)
	if k.HasWeight {
		head |= markHasWeight
	}
	key = coding.AppendLimbs(append(key, head), k.Weight[:])
	key = binary.AppendUvarint(key, uint64(k.End))
	return binary.AppendUvarint(key, uint64(k.Ord))
}

// page returns the data of the node's page. The checksums of its children must be right.
func (n *node) page(h Header) []byte {
	b := append(make([]byte, 0, 64+16*len(n.entries)+80*len(n.kids)), pageNode, n.level)
	root := n == n.pager.tree.root
	if root {
		b[1] |= nodeRoot
		if h.Sealed {
			b[1] |= nodeSealed
		}
		b = append(b, byte(n.pager.tree.policy))
		b = binary.AppendUvarint(b, h.Facts)
		b = binary.AppendUvarint(b, h.Waiting)
		b = n.appendHead(b)
	}
	if n.leaf() {
		b = binary.AppendUvarint(b, uint64(len(n.entries)))
		at := n.first.At
		for i := range n.entries {
			b = n.entries[i].append(b, at)
			at = n.entries[i].At
		}
	} else {
		b = binary.AppendUvarint(b, uint64(len(n.kids)))
		at := n.first.At
		for i, kid := range n.kids {
			if i > 0 {
				b = kid.first.appendAfter(b, at)
				at = kid.first.At
			}
			b = kid.appendHead(b)
			b = binary.LittleEndian.AppendUint32(b, kid.check)
		}
	}
	if root {
		b = binary.LittleEndian.AppendUint32(b, checksum(b))
	}
	return b
}

// read reads what is below the node from its page.
func (n *node) read(data []byte) error {
	if checksum(data) != n.check && !n.pager.unchecked {
		return n.damaged("is missing, damaged, or of another flush than the one above it")
	}
	r := coding.Reader{Rest: data}
	if r.Byte() != pageNode || r.Byte() != n.level || r.Bad || !n.readBelow(&r) || len(r.Rest) > 0 {
		return n.damaged("does not decode")
	}
	return nil
}

func (n *node) damaged(how string) error {
	return fmt.Errorf("%w: page %x of level %d %s", coding.ErrCorrupt, n.pageKey(), n.level, how)
}

// readBelow reads entries or children. Keys must ascend, since searches
// rely on it. Any other damage gives wrong figures, but no wrong memory access.
func (n *node) readBelow(r *coding.Reader) bool {
	count := r.Uvarint()
	if r.Bad || n.leaf() && count > leafMax || !n.leaf() && (count < 1 || count > kidsMax) {
		return false
	}
	if n.leaf() {
		entries := make([]Entry, count, min(count+count/4+1, leafMax+1))
		at := n.first.At
		for i := range entries {
			entries[i].read(r, at)
			k := entries[i].Key()
			if r.Bad || i > 0 && entries[i-1].CmpKey(&k) >= 0 || i == 0 && !n.leftmost && k.cmp(&n.first) < 0 {
				return false
			}
			at = k.At
		}
		n.entries, n.absent = entries, false
		return true
	}
	nodes := make([]node, count)
	kids := make([]*node, count)
	at := n.first.At
	for i := range nodes {
		kid := &nodes[i]
		kid.pager, kid.level, kid.absent = n.pager, n.level-1, true
		if i == 0 {
			kid.first, kid.leftmost = n.first, n.leftmost
		} else {
			kid.first.readAfter(r, at)
			if r.Bad || (i > 1 || !n.leftmost) && kid.first.cmp(&nodes[i-1].first) <= 0 {
				return false
			}
			at = kid.first.At
		}
		kid.readHead(r)
		if sum := r.Bytes(4); !r.Bad {
			kid.check = binary.LittleEndian.Uint32(sum)
		}
		kids[i] = kid
	}
	if r.Bad {
		return false
	}
	n.kids, n.absent = kids, false
	return true
}

// Open makes the tree the one whose root page that is. Its other pages are read from
// pages when something asks for them. If unchecked, checksums are not compared;
// tests use that to damage pages on purpose. Its errors wrap [coding.ErrCorrupt].
func (tree *Tree) Open(policy Policy, data []byte, pages Pages, unchecked bool) (Header, error) {
	damaged := func() (Header, error) {
		return Header{}, fmt.Errorf("%w: the root of a pair", coding.ErrCorrupt)
	}
	end := len(data) - 4
	if end < 0 || checksum(data[:end]) != binary.LittleEndian.Uint32(data[end:]) && !unchecked {
		return damaged()
	}
	r := coding.Reader{Rest: data[:end]}
	version, level := r.Byte(), r.Byte()
	h := Header{Sealed: level&nodeSealed != 0}
	root := level&nodeRoot != 0
	level &^= nodeRoot | nodeSealed
	if version != pageNode || !root || level > maxLevel {
		return damaged()
	}
	if stored := Policy(r.Byte()); stored != policy {
		return Header{}, fmt.Errorf("%w: the root of a pair is of policy %d, not %d", coding.ErrCorrupt, stored, policy)
	}
	tree.policy = policy
	tree.pager = &Pager{tree: tree, pages: pages, unchecked: unchecked}
	tree.root = &node{pager: tree.pager, level: level, leftmost: true, absent: true}
	h.Facts, h.Waiting = r.Uvarint(), r.Uvarint()
	tree.root.readHead(&r)
	if r.Bad || h.Facts > 1<<62 || !tree.root.readBelow(&r) || len(r.Rest) > 0 {
		return damaged()
	}
	tree.size = tree.root.below()
	return h, nil
}

// RootSealed reports whether the data of a root page says that there is a page of
// sealed facts beside it.
func RootSealed(data []byte) bool { return data[1]&nodeSealed != 0 }

// appendHead appends what the page of the node above says about n, without its
// first key.
func (n *node) appendHead(dst []byte) []byte {
	var flags byte
	if n.areas[AllHolds] == n.areas[EndedHolds] {
		flags |= headSameAreas
	}
	if n.heaviest[AllHolds] == n.heaviest[EndedHolds] {
		flags |= headSameHeaviest
	}
	if n.over != nil {
		flags |= headOver
	}
	dst = append(dst, flags)
	dst = n.areas[AllHolds].append(dst)
	if flags&headSameAreas == 0 {
		dst = n.areas[EndedHolds].append(dst)
	}
	if n.over != nil {
		dst = n.over[EndedHolds].append(n.over[AllHolds].append(dst))
	}
	at := n.first.At
	dst = appendInstant(dst, at, n.lastEnd[AllHolds])
	dst = appendInstant(dst, n.lastEnd[AllHolds], n.lastEnd[EndedHolds])
	dst = appendInstant(dst, at, n.lastStart)
	dst = appendInstant(dst, at, n.lastLoose)
	dst = appendInstant(dst, at, n.firstStop)
	dst = coding.AppendLimbs(dst, n.tail[:])
	dst = coding.AppendLimbs(dst, n.heaviest[AllHolds][:])
	if flags&headSameHeaviest == 0 {
		dst = coding.AppendLimbs(dst, n.heaviest[EndedHolds][:])
	}
	return dst
}

func (n *node) readHead(r *coding.Reader) {
	flags := r.Byte()
	n.areas[AllHolds].read(r)
	n.areas[EndedHolds] = n.areas[AllHolds]
	if flags&headSameAreas == 0 {
		n.areas[EndedHolds].read(r)
	}
	if flags&headOver != 0 {
		n.over = &[2]Area{}
		n.over[AllHolds].read(r)
		n.over[EndedHolds].read(r)
	}
	at := n.first.At
	n.lastEnd[AllHolds] = readInstant(r, at)
	n.lastEnd[EndedHolds] = readInstant(r, n.lastEnd[AllHolds])
	n.lastStart = readInstant(r, at)
	n.lastLoose = readInstant(r, at)
	n.firstStop = readInstant(r, at)
	r.Limbs(n.tail[:])
	r.Limbs(n.heaviest[AllHolds][:])
	n.heaviest[EndedHolds] = n.heaviest[AllHolds]
	if flags&headSameHeaviest == 0 {
		r.Limbs(n.heaviest[EndedHolds][:])
	}
}

// DirtyPages calls yield with the pages of nodes that changed, until it returns
// false, and reports whether it never did. Lower levels come first, since a page has
// the checksums of the pages below it. All nodes above a dirty one are dirty.
func (g *Pager) DirtyPages(h Header, yield func(Page) bool) bool {
	slices.SortFunc(g.dirty, func(a, b *node) int {
		switch {
		case a.level != b.level:
			return int(a.level) - int(b.level)
		case a.leftmost:
			return -1
		case b.leftmost:
			return 1
		}
		return a.first.cmp(&b.first)
	})
	for _, n := range g.dirty {
		page := Page{Key: n.pageKey(), Data: n.page(h)}
		n.check = checksum(page.Data)
		if !yield(page) {
			return false
		}
	}
	for _, key := range g.obsolete {
		if !yield(Page{Key: bytes.Clone(key)}) {
			return false
		}
	}
	return true
}
