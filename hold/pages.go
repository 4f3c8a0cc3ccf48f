package hold

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"unsafe"
)

// Page is a part of a pair as it is stored. Key orders it among the pages of its
// pair; Data empty means that the page is gone.
type Page struct {
	Key, Data []byte
}

// A pair is stored in pages. A small pair has one, with an empty key, that has
// the facts without hold_id and nothing else, and one for each hold_id, with its
// facts; what follows from them is folded anew when the pair is opened. A large
// pair (see pager) has one for each node of its timeline, with all that was
// derived, and the same one for each hold_id. Its root is the page with the empty
// key.
//
//	facts  1 <fact> ...
//	id     1 <fact> ... | 3 <ord> <fact> ...
//	sealed 1 <latest end> <total> <waiting> <facts> <count> <hash of a hold_id> ...
//
// The last stands beside the pages of either where something was sealed.
//
// An ord stands there where it is not the usual one: two hold_ids of one hash had
// the same hold.
//
// Where a fact stands depends on the order in which facts came, and on nothing
// else: not on when pages were written, read or dropped from memory. So the same
// log gives the same pages.
//
// Until version 2 every leaf had a page of facts, and a pair was read whole. Such
// a pair is opened still, and made a large one of today, which its next flush
// writes.
const (
	pageFacts = 1
	pageOrd   = 3

	pageOfID      = 'i'
	pageOfNode    = 'n'
	pageOfOldLeaf = 't'
	pageOfSealed  = 's'
)

// DirtyPages gives the pages that changed since the last ClearDirty, in a fixed
// order. It costs what changed. Their bytes are new and the caller's.
func (p *Pair) DirtyPages() iter.Seq[Page] {
	return func(yield func(Page) bool) {
		if p.failed() {
			return
		}
		if s := p.sealedPart(); s.dirty {
			s.dirtyPages(p, yield)
			return
		}
		p.changedPages(yield)
	}
}

// changedPages gives the pages of facts that changed.
func (p *Pair) changedPages(yield func(Page) bool) bool {
	if p.Large() && !p.pager.dirtyPages(yield) {
		return false
	}
	if p.timeline == nil {
		return !p.dirty || yield(Page{Data: p.rowsPage()})
	}
	for _, n := range p.dirtyLeaves {
		data := append(make([]byte, 0, 1+32*len(n.entries)), pageFacts)
		for i := range n.entries {
			n.entries[i].facts(func(f Fact) bool {
				data = f.Append(data)
				return true
			})
		}
		if !yield(Page{Data: data}) {
			return false
		}
	}
	slices.Sort(p.dirtyIDs)
	for _, id := range p.dirtyIDs {
		if !yield(Page{Key: idPageKey(id), Data: p.ids[id].page(id)}) {
			return false
		}
	}
	return true
}

// ClearDirty says that the pages which DirtyPages gave are stored, or on their
// way; those that it gave before that are stored.
func (p *Pair) ClearDirty() {
	p.dirty = false
	if s := p.sealedPart(); s.dirty {
		s.dirty, s.gone = false, nil
	}
	if p.timeline == nil {
		return
	}
	if p.pager != nil {
		p.pager.clearDirty()
	}
	for _, n := range p.dirtyLeaves {
		n.dirty = false
	}
	for _, id := range p.dirtyIDs {
		p.ids[id].dirty = false
	}
	p.dirtyLeaves, p.dirtyIDs = nil, nil
}

// OpenPair is the pair that was stored as those pages, in any order. Of a large
// pair they need be no more than its root (see [IsRoot]): the others are read
// from more when something asks for them, for as long as the pair is used. Where
// more is nil, pages are all of the pair's, and must stay as they are. Its errors
// wrap [ErrCorrupt].
func OpenPair(policy Policy, pages []Page, more Pages) (*Pair, error) {
	p, err := openPair(policy, pages, more)
	if err != nil {
		return nil, err
	}
	return p, p.openSealed(pages, more)
}

func openPair(policy Policy, pages []Page, more Pages) (*Pair, error) {
	old := false
	for _, page := range pages {
		switch {
		case len(page.Key) == 0 && IsRoot(page.Data):
			if more == nil {
				more = gathered(pages)
			}
			return openRoot(policy, page.Data, more, false)
		case len(page.Key) > 0 && page.Key[0] == pageOfOldLeaf:
			old = true
		}
	}
	p, err := openSmall(policy, pages, !old)
	if err != nil || !old && (p.timeline == nil || len(p.root.entries) <= leafMax && len(p.ids) <= idsMax) {
		return p, err
	}
	if !old { // more than a small pair has
		p = PairFromFacts(policy, p.Facts())
	}
	if p.timeline == nil {
		p.grow()
	}
	p.enlarge()
	for _, page := range pages {
		if len(page.Key) > 0 && page.Key[0] == pageOfOldLeaf {
			p.pager.obsolete = append(p.pager.obsolete, bytes.Clone(page.Key))
		}
	}
	return p, nil
}

// openSmall folds the facts of the pages. As small, all without hold_id are of
// one leaf, and the pair has no page to write.
func openSmall(policy Policy, pages []Page, small bool) (*Pair, error) {
	p := NewPair(policy)
	p.opening = small
	for _, page := range pages {
		if len(page.Key) > 0 && page.Key[0] == pageOfSealed {
			continue
		}
		if len(page.Key) > 0 && page.Key[0] == pageOfID {
			id := string(page.Key[1:])
			g, err := readID(id, page.Data)
			if err == nil {
				err = p.enterID(id, g, !small)
			}
			if err != nil {
				return nil, err
			}
			continue
		}
		if err := p.addPage(page.Data); err != nil {
			return nil, err
		}
	}
	if small {
		p.opening = false
		p.ClearDirty()
	}
	return p, nil
}

// enterID takes what was kept of a hold_id into a pair that did not know it.
func (p *Pair) enterID(id string, g *identified, dirty bool) error {
	if p.timeline == nil {
		p.grow()
	}
	if p.ids[id] != nil || g.held && p.root.find(&g.key) != nil {
		return fmt.Errorf("%w: two pages of one hold_id", ErrCorrupt)
	}
	p.keepID(id, g)
	p.facts += g.facts
	p.waiting += g.waiting
	if dirty {
		g.dirty = true
		p.dirtyIDs = append(p.dirtyIDs, id)
	}
	if g.held {
		p.insert(entry{at: g.hold.Start, end: g.hold.End, weight: g.hold.Weight, kind: entryID, eff: g.key.ord})
		p.count(&g.key, true)
	}
	return nil
}

func idPageKey(id string) []byte { return append([]byte{pageOfID}, id...) }

// page is the data of the page of a hold_id.
func (g *identified) page(id string) []byte {
	data := []byte{pageFacts}
	if g.held && g.key.ord != idOrd(id) {
		data = binary.AppendUvarint([]byte{pageOrd}, uint64(g.key.ord))
	}
	g.eachFact(id, func(f Fact) bool {
		data = f.Append(data)
		return true
	})
	return data
}

// readID reads the page of a hold_id.
func readID(id string, data []byte) (*identified, error) {
	damaged := func() (*identified, error) { return nil, fmt.Errorf("%w: the page of hold_id %q", ErrCorrupt, id) }
	r := reader{b: data}
	g, ord := &identified{}, idOrd(id)
	switch r.byte() {
	case pageFacts:
	case pageOrd:
		ord = int64(r.uvarint())
	default:
		return damaged()
	}
	if r.bad || ord < 0 {
		return damaged()
	}
	for b := r.b; len(b) > 0; {
		f, behind, err := ParseFact(b)
		if err != nil {
			return nil, err
		}
		if f.HoldID != id || !g.add(&f) {
			return damaged()
		}
		g.facts++
		b = behind
	}
	g.waiting = g.countWaiting()
	if g.hold, g.held = g.fold(); g.held {
		g.key = g.keyAt(ord)
	}
	return g, nil
}

// memoryPages are pages that are at hand.
type memoryPages map[string][]byte

func gathered(pages []Page) memoryPages {
	m := make(memoryPages, len(pages))
	for _, page := range pages {
		m[string(page.Key)] = page.Data
	}
	return m
}

func (m memoryPages) Page(key []byte) ([]byte, error) { return m[string(key)], nil }

func (m memoryPages) Scan(prefix []byte, yield func(Page) bool) error {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if bytes.HasPrefix([]byte(key), prefix) && !yield(Page{Key: []byte(key), Data: m[key]}) {
			break
		}
	}
	return nil
}

// Bytes is about how much memory the pair takes, in bytes. It costs nothing to ask.
func (p *Pair) Bytes() int {
	if p.timeline == nil {
		return p.rowBytes()
	}
	return int(unsafe.Sizeof(*p)+unsafe.Sizeof(timeline{})+unsafe.Sizeof(node{})) + p.size + p.aside.bytes()
}
