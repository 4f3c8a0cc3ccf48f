package hold

import (
	"math"
	"math/bits"
	"slices"
)

// A small pair is rows: facts without hold_id, each in 24 bytes, in the order in
// which a leaf of the timeline has them. Nothing that follows from them is kept;
// it is folded when somebody asks, which for so few takes no longer than to bring
// a timeline up to date. Most pairs stay small for good, and most events find
// their pair small.
//
// What it keeps is exactly what the first leaf would: a row for each entry, and
// so at most leafMax. A pair grows a timeline (see grow) where a leaf would be
// split, where a hold_id comes, and where a start has facts with and without
// weight, from which holds may follow that are no fact (see refold).
const smallMax = leafMax

// row is one line of a small pair: a hold fact or a stop, or the retract of one,
// or both.
type row struct {
	at   int64  // start of a hold, or the instant of a stop
	end  int64  // as the fact says; 0: open
	what uint64 // flags, and the weight, 1 where none was given
}

// The parts of row.what. A weight is a number of at most 53 bits, shifted left:
// 10^18 units to a weight of 1 leave 18 zero bits at least in whole weights, and
// so those and common fractions fit. One that does not fit is in the pair's
// list of wide ones, and the number is its place there. Either way equal weights
// of a pair have equal bits.
const (
	rowSent uint64 = 1 << iota // the fact itself is there
	rowRetracted
	rowHasWeight // the fact gave a weight
	rowStop
	rowWide // the weight is in the pair's list

	rowShiftAt  = 5
	rowNumberAt = 11
	rowShiftMax = 1<<(rowNumberAt-rowShiftAt) - 1
	rowBits     = 64 - rowNumberAt

	rowContent = ^(rowSent | rowRetracted) // with at and end: what tells rows apart
)

// rowOne is the weight of a fact that gives none.
var rowOne, _ = packWeight(&One)

// packWeight is the weight as rows have it, where it fits.
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

// weightOf is the weight of a row.
func (p *Pair) weightOf(r *row) Weight {
	number := r.what >> rowNumberAt
	if r.what&rowWide != 0 {
		return p.aside.wide[number]
	}
	shift := uint(r.what>>rowShiftAt) % 64
	return Weight{number << shift, number >> (64 - shift)}
}

// pack is the weight as rows of this pair have it; one that is wide is kept.
func (p *Pair) pack(w *Weight) uint64 {
	if packed, fits := packWeight(w); fits {
		return packed
	}
	a := p.beside()
	i := slices.Index(a.wide, *w)
	if i < 0 {
		i = len(a.wide)
		a.wide = append(a.wide, *w)
	}
	return uint64(i)<<rowNumberAt | rowWide
}

func (r *row) is(flag uint64) bool { return r.what&flag != 0 }

// active says whether a fact, or a stop, was sent and is not retracted.
func (r *row) active() bool { return r.what&(rowSent|rowRetracted) == rowSent }

// waits says whether a retract has not found its fact.
func (r *row) waits() bool { return r.what&(rowSent|rowRetracted) == rowRetracted }

// rowOf is a fact without hold_id as a row.
func (p *Pair) rowOf(f *Fact) row {
	switch f.Kind {
	case KindStop:
		return row{at: f.End, what: rowStop | rowSent}
	case KindRetractStop:
		return row{at: f.End, what: rowStop | rowRetracted}
	}
	r := row{at: f.Start, end: f.End}
	if f.HasWeight {
		r.what = p.pack(&f.Weight) | rowHasWeight
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
func (p *Pair) rowBefore(a, b *row) bool {
	switch {
	case a.at != b.at:
		return a.at < b.at
	case (a.what^b.what)&rowStop != 0:
		return a.is(rowStop)
	case (a.what^b.what)&rowHasWeight != 0:
		return b.is(rowHasWeight)
	}
	if (a.what^b.what)&rowContent != 0 {
		return p.weightOf(a).Cmp(p.weightOf(b)) < 0
	}
	return a.end < b.end
}

// addRow adds a fact without hold_id to a small pair. small is false where the
// pair has to grow first; then nothing was added.
func (p *Pair) addRow(f *Fact) (added, small bool) {
	r := p.rowOf(f)
	n := len(p.rows)
	if p.last < r.at {
		// Most of what comes is newer than all that is there.
		if n == smallMax {
			return false, false
		}
		p.insertRow(n, r)
		return true, true
	}
	i := p.searchRow(&r)
	if i < n {
		if there := &p.rows[i]; there.at == r.at && there.end == r.end && (there.what^r.what)&rowContent == 0 {
			flag := r.what &^ rowContent
			if there.is(flag) {
				return false, true
			}
			there.what |= flag
			p.dirty = true
			return true, true
		}
	}
	if n == smallMax || p.mixesWeights(i, &r) {
		return false, false
	}
	p.insertRow(i, r)
	return true, true
}

// searchRow is the place of the first row that is not before r.
func (p *Pair) searchRow(r *row) int {
	lo, n := 0, len(p.rows)
	for n > 1 {
		half := n / 2
		if p.rows[lo+half-1].at < r.at {
			lo += half
		}
		n -= half
	}
	for lo < len(p.rows) && p.rowBefore(&p.rows[lo], r) {
		lo++
	}
	return lo
}

// mixesWeights says whether of the facts of one start, once r is put at i, some
// would give a weight and some none.
func (p *Pair) mixesWeights(i int, r *row) bool {
	mixes := func(o *row) bool {
		return o.at == r.at && (o.what|r.what)&rowStop == 0 && (o.what^r.what)&rowHasWeight != 0
	}
	return i > 0 && mixes(&p.rows[i-1]) || i < len(p.rows) && mixes(&p.rows[i])
}

// fewRows is how many rows lie in the pair itself: no more memory to find, and
// none to allocate, for a holder of a few holds.
const fewRows = 5

// rowSteps are the sizes that rows grow by beyond the few: the last that fit a
// size class of the allocator, with little slack while the pair is small, since
// slack costs memory.
var rowSteps = [...]int{10, 21, 42, smallMax}

func (p *Pair) insertRow(i int, r row) {
	n := len(p.rows)
	if n == cap(p.rows) {
		p.moreRows()
	}
	p.rows = p.rows[:n+1]
	if i < n {
		copy(p.rows[i+1:], p.rows[i:n])
	}
	p.rows[i] = r
	p.last = max(p.last, r.at)
	p.dirty = true
}

func (p *Pair) moreRows() {
	if p.rows == nil {
		p.rows = p.few[:0]
		return
	}
	for _, size := range rowSteps {
		if size > len(p.rows) {
			p.rows = append(make([]row, 0, size), p.rows...)
			return
		}
	}
}

// entryOf is the row as a timeline has it before anything follows from it.
func (p *Pair) entryOf(r *row) entry {
	e := entry{at: r.at, end: r.end, kind: entryFact}
	if r.is(rowStop) {
		e.kind = entryStop
	} else {
		e.weight = p.weightOf(r)
	}
	if r.is(rowSent) {
		e.flags |= flagSent
	}
	if r.is(rowRetracted) {
		e.flags |= flagRetracted
	}
	if r.is(rowHasWeight) {
		e.flags |= flagHasWeight
	}
	return e
}

// grow gives a small pair its timeline.
func (p *Pair) grow() {
	t := &timeline{root: newLeaf()}
	t.root.leftmost = true
	if n := len(p.rows); n > 0 {
		f := p.fold()
		t.waiting, t.facts, t.size = f.waiting, p.countRows(), n*entrySize
		t.root.entries = make([]entry, n, n+1)
		for i := range p.rows {
			t.root.entries[i] = f.entry(p, i)
		}
		t.root.areas[endedHolds] = p.settledRows(&f, math.MaxInt64)
		t.root.areas[allHolds] = p.liveRows(&f, MaxTime)
		t.root.summarize(p.policy)
	}
	p.timeline, p.rows = t, nil
	if p.aside != nil {
		p.aside.wide = nil
	}
	if p.dirty {
		p.dirty = false
		p.soil(t.root)
	}
}

// countRows is how many facts the rows stand for.
func (p *Pair) countRows() int {
	n := 0
	for i := range p.rows {
		n += bits.OnesCount64(p.rows[i].what &^ rowContent)
	}
	return n
}
