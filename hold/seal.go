package hold

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// Sealing makes what was held before a horizon final. From the moment on at which a
// horizon holds, every fact is asked for with [Pair.Admits], and one that would change
// what was held before it is refused. What is held before the horizon then stays as it
// is for ever, and need not be kept as facts: [Pair.Seal] puts a total in their place.
//
// What goes is cut off at an instant, the cut, that no hold crosses: the horizon, or
// where a hold reaches past it, the start of that hold, or of one that reaches past
// that. Before the cut, nothing that is still to come can make a difference:
//
//   - Facts without hold_id of a start before the cut come to holds that have ended
//     by it. None is still open, so no stop behind the cut has to do with them, nor
//     stops before it with holds behind it. That is why a cut is no matter of single
//     holds.
//   - What carries a hold_id goes where its hold started before the cut. That it
//     existed is remembered, as a hash, so that nothing can be said of it again. The
//     hash is one of which nobody can find two ids alike: else an id could be made
//     that is refused once the pair is sealed, and not before.
//   - At the cut itself, facts stay, but for a stop that ended a hold which goes.
//
// Under either policy the curve before the cut and that behind it are of different
// holds, so the total is added to whatever the kept facts come to: as of the cut and
// later, every figure is what it would be if nothing had been sealed. Before it,
// figures mean nothing any more.
//
// What Admits says depends on the horizon and on facts that sealing keeps, so it is
// the same whether a pair was sealed already, was not, or never is.

// sealed is what a pair has of the facts that went.
type sealed struct {
	last    int64 // the latest end of a hold that went; 0: none was a hold
	total   Amount
	waiting uint64   // facts that waited, and went
	facts   uint64   // that went
	ids     []idHash // of hold_ids that went, ascending
	bound   bound    // of the facts without hold_id that went; see SealedFacts

	dirty   bool
	gone    [][]byte // keys of pages that are to be removed
	landing bool     // what is stored may still have pages that are to be removed
	pending Pages    // where pages can be read once they are
}

// Sealed is what a pair has in place of facts that were sealed.
type Sealed struct {
	Last  int64  // ns: the latest end of a hold in it; 0: it has none
	Total Amount // of all those holds, by the policy alone
	Facts uint64 // how many it stands for
}

var notSealed = &sealed{}

// sealedPart is what the pair has of the facts that went; never nil, and not to be
// changed.
func (p *Pair) sealedPart() *sealed {
	if p.aside == nil || p.aside.sealed == nil {
		return notSealed
	}
	return p.aside.sealed
}

// Sealed is what was sealed of the pair.
func (p *Pair) Sealed() Sealed {
	s := p.sealedPart()
	return Sealed{Last: s.last, Total: s.total, Facts: s.facts}
}

// Empty says whether nothing is known of the pair, neither facts nor what was sealed.
func (p *Pair) Empty() bool { return p.Len() == 0 && p.sealedPart().facts == 0 }

// Seals says whether what is counted by the rule can be sealed: a total does not
// tell how long what is in it has lasted, or when.
func (r *Rule) Seals() bool {
	return r.Shortest == 0 && len(r.Boosts) == 0 && r.SeasonFrom == 0 && r.SeasonTo == 0
}

// Sealed is what was sealed of a pair, by the rule.
func (r *Rule) Sealed(p *Pair) Sealed {
	s := p.Sealed()
	s.Total = r.scale(s.Total)
	return s
}

// Seal puts a total in the place of what was held before the horizon, as far as no
// hold reaches past it, and says whether anything changed. at is the instant of the
// figures that were told last, or any earlier one: what had not ended then stays, so
// that those figures stay true. The horizon must be one that holds (see [Pair.Admits]).
//
// It costs what the pair has where something goes, and little where nothing does.
func (p *Pair) Seal(horizon, at int64) (changed bool) {
	return p.SealAtMost(horizon, at, math.MaxInt)
}

// SealAtMost is Seal, but changes nothing where the pair would have more than a number
// of hold_ids of which something was sealed.
func (p *Pair) SealAtMost(horizon, at int64, ids int) (changed bool) {
	limit := min(horizon, at)
	if p.Len() == 0 {
		return false
	}
	defer p.guard()
	if p.failed() {
		return false
	}
	cut := p.cutBefore(limit)
	if !p.anyBefore(cut) || p.aside != nil && p.aside.refused == cut {
		return false
	}
	gone, kept, went := p.partsAt(cut)
	if p.failed() {
		return false // it was lost while it was read
	}
	if len(gone)+len(p.sealedPart().ids) > ids {
		p.beside().refused = cut
		return false
	}
	total, waiting, facts, last := p.unsealedAt(cut), p.Waiting(), p.Len(), int64(0)
	for h := range p.HoldsIn(0, cut) {
		if h.Start >= cut {
			break
		}
		last = max(last, h.End)
	}
	keys := p.pageKeys()
	if p.failed() {
		return false
	}
	if p.beside().sealed == nil {
		p.aside.sealed = &sealed{}
	}
	s := p.aside.sealed
	if p.Large() && p.pager.pages != nil {
		s.pending = p.pager.pages
	}
	s.gone = append(s.gone, keys...)
	p.rebuild(kept)
	s.waiting += uint64(waiting - p.Waiting())
	s.last, s.total, s.dirty, s.landing = max(s.last, last), s.total.Add(total), true, true
	s.facts += uint64(facts - p.Len())
	s.ids = append(s.ids, gone...)
	slices.SortFunc(s.ids, idHash.compare)
	s.ids = slices.Compact(s.ids)
	s.bound = s.bound.or(went)
	return true
}

// cutBefore is the latest instant up to limit that no hold crosses.
func (p *Pair) cutBefore(limit int64) int64 {
	if p.timeline == nil {
		f := p.fold()
		for cut := limit; ; {
			first := p.firstRowOver(&f, cut)
			if first == forever {
				return cut
			}
			cut = first
		}
	}
	for cut := limit; ; {
		first := p.root.firstOver(cut)
		if first == forever {
			return cut
		}
		cut = first
	}
}

// firstRowOver is firstOver of rows.
func (p *Pair) firstRowOver(f *fold, t int64) int64 {
	for i := range p.rows {
		r := &p.rows[i]
		if r.at >= t {
			break
		}
		if f.holds>>i&1 == 0 {
			continue
		}
		if end := f.endOf(i, r); end == 0 || end > t {
			return r.at
		}
	}
	return forever
}

// firstOver is the earliest start of a hold, ended or open, that starts before t
// and ends after it, or forever.
func (n *node) firstOver(t int64) int64 {
	if n.lastEnd[allHolds] <= t {
		return forever
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.at >= t {
			break
		}
		if at := kid.firstOver(t); at != forever {
			return at
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.at >= t {
			break
		}
		if e.is(flagCovers) && e.effEndOrForever() > t {
			return e.at
		}
	}
	return forever
}

// anyBefore says whether anything stands before t.
func (p *Pair) anyBefore(t int64) bool {
	if p.timeline == nil {
		return len(p.rows) > 0 && p.rows[0].at < t
	}
	found := false
	p.root.visit(&key{}, func(e *entry) bool {
		found = e.at < t
		return false
	})
	return found
}

// partsAt gives the hold_ids that go, as hashes, the facts that stay, and how far
// those without hold_id go.
func (p *Pair) partsAt(cut int64) (gone []idHash, kept []Fact, went bound) {
	goes := map[string]bool{}
	if p.timeline != nil {
		p.eachID(func(id string, g *identified) bool {
			if g.held && g.hold.Start < cut {
				goes[id] = true
				gone = append(gone, hashID(id))
			}
			return true
		})
	}
	spent := p.spentStop(cut)
	for f := range p.Facts() {
		switch {
		case f.HoldID != "":
			if !goes[f.HoldID] {
				kept = append(kept, f)
			}
		case f.Start >= cut, f.Start == 0 && (f.End > cut || f.End == cut && !spent):
			kept = append(kept, f)
		default:
			went = went.or(bound{f.about(), f.Start != 0})
		}
	}
	return gone, kept, went
}

// spentStop says whether the stop of that instant ended a hold that began before it.
func (p *Pair) spentStop(at int64) bool {
	if p.timeline == nil {
		f := p.fold()
		for i := range p.rows {
			if r := &p.rows[i]; r.at == at && r.is(rowStop) {
				return f.ended[i] != 0 && p.rows[f.ended[i]-1].at < at
			}
		}
		return false
	}
	e := p.root.find(&key{at: at, kind: entryStop})
	return e != nil && e.is(flagMatched) && e.eff < at
}

// rebuild makes the pair one of these facts; all of it is to be stored.
func (p *Pair) rebuild(facts []Fact) {
	p.timeline, p.rows, p.last, p.dirty = nil, nil, 0, true
	p.aside.wide = nil
	for i := range facts {
		p.add(&facts[i])
	}
	switch {
	case p.timeline == nil:
	case p.pager == nil:
		p.soil(p.root)
	default:
		p.root.changed()
	}
}

// pageKeys are the keys of all pages that are stored of the pair, or may be on
// their way, but for the one with the empty key.
func (p *Pair) pageKeys() (keys [][]byte) {
	if p.timeline == nil {
		return nil
	}
	p.eachID(func(id string, _ *identified) bool {
		keys = append(keys, idPageKey(id))
		return true
	})
	if p.pager == nil {
		return keys
	}
	keys = append(keys, p.pager.obsolete...)
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
	nodes(p.root)
	return keys
}

// readAgain reads a large pair's pages from the store again, once it has them as
// they are after sealing: those of before are not to be taken for them.
func (p *Pair) readAgain() {
	s := p.sealedPart()
	if !s.landing || s.dirty {
		return
	}
	if p.pager.pages == nil {
		p.pager.pages = s.pending
	}
	s.landing, s.pending = false, nil
}

// dirtyPages gives the pages of a pair of which something was sealed since they were stored.
func (s *sealed) dirtyPages(p *Pair, yield func(Page) bool) {
	written := map[string]bool{}
	if !p.changedPages(func(page Page) bool {
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
	r := reader{b: data}
	s := &sealed{}
	version := r.byte()
	s.last = r.time()
	r.limbs(s.total.Score[:])
	r.limbs(s.total.Held[:])
	s.waiting, s.facts = r.uvarint(), r.uvarint()
	n := r.uvarint()
	if n > uint64(len(r.b))/uint64(len(idHash{})) {
		r.bad = true
	}
	for i := uint64(0); i < n && !r.bad; i++ {
		id := idHash(r.bytes(uint64(len(idHash{}))))
		r.bad = len(s.ids) > 0 && id.compare(s.ids[len(s.ids)-1]) <= 0
		s.ids = append(s.ids, id)
	}
	if version != sealedVersion || r.bad || len(r.b) > 0 || s.facts == 0 {
		return nil, fmt.Errorf("%w: what was sealed of a pair", ErrCorrupt)
	}
	return s, nil
}

// openSealed reads what was sealed of a pair that was stored.
func (p *Pair) openSealed(pages []Page, more Pages) error {
	var data []byte
	told := false // by the root
	for _, page := range pages {
		switch {
		case len(page.Key) == 1 && page.Key[0] == pageOfSealed:
			data = page.Data
		case len(page.Key) == 0 && IsRoot(page.Data):
			told = page.Data[1]&nodeSealed != 0
		}
	}
	if told && data == nil && more != nil {
		var err error
		if data, err = more.Page([]byte{pageOfSealed}); err != nil {
			return err
		}
	}
	if len(data) == 0 && !told {
		return nil
	}
	s, err := readSealed(data)
	if err == nil {
		p.beside().sealed = s
	}
	return err
}
