package hold

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"unsafe"

	"holdmetrics/hold/internal/interval"
)

// Policy is how overlapping holds of a pair count (S1.3).
type Policy uint8

// The policies.
const (
	Merge Policy = Policy(interval.Merge) // at every instant the largest weight counts
	Sum   Policy = Policy(interval.Sum)   // at every instant the weights add up
)

// String returns the policy's name in rules and flags.
func (p Policy) String() string {
	switch p {
	case Merge:
		return "merge"
	case Sum:
		return "sum"
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// ParsePolicy reads a policy's name.
func ParsePolicy(name string) (Policy, error) {
	switch name {
	case "merge":
		return Merge, nil
	case "sum":
		return Sum, nil
	}
	return 0, fmt.Errorf("hold: policy %q is not one of merge, sum", name)
}

// Hold is an effective hold (S1.1): what the facts of a pair come to (S2.5). As of an
// instant T it covers [Start, min(End, T)), or [Start, T) if it is open (S1.2).
type Hold struct {
	Start, End int64  // ns; an End of 0: open
	Weight     Weight // 1 if none was stated
	HoldID     string // empty: none
}

// compareHold is the order of [Pair.Holds].
func compareHold(a, b Hold) int {
	switch {
	case a.Start != b.Start:
		return cmpInt(a.Start, b.Start)
	case a.End != b.End:
		return cmpInt(a.End, b.End)
	}
	if c := a.Weight.Cmp(b.Weight); c != 0 {
		return c
	}
	return strings.Compare(a.HoldID, b.HoldID)
}

// cmpInt compares numbers that differ.
func cmpInt(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

// yieldSorted sorts holds and yields them. It reports whether yield never returned
// false.
func yieldSorted(holds []Hold, yield func(Hold) bool) bool {
	slices.SortFunc(holds, compareHold)
	for _, h := range holds {
		if !yield(h) {
			return false
		}
	}
	return true
}

// forever stands for the end of an open hold where ends are compared.
const forever = interval.Forever

// Pair is what is kept of one token with one holder: a set of facts, the effective
// holds that follow from it, and their figures.
//
// A Pair begins small, with its facts as rows, and grows a timeline once it is too
// large for rows, or its facts are too entangled. One with many facts is large: parts
// of it can leave memory. A new fact costs O(log n + the holds that overlap what it
// changes). Facts of one start, if one of them states no weight, count as touched
// together.
//
// A Pair is not safe for concurrent use, and must not be copied.
type Pair struct {
	grown *timeline // nil: the pair is small

	// What follows is of a small pair; see rows.
	list    []row
	last    int64 // where the last row stands, so that most events need not look at it
	rare    *rare // what few pairs have, small or not; nil: nothing
	policy  Policy
	dirty   bool         // the rows are not stored
	opening bool         // the leaf keeps the shape it was stored in
	few     [fewRows]row // where the first rows lie
}

// rare is what few pairs have.
type rare struct {
	wide    []Weight // weights of rows; see rowWide
	sealed  *sealed  // nil: nothing was
	refused int64    // the split point at which too many hold_ids would go; 0: none
}

// makeRare returns the pair's rare fields, which it makes if there are none.
func (p *Pair) makeRare() *rare {
	if p.rare == nil {
		p.rare = new(rare)
	}
	return p.rare
}

func (r *rare) bytes() int {
	if r == nil {
		return 0
	}
	n := int(unsafe.Sizeof(*r)) + cap(r.wide)*int(unsafe.Sizeof(Weight{}))
	if r.sealed != nil {
		n += int(unsafe.Sizeof(*r.sealed)) + 8*cap(r.sealed.ids)
	}
	return n
}

// representation is what keeps the facts of a pair: [*rows] or [*timeline]. Times
// are in nanoseconds. Nothing in it counts what was sealed.
type representation interface {
	count() int      // of facts
	waiting() uint64 // facts that have nothing to act on

	// eachFact yields every fact once: those without hold_id by time, then the others
	// by id.
	eachFact(yield func(Fact) bool) bool
	// eachHold yields the effective holds in the order of compareHold. eachHoldIn may
	// leave out those that start at to or later, or end before from.
	eachHold(yield func(Hold) bool)
	eachHoldIn(from, to int64, yield func(Hold) bool)
	// eachSpan yields the holds that cover anything by start, and of one start in any
	// order. The end of an open one is forever.
	eachSpan(yield func(*interval.Span) bool)

	settled(t, from, to int64) interval.Area // over [from, to), as of t, which is not before from
	live(t int64) interval.Area
	figures(at int64) Figures
	reach() int64 // the latest instant that a hold reaches; forever: one is open

	// For sealing.
	firstCrossing(t int64) int64 // the earliest start of a hold that crosses t, or forever
	startsBefore(t int64) bool   // whether anything is before t
	stopSpent(at int64) bool     // whether the stop of that instant ended a hold of an earlier one
	// stopEnds returns the weight of the hold that the stop of that instant ends; false:
	// there is none.
	stopEnds(at int64) (Weight, bool)
	eachID(yield func(id string, g *identified) bool)
	id(id string) *identified // nil: not known
	pageKeys() [][]byte       // of all pages that may be stored, but the one with the empty key

	// For storing.
	dirtyPages(sealed bool, yield func(Page) bool) bool
	clearDirty()
	bytes() int
	err() error // why the pair is lost
}

// facts returns what keeps the pair's facts.
func (p *Pair) facts() representation {
	if p.grown != nil {
		return p.grown
	}
	return (*rows)(p)
}

// eachSpan is [representation.eachSpan]. It does not go through the interface, so that
// what yield refers to stays on the stack.
func (p *Pair) eachSpan(yield func(*interval.Span) bool) {
	if p.grown != nil {
		p.grown.eachSpan(yield)
	} else {
		(*rows)(p).eachSpan(yield)
	}
}

// NewPair returns a pair of which nothing is known.
func NewPair(policy Policy) *Pair { return &Pair{policy: policy} }

// PairFromFacts returns the pair of a set of facts, in any order.
func PairFromFacts(policy Policy, facts iter.Seq[Fact]) *Pair {
	p := NewPair(policy)
	for f := range facts {
		p.Add(f)
	}
	return p
}

// Policy returns how overlapping holds of this pair count.
func (p *Pair) Policy() Policy { return p.policy }

// Add adds a fact and brings holds and figures up to date. It reports whether the
// fact is new; one that is there already changes nothing (S2.3), and none is ever taken out
// but by sealing (S2.4). The fact must be one
// that [Event.Fact] returns. Its HoldID is kept.
func (p *Pair) Add(f Fact) bool { return p.add(&f) }

func (p *Pair) add(f *Fact) bool {
	if p.grown == nil {
		if f.HoldID == "" { // S2.6, S4.6: without an id, content alone distinguishes facts
			if added, fits := (*rows)(p).add(f); fits {
				return added
			}
		}
		p.grow()
	}
	return p.grown.add(f)
}

// grow gives the pair a timeline, if it has none.
func (p *Pair) grow() {
	if p.grown != nil {
		return
	}
	p.grown = timelineOf((*rows)(p))
	p.grown.tree.Opening(p.opening)
	p.dropRows()
}

// dropRows empties the pair's rows.
func (p *Pair) dropRows() {
	p.list, p.last, p.dirty = nil, 0, false
	if p.rare != nil {
		p.rare.wide = nil
	}
}

// Len returns how many facts the pair keeps. Facts that were sealed are not kept.
func (p *Pair) Len() int { return p.facts().count() }

// Waiting returns how many facts have nothing to act on (S5.1).
func (p *Pair) Waiting() int { return int(p.sealedPart().waiting + p.facts().waiting()) }

// Facts returns every fact once: those without hold_id by time, then the others by
// id.
func (p *Pair) Facts() iter.Seq[Fact] {
	return func(yield func(Fact) bool) { p.facts().eachFact(yield) }
}

// Holds returns the effective holds, by start, then end, weight and id.
func (p *Pair) Holds() iter.Seq[Hold] { return p.facts().eachHold }

// HoldsIn returns the holds of [Pair.Holds] in the same order. It may leave out those
// that start at to or later, and those that start and end before from. Of a large
// pair it reads only the part that may have others, and all hold_ids.
func (p *Pair) HoldsIn(from, to int64) iter.Seq[Hold] {
	return func(yield func(Hold) bool) { p.facts().eachHoldIn(from, to, yield) }
}

// SettledAt returns the settled amount as of t: the ended holds with end <= t (S1.7).
//
// It costs O(log n) and the holds that begin between the earliest one that reaches
// past t and t.
func (p *Pair) SettledAt(t int64) Amount {
	total := p.facts().settled(t, 0, forever)
	return p.sealedPart().total.Add(amountOf(&total))
}

// LiveAt returns the live amount as of t: every hold, cut at t (S1.7).
func (p *Pair) LiveAt(t int64) Amount {
	total := p.facts().live(t)
	return p.sealedPart().total.Add(amountOf(&total))
}

// Figures returns the settled figures of all ended holds, and the live line that
// holds at the instant at, with Since = at (S1.8).
func (p *Pair) Figures(at int64) Figures {
	f := p.facts().figures(at)
	if p.rare != nil && p.rare.sealed != nil {
		s := p.rare.sealed
		f.Settled, f.Line.Base = f.Settled.Add(s.total), f.Line.Base.Add(s.total)
		f.Waiting += s.waiting
	}
	return f
}
