package hold

import (
	"math"
	"slices"
	"unsafe"

	"holdmetrics/hold/internal/interval"
)

// identified is what a pair keeps of one hold_id: its facts, each kind sorted for the
// questions about it, and the hold that they come to (S3.1 to S3.6). Facts of other
// ids, and those without one, have no part in it (S2.6). Adding a fact
// costs a few searches among the facts of its id, and moving a slice.
type identified struct {
	holds        []Fact       // the greatest first: revision, ended over open, start, end, weight
	retracts     []uint64     // revisions, the greatest first
	stops        []idStop     // by end, then revision
	stopRetracts []idStop     // by end, then revision
	active       []idStop     // the stops that are not retracted: the greatest revision first, then the earliest end
	unsent       uint64       // stopRetracts whose stop was never sent
	hold         Hold         // without its HoldID
	held         bool         // hold is there
	key          interval.Key // of its entry in the timeline
	waiting      uint64
	facts        int
	dirty        bool
	inFlight     bool // its page is being stored
	used         bool // since Trim last passed
}

type idStop struct {
	revision uint64
	end      int64
}

// compareHolds orders the hold facts of one id, the greatest first (S3.1, S3.3).
func compareHolds(a, b Fact) int {
	switch {
	case a.Revision != b.Revision:
		return compareUint(b.Revision, a.Revision)
	case (a.End == 0) != (b.End == 0):
		if a.End != 0 {
			return -1
		}
		return 1
	case a.Start != b.Start:
		return cmpInt(b.Start, a.Start)
	case a.End != b.End:
		return cmpInt(b.End, a.End)
	}
	if c := b.Weight.Cmp(a.Weight); c != 0 {
		return c
	}
	if a.HasWeight != b.HasWeight {
		if a.HasWeight {
			return -1
		}
		return 1
	}
	return 0
}

// compareActive orders stops by which one takes precedence (S3.5).
func compareActive(a, b idStop) int {
	if a.revision != b.revision {
		return compareUint(b.revision, a.revision)
	}
	if a.end != b.end {
		return cmpInt(a.end, b.end)
	}
	return 0
}

// compareStops orders stops by end, then revision.
func compareStops(a, b idStop) int {
	if a.end != b.end {
		return cmpInt(a.end, b.end)
	}
	return compareUint(a.revision, b.revision)
}

// between returns the part of stops, ordered by compareStops, that has that end and
// a revision in [from, to].
func between(stops []idStop, end int64, from, to uint64) []idStop {
	lo, _ := slices.BinarySearchFunc(stops, idStop{from, end}, compareStops)
	hi, last := slices.BinarySearchFunc(stops, idStop{to, end}, compareStops)
	if last {
		hi++
	}
	return stops[lo:max(lo, hi)]
}

func compareUint(a, b uint64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

// insertSorted inserts v into s and reports whether it was not there.
func insertSorted[T any](s []T, v T, compare func(a, b T) int) ([]T, bool) {
	i, there := slices.BinarySearchFunc(s, v, compare)
	if there {
		return s, false
	}
	return slices.Insert(s, i, v), true
}

// entry returns the id's hold as an entry of the timeline, which does not count yet.
func (g *identified) entry() interval.Entry {
	return interval.Entry{
		At: g.hold.Start, End: g.hold.End, Weight: interval.Weight(g.hold.Weight), Kind: interval.EntryID, Eff: g.key.Ord,
	}
}

// keyAt returns the key of the id's hold in the timeline.
func (g *identified) keyAt(ord int64) interval.Key {
	e := g.entry()
	e.Eff = ord
	return e.Key()
}

// bytes returns about how many bytes are kept of that hold_id.
func (g *identified) bytes(id string) int {
	return len(id) + int(unsafe.Sizeof(*g)) + 64 + g.facts*int(unsafe.Sizeof(Fact{}))
}

// idOrd tells equal holds of different ids apart in the timeline, in the same way in
// every run. It is half of the FNV-1a of the id.
func idOrd[T string | []byte](id T) int64 {
	h := uint64(14695981039346656037)
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	return int64(h >> 1)
}

// add adds a fact of this id and reports whether it was not there.
func (g *identified) add(f *Fact) (added bool) {
	switch f.Kind {
	case KindHold:
		fact := *f
		fact.HoldID = ""
		g.holds, added = insertSorted(g.holds, fact, compareHolds)
	case KindRetractHold:
		g.retracts, added = insertSorted(g.retracts, f.Revision, func(a, b uint64) int { return compareUint(b, a) })
	case KindStop:
		added = g.addStop(idStop{f.Revision, f.End})
	case KindRetractStop:
		added = g.addStopRetract(idStop{f.Revision, f.End})
	}
	return added
}

func (g *identified) addStop(s idStop) bool {
	same := between(g.stops, s.end, 0, math.MaxUint64)
	// Retracts of that end which waited for a stop of their revision or a lower
	// one wait no longer. Those above an earlier stop did not wait.
	switch {
	case len(same) == 0:
		g.unsent -= uint64(len(between(g.stopRetracts, s.end, s.revision, math.MaxUint64)))
	case same[0].revision > s.revision:
		g.unsent -= uint64(len(between(g.stopRetracts, s.end, s.revision, same[0].revision-1)))
	}
	var added bool
	if g.stops, added = insertSorted(g.stops, s, compareStops); !added {
		return false
	}
	if len(between(g.stopRetracts, s.end, s.revision, math.MaxUint64)) == 0 {
		g.active, _ = insertSorted(g.active, s, compareActive)
	}
	return true
}

func (g *identified) addStopRetract(r idStop) bool {
	var added bool
	if g.stopRetracts, added = insertSorted(g.stopRetracts, r, compareStops); !added {
		return false
	}
	if len(between(g.stops, r.end, 0, r.revision)) == 0 {
		g.unsent++
		return true
	}
	// Stops below an earlier retract are gone already.
	from := uint64(0)
	if lower := between(g.stopRetracts, r.end, 0, r.revision); len(lower) > 1 {
		from = lower[len(lower)-2].revision + 1
	}
	for _, s := range between(g.stops, r.end, from, r.revision) {
		if i, there := slices.BinarySearchFunc(g.active, s, compareActive); there {
			g.active = slices.Delete(g.active, i, i+1)
		}
	}
	return true
}

// fold returns the hold that the facts of the id come to, if there is one.
func (g *identified) fold() (h Hold, held bool) {
	if len(g.holds) == 0 {
		return Hold{}, false
	}
	greatest := &g.holds[0]
	r := greatest.Revision
	if len(g.retracts) > 0 && g.retracts[0] >= r { // S3.2
		return Hold{}, false
	}
	h = Hold{Start: greatest.Start, End: greatest.End, Weight: greatest.Weight}
	if !greatest.HasWeight {
		// S3.4
		h.Weight = One
		given := false
		for i := range g.holds {
			f := &g.holds[i]
			if f.Revision != r {
				break
			}
			if f.HasWeight && (!given || h.Weight.Cmp(f.Weight) < 0) {
				h.Weight, given = f.Weight, true
			}
		}
	}
	for _, s := range g.active {
		if h.End != 0 && s.revision <= r {
			break // its own end takes precedence (S3.5)
		}
		if s.end >= h.Start {
			h.End = s.end
			break
		}
	}
	return h, true
}

// countWaiting returns how many facts of the id have nothing to act on (S5.1).
func (g *identified) countWaiting() uint64 {
	n := g.unsent
	if len(g.holds) == 0 {
		n += uint64(len(g.retracts) + len(g.active))
	}
	return n
}

// eachFact yields the facts of the id in a fixed order.
func (g *identified) eachFact(id string, yield func(Fact) bool) bool {
	for _, f := range g.holds {
		f.HoldID = id
		if !yield(f) {
			return false
		}
	}
	for _, r := range g.retracts {
		if !yield(Fact{Kind: KindRetractHold, HoldID: id, Revision: r}) {
			return false
		}
	}
	for _, s := range g.stops {
		if !yield(Fact{Kind: KindStop, HoldID: id, Revision: s.revision, End: s.end}) {
			return false
		}
	}
	for _, s := range g.stopRetracts {
		if !yield(Fact{Kind: KindRetractStop, HoldID: id, Revision: s.revision, End: s.end}) {
			return false
		}
	}
	return true
}

// clone returns a copy that add may change.
func (g *identified) clone() *identified {
	return &identified{
		holds: slices.Clone(g.holds), retracts: slices.Clone(g.retracts), stops: slices.Clone(g.stops),
		stopRetracts: slices.Clone(g.stopRetracts), active: slices.Clone(g.active),
	}
}
