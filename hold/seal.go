package hold

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"holdmetrics/hold/internal/coding"
	"holdmetrics/hold/internal/interval"
)

// Sealing makes everything before a horizon final (S9.1). From the position at which
// the horizon holds, [Pair.Admits] is asked about every fact, and refuses one that
// would change what was held before it (S9.2, S9.3). So that part of the pair need
// not be kept as facts: [Pair.Seal] replaces it by a total.
//
// Facts are removed up to the split point: an instant that no hold crosses (S9.4). It
// is the horizon, or if a hold reaches past it the start of that hold, or of one that
// reaches past that. Nothing that is still to come can make a difference before it:
//
//   - Facts without hold_id of an earlier start come to holds that have ended by the
//     split point. None is open, so no later stop concerns them, and no earlier stop
//     concerns later holds. That is why the split point is not one of single holds.
//   - The facts of a hold_id are removed if its hold started before the split point.
//     A hash of the id is kept, so that later events about it are refused. Nobody can
//     find two ids of one hash: else an id could be made that is refused once the
//     pair is sealed, and not before.
//   - Facts at the split point itself stay, except a stop that ended a removed hold.
//
// Under either policy the curves before and after the split point are of different
// holds. So the total is added to what the kept facts come to: as of the split point
// and later, every figure is what it would be if nothing had been sealed (S9.6).
// Earlier figures mean nothing any more.
//
// The answers of Admits depend on the horizon and on facts that sealing keeps. They
// are the same whether a pair was sealed already, was not, or never is (S9.7).

// sealed is what a pair keeps of the facts that were removed.
type sealed struct {
	last    int64 // the latest end of a removed hold; 0: none was a hold
	total   Amount
	waiting uint64   // removed facts that had nothing to act on
	facts   uint64   // removed facts
	ids     []idHash // of removed hold_ids, ascending
	bound   bound    // of the removed facts without hold_id; see SealedFacts

	dirty   bool
	gone    [][]byte // keys of pages that are to be removed
	landing bool     // the store may still have pages that are to be removed
	pending Pages    // where pages can be read once they are removed
}

// Sealed is what a pair has in place of facts that were sealed.
type Sealed struct {
	Last  int64  // ns: the latest end of a hold in it; 0: it has none
	Total Amount // of all those holds, by the policy alone
	Facts uint64 // how many it stands for
}

var notSealed = &sealed{}

// sealedPart returns what the pair keeps of the facts that were removed. It is never
// nil, and must not be changed.
func (p *Pair) sealedPart() *sealed {
	if !p.isSealed() {
		return notSealed
	}
	return p.rare.sealed
}

func (p *Pair) isSealed() bool { return p.rare != nil && p.rare.sealed != nil }

// Sealed returns what was sealed of the pair.
func (p *Pair) Sealed() Sealed {
	s := p.sealedPart()
	return Sealed{Last: s.last, Total: s.total, Facts: s.facts}
}

// Empty reports whether nothing is known of the pair: no facts, and nothing sealed.
func (p *Pair) Empty() bool { return p.Len() == 0 && p.sealedPart().facts == 0 }

// Seals reports whether pairs that are counted by the rule can be sealed. A total
// does not show how long the holds in it lasted, or when (S9.8).
func (r *Rule) Seals() bool {
	return r.Shortest == 0 && len(r.Boosts) == 0 && r.SeasonFrom == 0 && r.SeasonTo == 0
}

// Sealed returns what was sealed of a pair, by the rule.
func (r *Rule) Sealed(p *Pair) Sealed {
	s := p.Sealed()
	s.Total = r.scale(s.Total)
	return s
}

// Seal replaces the facts before the horizon by a total, up to the split point, and
// reports whether anything changed. at is the instant of the figures that were
// published last, or an earlier one: holds that had not ended then stay, so that
// those figures stay true. The horizon must be one that holds (see [Pair.Admits]).
//
// It costs the size of the pair if anything is removed, and little if nothing is.
func (p *Pair) Seal(horizon, at int64) (changed bool) {
	return p.SealAtMost(horizon, at, math.MaxInt)
}

// SealAtMost is Seal, but changes nothing if more than that number of hold_ids of the
// pair would be sealed.
func (p *Pair) SealAtMost(horizon, at int64, ids int) (changed bool) {
	if p.Len() == 0 {
		return false
	}
	if p.grown != nil {
		defer p.grown.tree.Guard()
	}
	if p.Err() != nil {
		return false
	}
	facts := p.facts()
	split := splitPoint(facts, min(horizon, at))
	if !facts.startsBefore(split) || p.rare != nil && p.rare.refused == split {
		return false
	}
	gone, kept, went := partsAt(facts, split)
	if p.Err() != nil {
		return false // it was lost while it was read
	}
	if len(gone)+len(p.sealedPart().ids) > ids {
		p.makeRare().refused = split
		return false
	}
	total, waiting, count, last := facts.live(split), p.Waiting(), p.Len(), int64(0)
	for h := range p.HoldsIn(0, split) {
		if h.Start >= split {
			break
		}
		last = max(last, h.End)
	}
	keys := facts.pageKeys()
	if p.Err() != nil {
		return false
	}
	if p.makeRare().sealed == nil {
		p.rare.sealed = &sealed{}
	}
	s := p.rare.sealed
	if g := p.pager(); g != nil && g.Pages() != nil {
		s.pending = g.Pages()
	}
	s.gone = append(s.gone, keys...)
	p.rebuild(kept)
	s.waiting += uint64(waiting - p.Waiting())
	s.last, s.total, s.dirty, s.landing = max(s.last, last), s.total.Add(amountOf(&total)), true, true
	s.facts += uint64(count - p.Len())
	s.ids = append(s.ids, gone...)
	slices.SortFunc(s.ids, idHash.compare)
	s.ids = slices.Compact(s.ids)
	s.bound = s.bound.or(went)
	return true
}

// splitPoint returns the latest instant up to limit that no hold crosses (S9.4).
func splitPoint(facts representation, limit int64) int64 {
	for split := limit; ; {
		first := facts.firstCrossing(split)
		if first == forever {
			return split
		}
		split = first
	}
}

// partsAt returns the hashes of the hold_ids to remove, the facts to keep, and the
// bound of the facts without hold_id to remove (S9.5).
func partsAt(facts representation, split int64) (gone []idHash, kept []Fact, went bound) {
	goes := map[string]bool{}
	facts.eachID(func(id string, g *identified) bool {
		if g.held && g.hold.Start < split {
			goes[id] = true
			gone = append(gone, hashID(id))
		}
		return true
	})
	spent := facts.stopSpent(split)
	facts.eachFact(func(f Fact) bool {
		switch {
		case f.HoldID != "":
			if !goes[f.HoldID] {
				kept = append(kept, f)
			}
		case f.Start >= split, f.Start == 0 && (f.End > split || f.End == split && !spent):
			kept = append(kept, f)
		default:
			went = went.or(bound{f.about(), f.Start != 0})
		}
		return true
	})
	return gone, kept, went
}

// rebuild makes the pair one of these facts, all of which are to be stored.
func (p *Pair) rebuild(facts []Fact) {
	p.grown = nil
	p.dropRows()
	p.dirty = true
	for i := range facts {
		p.add(&facts[i])
	}
	if p.grown != nil {
		p.grown.tree.Mark()
	}
}

// readAgain makes a large pair read its pages from the store again, once the store
// has them as they are after sealing. Pages from before must not be taken for them.
func (s *sealed) readAgain(g *interval.Pager) {
	if !s.landing || s.dirty {
		return
	}
	if g.Pages() == nil {
		g.ReadFrom(s.pending)
	}
	s.landing, s.pending = false, nil
}

// dirtyPages yields the pages of a pair of which something was sealed since they were
// stored.
func (s *sealed) dirtyPages(p *Pair, yield func(Page) bool) {
	written := map[string]bool{}
	if !p.facts().dirtyPages(true, func(page Page) bool {
		written[string(page.Key)] = true
		return yield(page)
	}) {
		return
	}
	slices.SortFunc(s.gone, bytes.Compare)
	for _, key := range s.gone {
		if written[string(key)] {
			continue
		}
		written[string(key)] = true
		if !yield(Page{Key: bytes.Clone(key)}) {
			return
		}
	}
	yield(Page{Key: []byte{pageOfSealed}, Data: s.page()})
}

const sealedVersion = 2

func (s *sealed) page() []byte {
	b := binary.AppendUvarint([]byte{sealedVersion}, uint64(s.last))
	b = s.total.append(b)
	b = binary.AppendUvarint(b, s.waiting)
	b = binary.AppendUvarint(b, s.facts)
	b = binary.AppendUvarint(b, uint64(len(s.ids)))
	for _, id := range s.ids {
		b = append(b, id[:]...)
	}
	return b
}

func readSealed(data []byte) (*sealed, error) {
	r := coding.Reader{Rest: data}
	s := &sealed{}
	version := r.Byte()
	s.last = r.Time()
	r.Limbs(s.total.Score[:])
	r.Limbs(s.total.Held[:])
	s.waiting, s.facts = r.Uvarint(), r.Uvarint()
	n := r.Uvarint()
	if n > uint64(len(r.Rest))/uint64(len(idHash{})) {
		r.Bad = true
	}
	for i := uint64(0); i < n && !r.Bad; i++ {
		id := idHash(r.Bytes(uint64(len(idHash{}))))
		r.Bad = len(s.ids) > 0 && id.compare(s.ids[len(s.ids)-1]) <= 0
		s.ids = append(s.ids, id)
	}
	if version != sealedVersion || r.Bad || len(r.Rest) > 0 || s.facts == 0 {
		return nil, fmt.Errorf("%w: what was sealed of a pair", ErrCorrupt)
	}
	return s, nil
}

// openSealed reads the page of what was sealed of a stored pair, if there is one.
func (p *Pair) openSealed(pages []Page, more Pages) error {
	var data []byte
	listed := false // by the root
	for _, page := range pages {
		switch {
		case len(page.Key) == 1 && page.Key[0] == pageOfSealed:
			data = page.Data
		case len(page.Key) == 0 && IsRoot(page.Data):
			listed = interval.RootSealed(page.Data)
		}
	}
	if listed && data == nil && more != nil {
		var err error
		if data, err = more.Page([]byte{pageOfSealed}); err != nil {
			return err
		}
	}
	if len(data) == 0 && !listed {
		return nil
	}
	s, err := readSealed(data)
	if err == nil {
		p.makeRare().sealed = s
	}
	return err
}
