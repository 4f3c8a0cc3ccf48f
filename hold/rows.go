package hold

import (
	"math/bits"
	"slices"
	"unsafe"

	"holdmetrics/hold/internal/interval"
)

// rows is a small pair, as the representation that keeps its facts.
//
// Each row has a fact without hold_id in 24 bytes, in the order in which a leaf of
// the timeline has them. Nothing that follows from them is kept: it is folded when
// somebody asks, which for so few takes no longer than to keep a timeline up to
// date. Most pairs stay small for good, and most events find their pair small.
//
// There is a row for each entry that the first leaf would have, so at most smallMax.
// A pair grows a timeline (see Pair.grow) when that leaf would be split, when a fact
// has a hold_id, and when a start would be mixed (see start.go).
type rows Pair

const smallMax = interval.LeafMax

// row is one line of a small pair: a hold fact or a stop, or the retract of one, or
// both.
type row struct {
	at   int64  // start of a hold, or the instant of a stop
	end  int64  // as the fact states it; 0: open
	what uint64 // flags, and the weight, 1 if none was stated
}

// The parts of row.what. A weight is a number of at most 53 bits, shifted left: a
// weight of 1 is 10^18 units, so whole weights have at least 18 zero bits, and they
// and common fractions fit. A weight that does not fit is wide: it is in the pair's
// list of wide weights, and the number is its place there. Either way equal weights
// of a pair have equal bits.
const (
	rowSent      uint64 = 1 << iota // the fact was sent
	rowRetracted                    // its retract was sent
	rowHasWeight                    // the fact states a weight
	rowStop
	rowWide // the weight is in the pair's list

	rowShiftAt  = 5
	rowNumberAt = 11
	rowShiftMax = 1<<(rowNumberAt-rowShiftAt) - 1
	rowBits     = 64 - rowNumberAt

	rowContent = ^(rowSent | rowRetracted) // with at and end: tells rows apart
)

// rowOne is the weight of a fact that states none.
var rowOne, _ = packWeight(&One)

// packWeight returns the weight as rows have it, if it fits.
func packWeight(w *Weight) (packed uint64, fits bool) {
	if w[2]|w[3] != 0 {
		return 0, false
	}
	if w[0]|w[1] == 0 {
		return 0, true
	}
	shift := uint(rowShiftMax)
	if w[0] != 0 {
		shift = uint(bits.TrailingZeros64(w[0]))
	}
	number := w[0]>>shift | w[1]<<(64-shift)
	if w[1]>>shift != 0 || number>>rowBits != 0 {
		return 0, false
	}
	return number<<rowNumberAt | uint64(shift)<<rowShiftAt, true
}

// weightOf returns the weight of a row.
func (s *rows) weightOf(r *row) interval.Weight {
	number := r.what >> rowNumberAt
	if r.what&rowWide != 0 {
		return interval.Weight(s.rare.wide[number])
	}
	shift := uint(r.what>>rowShiftAt) % 64
	return interval.Weight{number << shift, number >> (64 - shift)}
}

// pack returns the weight as rows of this pair have it. A wide one is kept.
func (s *rows) pack(w *Weight) uint64 {
	if packed, fits := packWeight(w); fits {
		return packed
	}
	a := (*Pair)(s).makeRare()
	i := slices.Index(a.wide, *w)
	if i < 0 {
		i = len(a.wide)
		a.wide = append(a.wide, *w)
	}
	return uint64(i)<<rowNumberAt | rowWide
}

func (r *row) is(flag uint64) bool { return r.what&flag != 0 }

// active reports whether a fact was sent and not retracted (S4.1).
func (r *row) active() bool { return r.what&(rowSent|rowRetracted) == rowSent }

// waits reports whether a retract has not found its fact (S5.1).
func (r *row) waits() bool { return r.what&(rowSent|rowRetracted) == rowRetracted }

// rowOf returns a fact without hold_id as a row.
func (s *rows) rowOf(f *Fact) row {
	switch f.Kind {
	case KindStop:
		return row{at: f.End, what: rowStop | rowSent}
	case KindRetractStop:
		return row{at: f.End, what: rowStop | rowRetracted}
	}
	r := row{at: f.Start, end: f.End}
	if f.HasWeight {
		r.what = s.pack(&f.Weight) | rowHasWeight
	} else {
		r.what = rowOne
	}
	if f.Kind == KindRetractHold {
		r.what |= rowRetracted
	} else {
		r.what |= rowSent
	}
	return r
}

// before is the order of rows, which is that of the timeline's keys.
func (s *rows) before(a, b *row) bool {
	switch {
	case a.at != b.at:
		return a.at < b.at
	case (a.what^b.what)&rowStop != 0:
		return a.is(rowStop)
	case (a.what^b.what)&rowHasWeight != 0:
		return b.is(rowHasWeight)
	}
	if (a.what^b.what)&rowContent != 0 {
		v, w := s.weightOf(a), s.weightOf(b)
		return v.Cmp(&w) < 0
	}
	return a.end < b.end
}

// add adds a fact without hold_id. fits is false if the pair has to grow first; then
// nothing was added.
func (s *rows) add(f *Fact) (added, fits bool) {
	r := s.rowOf(f)
	n := len(s.list)
	if s.last < r.at {
		// Most facts are newer than all that are there.
		if n == smallMax {
			return false, false
		}
		s.insert(n, r)
		return true, true
	}
	i := s.search(&r)
	if i < n {
		if there := &s.list[i]; there.at == r.at && there.end == r.end && (there.what^r.what)&rowContent == 0 {
			flag := r.what &^ rowContent
			if there.is(flag) {
				return false, true
			}
			there.what |= flag
			s.dirty = true
			return true, true
		}
	}
	if n == smallMax || s.mixes(i, &r) {
		return false, false
	}
	s.insert(i, r)
	return true, true
}

// search returns the place of the first row that is not before r.
func (s *rows) search(r *row) int {
	lo, n := 0, len(s.list)
	for n > 1 {
		half := n / 2
		if s.list[lo+half-1].at < r.at {
			lo += half
		}
		n -= half
	}
	for lo < len(s.list) && s.before(&s.list[lo], r) {
		lo++
	}
	return lo
}

// mixes reports whether the start of r would be mixed once r is inserted at i.
func (s *rows) mixes(i int, r *row) bool {
	mixes := func(o *row) bool {
		return o.at == r.at && (o.what|r.what)&rowStop == 0 && (o.what^r.what)&rowHasWeight != 0
	}
	return i > 0 && mixes(&s.list[i-1]) || i < len(s.list) && mixes(&s.list[i])
}

// fewRows is how many rows lie in the pair itself. A holder of a few holds needs no
// further allocation.
const fewRows = 5

// rowSteps are the sizes that rows grow by beyond the few: the last that fit a size
// class of the allocator, with little slack while the pair is small.
var rowSteps = [...]int{10, 21, 42, smallMax}

func (s *rows) insert(i int, r row) {
	n := len(s.list)
	if n == cap(s.list) {
		s.more()
	}
	s.list = s.list[:n+1]
	if i < n {
		copy(s.list[i+1:], s.list[i:n])
	}
	s.list[i] = r
	s.last = max(s.last, r.at)
	s.dirty = true
}

// more makes room for another row.
func (s *rows) more() {
	if s.list == nil {
		s.list = s.few[:0]
		return
	}
	for _, size := range rowSteps {
		if size > len(s.list) {
			s.list = append(make([]row, 0, size), s.list...)
			return
		}
	}
}

// entryOf returns the row as a timeline has it before anything follows from it.
func (s *rows) entryOf(r *row) interval.Entry {
	e := interval.Entry{At: r.at, End: r.end, Kind: interval.EntryFact}
	if r.is(rowStop) {
		e.Kind = interval.EntryStop
	} else {
		e.Weight = s.weightOf(r)
	}
	if r.is(rowSent) {
		e.Flags |= interval.Sent
	}
	if r.is(rowRetracted) {
		e.Flags |= interval.Retracted
	}
	if r.is(rowHasWeight) {
		e.Flags |= interval.HasWeight
	}
	return e
}

func (s *rows) count() int {
	n := 0
	for i := range s.list {
		n += bits.OnesCount64(s.list[i].what &^ rowContent)
	}
	return n
}

func (s *rows) eachFact(yield func(Fact) bool) bool {
	for i := range s.list {
		e := s.entryOf(&s.list[i])
		if !entryFacts(&e, yield) {
			return false
		}
	}
	return true
}

func (s *rows) bytes() int {
	n := int(unsafe.Sizeof(*s))
	if cap(s.list) > fewRows {
		n += cap(s.list) * int(unsafe.Sizeof(row{}))
	}
	return n
}

// dirtyPages yields the one page of a small pair: what the first leaf's would be.
func (s *rows) dirtyPages(_ bool, yield func(Page) bool) bool {
	if !s.dirty {
		return true
	}
	data := append(make([]byte, 0, 1+32*len(s.list)), pageFacts)
	s.eachFact(func(f Fact) bool {
		data = f.Append(data)
		return true
	})
	return yield(Page{Data: data})
}

func (s *rows) clearDirty()                                { s.dirty = false }
func (s *rows) pageKeys() [][]byte                         { return nil }
func (s *rows) err() error                                 { return nil }
func (s *rows) eachID(func(id string, g *identified) bool) {}
func (s *rows) id(string) *identified                      { return nil }
