package hold

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"unsafe"

	"holdmetrics/hold/internal/coding"
	"holdmetrics/hold/internal/interval"
)

// Page is a part of a pair as it is stored. Key orders it among the pages of its
// pair. Empty Data means that the page is to be removed.
type Page = interval.Page

// Pages reads the stored pages of one pair. They must include the last flush that was
// written. If it has a method Lost(error), that is called when the pair is lost (see
// [Pair.Err]).
type Pages = interval.Pages

// A pair is stored in pages. A small pair has one, with an empty key, that has
// the facts without hold_id and nothing else, and one for each hold_id, with its
// facts; the holds are computed again when the pair is opened. A large
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

	pageOfID      = 'i' // and a page of a node has interval.PageOfNode
	pageOfOldLeaf = 't'
	pageOfSealed  = 's'
)

// IsRoot reports whether the data of a page with an empty key is the root of a large
// pair, whose other pages are read when they are needed. A pair whose page of that
// key is another one, or missing, is opened from all of its pages.
func IsRoot(data []byte) bool { return interval.IsRoot(data) }

// DirtyPages returns the pages that changed since the last ClearDirty, in a fixed
// order. It costs what changed. Their bytes belong to the caller.
func (p *Pair) DirtyPages() iter.Seq[Page] {
	return func(yield func(Page) bool) {
		if p.Err() != nil {
			return
		}
		if s := p.sealedPart(); s.dirty {
			s.dirtyPages(p, yield)
			return
		}
		p.facts().dirtyPages(p.isSealed(), yield)
	}
}

// ClearDirty notes that the pages which DirtyPages returned are stored or in flight,
// and that those which it returned before that are stored.
func (p *Pair) ClearDirty() {
	if s := p.sealedPart(); s.dirty {
		s.dirty, s.gone = false, nil
	}
	p.facts().clearDirty()
}

// Bytes returns about how much memory the pair takes, in bytes. It costs nothing.
func (p *Pair) Bytes() int {
	n := p.facts().bytes() + p.rare.bytes()
	if p.grown != nil {
		n += int(unsafe.Sizeof(*p))
	}
	return n
}

// Large reports whether the pair has pages that can be read, and leave memory, one by
// one. It never becomes small again, but by sealing.
func (p *Pair) Large() bool { return p.pager() != nil }

func (p *Pair) pager() *interval.Pager {
	if p.grown == nil {
		return nil
	}
	return p.grown.large()
}

// Err returns why the pair is lost, or nil: a page of it could not be read, or is
// damaged ([ErrCorrupt]). The answers of a lost pair mean nothing, and nothing of it
// must be stored. It must be dropped and opened again, and all facts that were added
// since it was stored must be added again. A pair that was not opened with [Pages] of
// its own, and was not trimmed, is never lost.
func (p *Pair) Err() error { return p.facts().err() }

// ReadFrom sets where the pages of a large pair can be read that was not opened from
// there. Until then all of the pair stays in memory.
func (p *Pair) ReadFrom(pages Pages) {
	g := p.pager()
	if g == nil {
		return
	}
	if s := p.sealedPart(); s.landing {
		s.pending = pages
		return
	}
	g.ReadFrom(pages)
}

// Trim takes parts of a large pair out of memory until about free bytes are free, or
// nothing is left that can go. Parts that changed since the last ClearDirty stay.
// Parts that were in flight then stay too, unless stored is true: they have arrived.
// Parts that were used since the last Trim leave last. Nothing but [Pair.Bytes] shows
// which parts are in memory.
func (p *Pair) Trim(free int, stored bool) {
	g := p.pager()
	if g == nil || g.Lost() {
		return
	}
	if stored {
		g.Landed()
		p.grown.ids.landed()
		p.sealedPart().readAgain(g)
	}
	if g.Pages() == nil {
		return
	}
	for round := 0; round < 2 && free > 0; round++ {
		free -= p.grown.ids.trim(free)
		free -= g.Trim(free)
	}
}

// OpenPair returns the pair that was stored as those pages, in any order. Of a large
// pair they need be no more than its root (see [IsRoot]): the others are read from
// more when something asks for them, for as long as the pair is used. If more is nil,
// pages must be all of the pair's, and must not change. Its errors wrap [ErrCorrupt].
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
	if err != nil || !old && (p.grown == nil || !p.grown.tree.Full() && len(p.grown.ids.known) <= idsMax) {
		return p, err
	}
	if !old { // more than a pair has that is not large
		p = PairFromFacts(policy, p.Facts())
	}
	p.grow()
	p.grown.tree.Enlarge()
	p.grown.ids.follow(&p.grown.tree)
	for _, page := range pages {
		if len(page.Key) > 0 && page.Key[0] == pageOfOldLeaf {
			p.pager().Remove(bytes.Clone(page.Key))
		}
	}
	return p, nil
}

// openRoot returns the large pair with that root page.
func openRoot(policy Policy, data []byte, pages Pages, unchecked bool) (*Pair, error) {
	t := &timeline{}
	h, err := t.tree.Open(interval.Policy(policy), data, pages, unchecked)
	if err != nil {
		return nil, err
	}
	t.facts, t.wait = int(h.Facts), h.Waiting
	t.ids.follow(&t.tree)
	return &Pair{policy: policy, grown: t}, nil
}

// openSmall folds the facts of the pages. If small, all facts without hold_id stay in
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
				p.grow()
				err = p.grown.enterID(id, g, !small)
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
		if p.grown != nil {
			p.grown.tree.Opening(false)
		}
		p.ClearDirty()
	}
	return p, nil
}

// addPage adds the facts of a page.
func (p *Pair) addPage(data []byte) error {
	if len(data) == 0 || data[0] != pageFacts {
		return fmt.Errorf("%w: page of an unknown version", ErrCorrupt)
	}
	for b := data[1:]; len(b) > 0; {
		f, behind, err := ParseFact(b)
		if err != nil {
			return err
		}
		if f.HoldID != "" {
			return fmt.Errorf("%w: a fact with a hold_id on a page of those without", ErrCorrupt)
		}
		p.Add(f)
		b = behind
	}
	return nil
}

func idPageKey(id string) []byte { return append([]byte{pageOfID}, id...) }

// page is the data of the page of a hold_id.
func (g *identified) page(id string) []byte {
	data := []byte{pageFacts}
	if g.held && g.key.Ord != idOrd(id) {
		data = binary.AppendUvarint([]byte{pageOrd}, uint64(g.key.Ord))
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
	r := coding.Reader{Rest: data}
	g, ord := &identified{}, idOrd(id)
	switch r.Byte() {
	case pageFacts:
	case pageOrd:
		ord = int64(r.Uvarint())
	default:
		return damaged()
	}
	if r.Bad || ord < 0 {
		return damaged()
	}
	for b := r.Rest; len(b) > 0; {
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
