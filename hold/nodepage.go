package hold

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
)

// A node's page has what is right below it: the entries of a leaf as they stand,
// with all that was derived, or of each child of an inner node its first key, its
// areas and summary, and the checksum of its page. So a page that is damaged, or
// of another flush than the page above it, is found out when it is read.
//
//	node  2 <level> <count> <entry> ... | <child> ...
//	root  2 <level, root> <policy> <facts> <waiting> <head> <count> <entry> ... | <child> ... <checksum>
//	child <first key, but of the first child> <head> <checksum of its page>
//
// The root's key is empty, whatever its level; the other nodes' keys begin with
// their level and go on with what they are the first of.
const (
	pageNode = 2

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
	entryStop:    flagSent | flagRetracted | flagMatched | flagMatchedHasWeight,
	entryFact:    flagSent | flagRetracted | flagHasWeight | flagCovers | flagLoose,
	entryDerived: flagHasWeight | flagCovers,
	entryID:      flagCovers,
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// IsRoot says whether the data of a page with an empty key is the root of a
// large pair, whose other pages are read when they are needed. A pair whose page
// of that key is another one, or missing, is opened from all of its pages.
func IsRoot(data []byte) bool { return len(data) > 0 && data[0] == pageNode }

// pageKey is the key of the node's page.
func (n *node) pageKey() []byte {
	if n == n.pager.pair.root {
		return nil
	}
	key := []byte{pageOfNode, n.level}
	if n.leftmost {
		return key
	}
	k := &n.first
	key = binary.BigEndian.AppendUint64(key, uint64(k.at))
	head := byte(k.kind)
	if k.hasWeight {
		head |= markHasWeight
	}
	key = appendLimbs(append(key, head), k.weight[:])
	key = binary.AppendUvarint(key, uint64(k.end))
	return binary.AppendUvarint(key, uint64(k.ord))
}

// page is the data of the node's page. The checksums of its children must be right.
func (n *node) page() []byte {
	b := append(make([]byte, 0, 64+16*len(n.entries)+80*len(n.kids)), pageNode, n.level)
	root := n == n.pager.pair.root
	if root {
		b[1] |= nodeRoot
		if n.pager.pair.sealedPart() != notSealed {
			b[1] |= nodeSealed
		}
		b = append(b, byte(n.pager.pair.policy))
		b = binary.AppendUvarint(b, uint64(n.pager.pair.facts))
		b = binary.AppendUvarint(b, n.pager.pair.waiting)
		b = n.appendHead(b)
	}
	if n.leaf() {
		b = binary.AppendUvarint(b, uint64(len(n.entries)))
		at := n.first.at
		for i := range n.entries {
			b = n.entries[i].append(b, at)
			at = n.entries[i].at
		}
	} else {
		b = binary.AppendUvarint(b, uint64(len(n.kids)))
		at := n.first.at
		for i, kid := range n.kids {
			if i > 0 {
				b = kid.first.appendAfter(b, at)
				at = kid.first.at
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

// read brings what is below the node out of its page's data.
func (n *node) read(data []byte) error {
	if checksum(data) != n.check && !n.pager.unchecked {
		return n.damaged("is missing, damaged, or of another flush than the one above it")
	}
	r := reader{b: data}
	if r.byte() != pageNode || r.byte() != n.level || r.bad || !n.readBelow(&r) || len(r.b) > 0 {
		return n.damaged("does not decode")
	}
	return nil
}

func (n *node) damaged(how string) error {
	return fmt.Errorf("%w: page %x of level %d %s", ErrCorrupt, n.pageKey(), n.level, how)
}

// readBelow reads entries or children. Keys must ascend, for searches rely on
// it; what else may be wrong with them shows in wrong figures alone.
func (n *node) readBelow(r *reader) bool {
	count := r.uvarint()
	if r.bad || n.leaf() && count > leafMax || !n.leaf() && (count < 1 || count > kidsMax) {
		return false
	}
	if n.leaf() {
		entries := make([]entry, count, min(count+count/4+1, leafMax+1))
		at := n.first.at
		for i := range entries {
			entries[i].read(r, at)
			k := entries[i].key()
			if r.bad || i > 0 && entries[i-1].cmpKey(&k) >= 0 || i == 0 && !n.leftmost && k.cmp(&n.first) < 0 {
				return false
			}
			at = k.at
		}
		n.entries, n.absent = entries, false
		return true
	}
	nodes := make([]node, count)
	kids := make([]*node, count)
	at := n.first.at
	for i := range nodes {
		kid := &nodes[i]
		kid.pager, kid.level, kid.absent = n.pager, n.level-1, true
		if i == 0 {
			kid.first, kid.leftmost = n.first, n.leftmost
		} else {
			kid.first.readAfter(r, at)
			if r.bad || (i > 1 || !n.leftmost) && kid.first.cmp(&nodes[i-1].first) <= 0 {
				return false
			}
			at = kid.first.at
		}
		kid.readHead(r)
		if sum := r.bytes(4); !r.bad {
			kid.check = binary.LittleEndian.Uint32(sum)
		}
		kids[i] = kid
	}
	if r.bad {
		return false
	}
	n.kids, n.absent = kids, false
	return true
}

// openRoot is the large pair whose root that is.
func openRoot(policy Policy, data []byte, pages Pages, unchecked bool) (*Pair, error) {
	damaged := func() (*Pair, error) { return nil, fmt.Errorf("%w: the root of a pair", ErrCorrupt) }
	end := len(data) - 4
	if end < 0 || checksum(data[:end]) != binary.LittleEndian.Uint32(data[end:]) && !unchecked {
		return damaged()
	}
	r := reader{b: data[:end]}
	p := &Pair{policy: policy, timeline: &timeline{}}
	p.pager = &pager{pair: p, pages: pages, unchecked: unchecked}
	version, level := r.byte(), r.byte()
	root := level&nodeRoot != 0
	level &^= nodeRoot | nodeSealed
	if version != pageNode || !root || level > maxLevel {
		return damaged()
	}
	if stored := Policy(r.byte()); stored != policy {
		return nil, fmt.Errorf("%w: the root of a pair is of policy %v, not %v", ErrCorrupt, stored, policy)
	}
	p.root = &node{pager: p.pager, level: level, leftmost: true, absent: true}
	facts := r.uvarint()
	p.facts, p.waiting = int(facts), r.uvarint()
	p.root.readHead(&r)
	if r.bad || facts > 1<<62 || !p.root.readBelow(&r) || len(r.b) > 0 {
		return damaged()
	}
	p.size = p.root.below()
	return p, nil
}

// appendHead appends what the node above has of n, but for its first key.
func (n *node) appendHead(dst []byte) []byte {
	var flags byte
	if n.areas[allHolds] == n.areas[endedHolds] {
		flags |= headSameAreas
	}
	if n.heaviest[allHolds] == n.heaviest[endedHolds] {
		flags |= headSameHeaviest
	}
	if n.over != nil {
		flags |= headOver
	}
	dst = append(dst, flags)
	dst = n.areas[allHolds].append(dst)
	if flags&headSameAreas == 0 {
		dst = n.areas[endedHolds].append(dst)
	}
	if n.over != nil {
		dst = n.over[endedHolds].append(n.over[allHolds].append(dst))
	}
	at := n.first.at
	dst = appendInstant(dst, at, n.lastEnd[allHolds])
	dst = appendInstant(dst, n.lastEnd[allHolds], n.lastEnd[endedHolds])
	dst = appendInstant(dst, at, n.lastStart)
	dst = appendInstant(dst, at, n.lastLoose)
	dst = appendInstant(dst, at, n.firstStop)
	dst = appendLimbs(dst, n.tail[:])
	dst = appendLimbs(dst, n.heaviest[allHolds][:])
	if flags&headSameHeaviest == 0 {
		dst = appendLimbs(dst, n.heaviest[endedHolds][:])
	}
	return dst
}

func (n *node) readHead(r *reader) {
	flags := r.byte()
	n.areas[allHolds].read(r)
	n.areas[endedHolds] = n.areas[allHolds]
	if flags&headSameAreas == 0 {
		n.areas[endedHolds].read(r)
	}
	if flags&headOver != 0 {
		n.over = &[2]area{}
		n.over[allHolds].read(r)
		n.over[endedHolds].read(r)
	}
	at := n.first.at
	n.lastEnd[allHolds] = r.instant(at)
	n.lastEnd[endedHolds] = r.instant(n.lastEnd[allHolds])
	n.lastStart = r.instant(at)
	n.lastLoose = r.instant(at)
	n.firstStop = r.instant(at)
	r.limbs(n.tail[:])
	r.limbs(n.heaviest[allHolds][:])
	n.heaviest[endedHolds] = n.heaviest[allHolds]
	if flags&headSameHeaviest == 0 {
		r.limbs(n.heaviest[endedHolds][:])
	}
}

// append appends the area. What is negative, modulo the width, is as short as
// what is not.
func (a *area) append(dst []byte) []byte {
	const negative = 0x80
	sum, sign := a.sum, byte(0)
	if sum[len(sum)-1]>>63 == 1 {
		sum, sign = [6]uint64{}, negative
		sub(sum[:], a.sum[:])
	}
	at := len(dst)
	dst = appendLimbs(dst, sum[:])
	dst[at] |= sign
	return binary.AppendVarint(dst, int64(a.held))
}

func (a *area) read(r *reader) {
	const negative = 0x80
	if len(r.b) == 0 {
		r.bad = true
		return
	}
	var sum [6]uint64
	sign := r.b[0] & negative
	r.limbsOf(int(r.byte()&^negative), sum[:])
	if a.sum = sum; sign != 0 {
		a.sum = [6]uint64{}
		sub(a.sum[:], sum[:])
	}
	a.held = uint64(r.varint())
}

// appendInstant appends a time near base, or none (0), or forever.
func appendInstant(dst []byte, base, t int64) []byte {
	switch t {
	case 0:
		return append(dst, 0)
	case forever:
		return append(dst, 1)
	}
	if base == forever {
		base = 0
	}
	d := t - base
	return binary.AppendUvarint(dst, uint64(d)<<1^uint64(d>>63)+2)
}

func (r *reader) instant(base int64) int64 {
	switch v := r.uvarint(); v {
	case 0:
		return 0
	case 1:
		return forever
	default:
		if base == forever {
			base = 0
		}
		v -= 2
		t := base + (int64(v>>1) ^ -int64(v&1))
		if t < 0 || t > MaxTime {
			r.bad = true
			return 0
		}
		return t
	}
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// later reads how far a time lies behind base.
func (r *reader) later(base int64) int64 {
	v := r.uvarint()
	if v > uint64(MaxTime-base) {
		r.bad = true
		return base
	}
	return base + int64(v)
}

func (r *reader) weight(mark byte) (w Weight) {
	if mark&markOne != 0 {
		return One
	}
	r.limbs(w[:])
	if w.Cmp(maxWeight) >= 0 {
		r.bad = true
		return Weight{}
	}
	return w
}

func markOf(kind entryKind, end int64, w *Weight) byte {
	mark := byte(kind)
	if end == 0 {
		mark |= markOpen
	}
	if *w == One {
		mark |= markOne
	}
	return mark
}

// append appends an entry that stands at base or later.
func (e *entry) append(dst []byte, base int64) []byte {
	mark := markOf(e.kind, e.end, &e.weight)
	dst = binary.AppendUvarint(append(dst, mark, e.flags), uint64(e.at-base))
	if mark&markOpen == 0 {
		dst = binary.AppendUvarint(dst, uint64(e.end-e.at))
	}
	if mark&markOne == 0 {
		dst = appendLimbs(dst, e.weight[:])
	}
	switch {
	case e.kind == entryID:
		dst = binary.AppendUvarint(dst, uint64(e.eff))
	case e.is(flagMatched):
		dst = binary.AppendUvarint(dst, uint64(e.at-e.eff))
	case e.is(flagLoose):
		dst = appendInstant(dst, e.at, e.eff)
	}
	return dst
}

func (e *entry) read(r *reader, base int64) {
	mark := r.byte()
	e.kind, e.flags = entryKind(mark&kindMask), r.byte()
	e.at = r.later(base)
	if mark&markOpen == 0 {
		e.end = r.later(e.at)
	}
	e.weight = r.weight(mark)
	switch {
	case e.kind == entryID:
		e.eff = int64(r.uvarint())
		r.bad = r.bad || e.eff < 0
	case e.is(flagMatched):
		v := r.uvarint()
		r.bad = r.bad || v > uint64(e.at)
		e.eff = e.at - int64(v)
	case e.is(flagLoose):
		e.eff = r.instant(e.at)
		r.bad = r.bad || e.eff == forever
	}
	r.bad = r.bad || mark&^(kindMask|markOpen|markOne) != 0 || e.flags&^entryFlags[e.kind] != 0
}

// appendAfter appends a key at base or later.
func (k *key) appendAfter(dst []byte, base int64) []byte {
	mark := markOf(k.kind, k.end, &k.weight)
	if k.hasWeight {
		mark |= markHasWeight
	}
	dst = binary.AppendUvarint(append(dst, mark), uint64(k.at-base))
	if mark&markOpen == 0 {
		dst = binary.AppendUvarint(dst, uint64(k.end-k.at))
	}
	if mark&markOne == 0 {
		dst = appendLimbs(dst, k.weight[:])
	}
	if k.kind == entryID {
		dst = binary.AppendUvarint(dst, uint64(k.ord))
	}
	return dst
}

func (k *key) readAfter(r *reader, base int64) {
	mark := r.byte()
	*k = key{kind: entryKind(mark & kindMask), hasWeight: mark&markHasWeight != 0, at: r.later(base)}
	if mark&markOpen == 0 {
		k.end = r.later(k.at)
	}
	k.weight = r.weight(mark)
	if k.kind == entryID {
		k.ord = int64(r.uvarint())
		r.bad = r.bad || k.ord < 0
	}
	r.bad = r.bad || mark&^(kindMask|markOpen|markOne|markHasWeight) != 0
}

// dirtyPages gives the pages of a large pair's nodes: below comes first, since
// the checksums of a level stand in the one above. All nodes above a dirty one
// are dirty.
func (g *pager) dirtyPages(yield func(Page) bool) bool {
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
		page := Page{Key: n.pageKey(), Data: n.page()}
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
