package hold

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unsafe"

	"holdmetrics/hold/internal/interval"
)

// idsMax is how many hold_ids a pair has at most that is not large.
const idsMax = 64

// ids is what a pair keeps of its hold_ids. Those of a large pair are read into
// memory when something asks for them, and leave it when memory is wanted.
type ids struct {
	known map[string]*identified // in memory; nil: none
	dirty []string
	large *idsInFlight // nil: the pair is not large
	size  int          // in bytes
}

// idsInFlight are the ids whose pages are being stored.
type idsInFlight struct{ ids []string }

// get returns what is kept of a hold_id, or nil.
func (s *ids) get(tree *interval.Tree, id string) *identified {
	pager := tree.Pager()
	if g := s.known[id]; g != nil || pager == nil || pager.Pages() == nil {
		return g
	}
	data, err := pager.Pages().Page(idPageKey(id))
	if err != nil {
		pager.Fail(err)
	}
	if data == nil {
		return nil
	}
	g, err := readID(id, data)
	if err != nil {
		pager.Fail(err)
	}
	s.keep(id, g)
	return g
}

// make returns the new record of a hold_id that is not known. The string is copied.
func (s *ids) make(id string) *identified {
	g := &identified{}
	s.keep(strings.Clone(id), g)
	return g
}

// keep takes the record of a hold_id into memory.
func (s *ids) keep(id string, g *identified) {
	if s.known == nil {
		s.known = map[string]*identified{}
	}
	s.known[id] = g
	s.size += g.bytes(id)
}

// grew notes that a record has another fact.
func (s *ids) grew(g *identified, id string) {
	g.facts++
	s.size += int(unsafe.Sizeof(Fact{}))
	s.mark(g, id)
}

// mark notes that the page of a hold_id is not stored.
func (s *ids) mark(g *identified, id string) {
	if !g.dirty {
		g.dirty = true
		s.dirty = append(s.dirty, strings.Clone(id))
	}
}

// follow notes that the pair has become large: pages of hold_ids may be in flight
// from before.
func (s *ids) follow(tree *interval.Tree) {
	if s.large != nil || tree.Pager() == nil {
		return
	}
	s.large = &idsInFlight{}
	for id, g := range s.known {
		g.inFlight = true
		s.large.ids = append(s.large.ids, id)
	}
}

// each yields the record of each hold_id, by id, until yield returns false. It
// reports whether it came to the end. Records that are read do not stay in memory.
func (s *ids) each(tree *interval.Tree, yield func(id string, g *identified) bool) bool {
	return s.eachOf(tree, nil, nil, yield)
}

// eachOf is each for the hold_ids whose entries have one of some ords; nil: for all. It
// may yield others, and does not decode most of them. It calls passed for those, and ends
// if that returns false.
func (s *ids) eachOf(tree *interval.Tree, ords map[int64]struct{}, passed func() bool, yield func(id string, g *identified) bool) bool {
	here := slices.Sorted(maps.Keys(s.known))
	more := true
	upTo := func(id string, all bool) {
		for more && len(here) > 0 && (all || here[0] < id) {
			more = yield(here[0], s.known[here[0]])
			here = here[1:]
		}
	}
	if pager := tree.Pager(); pager != nil && pager.Pages() != nil {
		if pager.Lost() {
			return false
		}
		// A record in memory is newer than its page.
		var failed error
		err := pager.Pages().Scan([]byte{pageOfID}, func(page Page) bool {
			if ords != nil && len(here) == 0 && len(page.Data) > 0 && page.Data[0] == pageFacts {
				if _, asked := ords[idOrd(page.Key[1:])]; !asked {
					more = passed()
					return more
				}
			}
			id := string(page.Key[1:])
			upTo(id, false)
			if !more {
				return false
			}
			if len(here) > 0 && here[0] == id {
				return true // its turn comes
			}
			var g *identified
			if g, failed = readID(id, page.Data); failed == nil {
				more = yield(id, g)
			}
			return more && failed == nil
		})
		if failed != nil {
			err = failed
		}
		if err != nil {
			pager.Lose(err)
			return false
		}
	}
	upTo("", true)
	return more
}

func (s *ids) dirtyPages(yield func(Page) bool) bool {
	slices.Sort(s.dirty)
	for _, id := range s.dirty {
		if !yield(Page{Key: idPageKey(id), Data: s.known[id].page(id)}) {
			return false
		}
	}
	return true
}

func (s *ids) clearDirty() {
	s.landed()
	for _, id := range s.dirty {
		g := s.known[id]
		g.dirty, g.inFlight = false, s.large != nil
	}
	if s.large != nil {
		s.large.ids = s.dirty
	}
	s.dirty = nil
}

// landed notes that the pages in flight are stored.
func (s *ids) landed() {
	if s.large == nil {
		return
	}
	for _, id := range s.large.ids {
		s.known[id].inFlight = false
	}
	s.large.ids = nil
}

// trim takes records out of memory until about free bytes are free, and returns how
// many it freed. Which ones go first does not matter.
func (s *ids) trim(free int) int {
	before := s.size
	for id, g := range s.known {
		switch {
		case before-s.size >= free:
			return before - s.size
		case g.dirty || g.inFlight:
		case g.used:
			g.used = false
		default:
			delete(s.known, id)
			s.size -= g.bytes(id)
		}
	}
	return before - s.size
}

// enterID adds the record of a hold_id that the timeline does not know.
func (t *timeline) enterID(id string, g *identified, dirty bool) error {
	if t.ids.known[id] != nil || g.held && t.tree.Find(&g.key) != nil {
		return fmt.Errorf("%w: two pages of one hold_id", ErrCorrupt)
	}
	t.ids.keep(id, g)
	t.facts += g.facts
	t.wait += g.waiting
	if dirty {
		t.ids.mark(g, id)
	}
	if g.held {
		t.insertID(g)
	}
	return nil
}
