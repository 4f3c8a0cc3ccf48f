package hold

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"unsafe"
)

// Page is a part of a pair as it is stored. Key orders it among the pages of its
// pair; Data empty means that the page is gone.
type Page struct {
	Key, Data []byte
}

// A pair is stored in pages: one a leaf of its timeline, and one a hold_id. A
// page has facts and nothing else; what follows from them is folded anew when
// the pair is opened. The first leaf's page has an empty key, so a small pair
// without hold_ids is that one page.
//
// Which facts share a leaf depends on the order in which they came, and on
// nothing else: not on when pages were written or the pair was opened. So the
// same log gives the same pages.
const (
	pageVersion = 1

	pageOfID   = 'i'
	pageOfLeaf = 't'
)

// DirtyPages gives the pages that changed since the last ClearDirty, in a fixed
// order: leaves by time, then hold_ids. It costs what changed. Their bytes are new
// and the caller's.
func (p *Pair) DirtyPages() iter.Seq[Page] {
	return func(yield func(Page) bool) {
		if p.timeline == nil {
			if p.dirty {
				yield(Page{Data: p.rowsPage()})
			}
			return
		}
		slices.SortFunc(p.dirtyLeaves, func(a, b *node) int {
			switch {
			case a.initial:
				return -1
			case b.initial:
				return 1
			}
			return a.first.cmp(&b.first)
		})
		for _, n := range p.dirtyLeaves {
			var k []byte
			if !n.initial {
				k = n.first.append(nil)
			}
			data := append(make([]byte, 0, 1+32*len(n.entries)), pageVersion)
			for i := range n.entries {
				n.entries[i].facts(func(f Fact) bool {
					data = f.Append(data)
					return true
				})
			}
			if !yield(Page{Key: k, Data: data}) {
				return
			}
		}
		slices.Sort(p.dirtyIDs)
		for _, id := range p.dirtyIDs {
			data := []byte{pageVersion}
			p.ids[id].facts(id, func(f Fact) bool {
				data = f.Append(data)
				return true
			})
			if !yield(Page{Key: append([]byte{pageOfID}, id...), Data: data}) {
				return
			}
		}
	}
}

// ClearDirty says that the pages which DirtyPages gave are stored, or on their way.
func (p *Pair) ClearDirty() {
	p.dirty = false
	if p.timeline == nil {
		return
	}
	for _, n := range p.dirtyLeaves {
		n.dirty = false
	}
	for _, id := range p.dirtyIDs {
		p.ids[id].dirty = false
	}
	p.dirtyLeaves, p.dirtyIDs = nil, nil
}

// OpenPair is the pair that was stored as those pages, in any order. Its errors
// wrap [ErrCorrupt].
func OpenPair(policy Policy, pages []Page) (*Pair, error) {
	p := NewPair(policy)
	if len(pages) == 0 || len(pages) == 1 && len(pages[0].Key) == 0 {
		return openRows(p, pages)
	}
	p.grow()
	leaves := []*node{p.root}
	for _, page := range pages {
		if len(page.Key) == 0 || page.Key[0] != pageOfLeaf {
			continue
		}
		leaf := newLeaf()
		var err error
		if leaf.first, err = parseKey(page.Key); err != nil {
			return nil, err
		}
		leaves = append(leaves, leaf)
	}
	rest := leaves[1:]
	slices.SortFunc(rest, func(a, b *node) int { return a.first.cmp(&b.first) })
	for i := 1; i < len(rest); i++ {
		if rest[i-1].first.cmp(&rest[i].first) == 0 {
			return nil, fmt.Errorf("%w: two pages of one key", ErrCorrupt)
		}
	}
	p.root = grownOver(leaves, policy)

	// The leaves have their places; facts that are added now find them, and none
	// is split.
	p.opening = true
	for _, page := range pages {
		if err := p.addPage(page.Data); err != nil {
			return nil, err
		}
	}
	p.opening = false
	p.ClearDirty()
	return p, nil
}

// grownOver is a tree over leaves that are in order.
func grownOver(level []*node, policy Policy) *node {
	for len(level) > 1 {
		var above []*node
		for kids := range slices.Chunk(level, kidsMax) {
			n := &node{first: kids[0].first, kids: slices.Clone(kids)}
			n.summarize(policy)
			above = append(above, n)
		}
		level = above
	}
	return level[0]
}

// append appends the key in a form whose bytes are in key order.
func (k *key) append(dst []byte) []byte {
	dst = append(dst, pageOfLeaf)
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.at))
	has := byte(0)
	if k.hasWeight {
		has = 1
	}
	dst = append(dst, byte(k.kind), has)
	for i := len(k.weight) - 1; i >= 0; i-- {
		dst = binary.BigEndian.AppendUint64(dst, k.weight[i])
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(k.end))
	return binary.BigEndian.AppendUint64(dst, uint64(k.ord))
}

func parseKey(b []byte) (key, error) {
	const size = 1 + 8 + 2 + 4*8 + 8 + 8
	if len(b) != size || b[0] != pageOfLeaf || b[9] > byte(entryID) || b[10] > 1 {
		return key{}, fmt.Errorf("%w: page key", ErrCorrupt)
	}
	k := key{at: int64(binary.BigEndian.Uint64(b[1:])), kind: entryKind(b[9]), hasWeight: b[10] == 1}
	for i := range k.weight {
		k.weight[len(k.weight)-1-i] = binary.BigEndian.Uint64(b[11+8*i:])
	}
	k.end = int64(binary.BigEndian.Uint64(b[43:]))
	k.ord = int64(binary.BigEndian.Uint64(b[51:]))
	if k.at < 0 || k.at > Horizon || k.end < 0 || k.end > Horizon || k.ord < 0 {
		return key{}, fmt.Errorf("%w: page key", ErrCorrupt)
	}
	return k, nil
}

// Bytes is about how much memory the pair takes, in bytes. It costs nothing to ask.
func (p *Pair) Bytes() int {
	if p.timeline == nil {
		return p.rowBytes()
	}
	return int(unsafe.Sizeof(*p)+unsafe.Sizeof(timeline{})+unsafe.Sizeof(node{})) + p.size
}
