package hold

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"unsafe"
)

// Policy says how overlapping holds of a pair count.
type Policy uint8

// The policies.
const (
	Merge Policy = iota // at every instant the largest weight counts
	Sum                 // at every instant the weights add up
)

// String is the policy's name in rules and flags.
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

// Hold is an effective hold: what the facts come to.
type Hold struct {
	Start, End int64  // ns; an End of 0: open
	Weight     Weight // 1 where none was given
	HoldID     string // empty: none
}

func (h *Hold) cmp(o *Hold) int {
	switch {
	case h.Start != o.Start:
		return cmpInt(h.Start, o.Start)
	case h.End != o.End:
		return cmpInt(h.End, o.End)
	}
	if c := h.Weight.Cmp(o.Weight); c != 0 {
		return c
	}
	return strings.Compare(h.HoldID, o.HoldID)
}

func cmpInt(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}

// Pair is what is kept of one token with one holder: a set of facts, the
// effective holds that follow from it, and their figures. A new fact costs
// O(log n + the holds that overlap what it changes); facts that share a start,
// where one of them gives no weight, count as touched together, and so do the
// facts of one hold_id, though those cost no more than the moving of a slice.
//
// A pair begins as rows (see row) and grows a timeline once it is too large, or
// has facts that are too entangled, for them.
//
// A Pair is not safe for concurrent use.
type Pair struct {
	*timeline // nil: a small pair, whose facts are rows

	rows    []row
	last    int64  // where the last row stands, so that most events need not look at it
	aside   *aside // what few pairs have; nil: nothing
	policy  Policy
	dirty   bool // rows are not stored yet
	opening bool // the leaf keeps the shape it was stored in

	few [fewRows]row // where the first rows lie; a Pair is not to be copied
}

// timeline is what a pair that has grown keeps of its facts, and of what follows.
type timeline struct {
	root    *node
	ids     map[string]*identified // nil until a fact carries a hold_id
	waiting uint64
	facts   int

	dirtyLeaves []*node // of a pair that is not large, which has one
	dirtyIDs    []string
	pager       *pager // nil: the pair is not large, and all of it is in memory

	size int // of entries, further nodes and ids, bytes
}

// aside is what few pairs have, and is kept out of those that do not.
type aside struct {
	wide    []Weight // weights of rows; see rowWide
	sealed  *sealed  // nil: nothing was
	refused int64    // the cut at which too many hold_ids would go; 0: none
}

// beside is the pair's aside, made where there is none.
func (p *Pair) beside() *aside {
	if p.aside == nil {
		p.aside = new(aside)
	}
	return p.aside
}

func (a *aside) bytes() int {
	if a == nil {
		return 0
	}
	n := int(unsafe.Sizeof(*a)) + cap(a.wide)*int(unsafe.Sizeof(Weight{}))
	if a.sealed != nil {
		n += int(unsafe.Sizeof(*a.sealed)) + 8*cap(a.sealed.ids)
	}
	return n
}

// NewPair is a pair of which nothing is known yet.
func NewPair(policy Policy) *Pair { return &Pair{policy: policy} }

// PairFromFacts is the pair of a set of facts, in any order.
func PairFromFacts(policy Policy, facts iter.Seq[Fact]) *Pair {
	p := NewPair(policy)
	for f := range facts {
		p.Add(f)
	}
	return p
}

// Policy is how overlapping holds of this pair count.
func (p *Pair) Policy() Policy { return p.policy }

// Add adds a fact and brings holds and figures up to date. It says false where
// the fact was there already, which changes nothing. The fact must be one that
// [Event.Fact] gives; its HoldID is kept.
func (p *Pair) Add(f Fact) bool { return p.add(&f) }

func (p *Pair) add(f *Fact) bool {
	if p.timeline == nil {
		if f.HoldID == "" {
			if added, small := p.addRow(f); small {
				return added
			}
		}
		p.grow()
	}
	if p.pager != nil {
		return p.addPaged(f)
	}
	return p.addGrown(f)
}

// addGrown adds to the timeline.
func (p *Pair) addGrown(f *Fact) bool {
	added := false
	switch {
	case f.HoldID != "":
		added = p.addIdentified(f)
	case f.Kind == KindStop || f.Kind == KindRetractStop:
		added = p.addStop(f)
	default:
		added = p.addContent(f)
	}
	if added {
		p.facts++
	}
	return added
}

// Len is how many facts the pair keeps; those that are sealed are not.
func (p *Pair) Len() int {
	if p.timeline == nil {
		return p.countRows()
	}
	return p.facts
}

// Waiting is how many facts found nothing to act on.
func (p *Pair) Waiting() int {
	n := p.sealedPart().waiting
	if p.timeline == nil {
		f := p.fold()
		return int(n + f.waiting)
	}
	return int(n + p.waiting)
}

// Facts gives every fact once: those without hold_id by time, then the others by id.
func (p *Pair) Facts() iter.Seq[Fact] {
	return func(yield func(Fact) bool) {
		if p.timeline == nil {
			p.rowFacts(yield)
			return
		}
		if p.pager != nil {
			p.pagedFacts(yield)
			return
		}
		if !p.root.visit(&key{}, func(e *entry) bool { return e.facts(yield) }) {
			return
		}
		for _, id := range p.sortedIDs() {
			if !p.ids[id].eachFact(id, yield) {
				return
			}
		}
	}
}

// facts gives the one or two facts that an entry stands for.
func (e *entry) facts(yield func(Fact) bool) bool {
	var f Fact
	sent, retracted := KindHold, KindRetractHold
	switch e.kind {
	case entryFact:
		f = Fact{Start: e.at, End: e.end}
		if e.is(flagHasWeight) {
			f.Weight, f.HasWeight = e.weight, true
		}
	case entryStop:
		f = Fact{End: e.at}
		sent, retracted = KindStop, KindRetractStop
	default:
		return true
	}
	if e.is(flagSent) {
		f.Kind = sent
		if !yield(f) {
			return false
		}
	}
	if e.is(flagRetracted) {
		f.Kind = retracted
		return yield(f)
	}
	return true
}

// Holds gives the effective holds, by start, then end, weight and id.
func (p *Pair) Holds() iter.Seq[Hold] {
	return func(yield func(Hold) bool) {
		if p.Large() {
			p.pagedHolds(yield)
			return
		}
		var holds []Hold
		if p.timeline == nil {
			holds = p.rowHolds(nil)
		} else {
			holds = p.timelineHolds(nil)
		}
		slices.SortFunc(holds, func(a, b Hold) int {
			if a == b {
				return 0
			}
			return a.cmp(&b)
		})
		for _, h := range holds {
			if !yield(h) {
				return
			}
		}
	}
}

// timelineHolds appends the effective holds, in no order.
func (p *Pair) timelineHolds(holds []Hold) []Hold {
	p.root.visit(&key{}, func(e *entry) bool {
		if e.is(flagCovers) && e.kind != entryID {
			holds = append(holds, Hold{Start: e.at, End: e.effEnd(), Weight: e.weight})
		}
		return true
	})
	for _, id := range p.sortedIDs() {
		if g := p.ids[id]; g.held {
			h := g.hold
			h.HoldID = id
			holds = append(holds, h)
		}
	}
	return holds
}

// SettledAt is the settled amount as of t: the ended holds with end <= t.
//
// It costs O(log n) and the holds that begin between the earliest one that reaches
// past t and t.
func (p *Pair) SettledAt(t int64) Amount {
	return p.sealedPart().total.Add(p.settledAt(t))
}

// settledAt is SettledAt of what is not sealed.
func (p *Pair) settledAt(t int64) Amount {
	if p.timeline == nil {
		f := p.fold()
		total := p.settledRows(&f, t)
		return total.amount()
	}
	defer p.guard()
	if p.failed() {
		return Amount{}
	}
	if p.root.lastEnd[endedHolds] <= t {
		return p.root.areas[endedHolds].amount()
	}
	// Holds that reach past t do not count at all, so from the first of them on
	// the curve is another one; before it, it is the kept one.
	from := p.root.firstAcross(t)
	if from == forever {
		total := p.before(endedHolds, t)
		return total.amount()
	}
	total := p.before(endedHolds, from)
	// Which holds end by t is no matter of the tree, so all of them are looked at.
	rest, _ := p.sweepArea(endedHolds, from, t, t, math.MaxInt)
	total.add(&rest)
	return total.amount()
}

// LiveAt is the live amount as of t: every hold, cut at t.
func (p *Pair) LiveAt(t int64) Amount {
	return p.sealedPart().total.Add(p.unsealedAt(t))
}

// unsealedAt is LiveAt of what is not sealed.
func (p *Pair) unsealedAt(t int64) Amount {
	if p.timeline == nil {
		f := p.fold()
		total := p.liveRows(&f, t)
		return total.amount()
	}
	defer p.guard()
	if p.failed() {
		return Amount{}
	}
	total := p.liveAt(t)
	return total.amount()
}

func (p *Pair) liveAt(t int64) area {
	if t <= 0 {
		return area{}
	}
	if !p.lastStretch(t) && t < MaxTime {
		return p.before(allHolds, t)
	}
	// After the last start and end only open holds run on, at one level, and
	// they are counted up to MaxTime.
	total := p.root.areas[allHolds]
	open := p.root.lastEnd[allHolds] == forever
	back := t < MaxTime
	ns := uint64(t - MaxTime)
	if back {
		ns = uint64(MaxTime - t)
	}
	total.addLevel(&p.root.tail, ns, back)
	if open && back {
		total.held -= ns
	} else if open {
		total.held += ns
	}
	return total
}

// lastStretch says whether nothing starts or ends after t.
func (p *Pair) lastStretch(t int64) bool {
	return p.root.lastStart <= t && p.root.lastEnd[endedHolds] <= t
}

// Figures are the settled figures of all ended holds, and the live line that
// holds at the instant at, with Since = at.
func (p *Pair) Figures(at int64) Figures {
	f := p.figures(at)
	if p.aside != nil && p.aside.sealed != nil {
		s := p.aside.sealed
		f.Settled, f.Line.Base = f.Settled.Add(s.total), f.Line.Base.Add(s.total)
		f.Waiting += s.waiting
	}
	return f
}

// figures are Figures of what is not sealed.
func (p *Pair) figures(at int64) Figures {
	if p.timeline == nil {
		return p.figuresOfRows(at)
	}
	defer p.guard()
	if p.failed() {
		return Figures{}
	}
	f := Figures{
		Settled: p.root.areas[endedHolds].amount(),
		Line:    Line{Since: at},
		Waiting: p.waiting,
	}
	live := p.liveAt(at)
	f.Line.Base = live.amount()
	level := p.root.tail
	if p.lastStretch(at) {
		if p.root.lastEnd[allHolds] == forever {
			f.Line.HeldRate = 1
		}
	} else {
		one := p.integrate(allHolds, at, at+1)
		copy(level[:], one.sum[:])
		f.Line.HeldRate = one.held
		if until := p.root.nextBreak(at, forever); until != forever {
			f.Line.Until = until
		}
	}
	mul(f.Line.Rate[:], level[:], 1e6)
	return f
}

// firstAcross is the earliest start of an ended hold that starts before t and
// ends after it, or forever.
func (n *node) firstAcross(t int64) int64 {
	if n.lastEnd[endedHolds] <= t {
		return forever
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.at >= t {
			break
		}
		if at := kid.firstAcross(t); at != forever {
			return at
		}
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.at >= t {
			break
		}
		if e.is(flagCovers) && e.effEnd() > t {
			return e.at
		}
	}
	return forever
}

// nextBreak is the first start or end of a hold after t that comes before next,
// or next. A hold that starts after t ends no sooner than it starts, so it looks
// at the holds across t and the first one behind it.
func (n *node) nextBreak(t, next int64) int64 {
	if n.lastStart <= t && n.lastEnd[endedHolds] <= t {
		return next
	}
	n.here()
	for i, kid := range n.kids {
		if i > 0 && kid.first.at >= next {
			return next
		}
		next = kid.nextBreak(t, next)
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.at >= next {
			return next
		}
		if !e.is(flagCovers) {
			continue
		}
		if e.at > t {
			return e.at
		}
		if end := e.effEnd(); end > t {
			next = min(next, end)
		}
	}
	return next
}
