package hold

import (
	"errors"
	"slices"

	"holdmetrics/hold/internal/heap"
	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// The rows of a large pair come in pages: a bounded number of holds, in order, and one
// sweep over the holds beside them. So the memory of an explanation depends on the
// page, not on the pair.

// ErrEntangled means that too many holds of a pair run at once to be explained in
// bounded memory, each of which would count if those above it ended.
var ErrEntangled = errors.New("hold: too many holds of one pair overlap to be explained")

const (
	// A page of an explanation has a sixteenth of the pair's holds, within these limits.
	// A row takes 250 bytes and its hold_id.
	explainLeast = 4 << 10
	explainMost  = 64 << 10
	// overlayMost is how many pieces of holds an overlay keeps, of 136 bytes each.
	overlayMost = 64 << 10
)

// EachContribution calls yield with the rows of [Rule.Explain], in their order, until
// yield returns false. A row is valid until yield returns.
//
// Its memory is bounded, whatever the number of holds. The time is O(n log n) where
// holds do not last for most of the history. In the worst case, and where holds have
// hold_ids, it looks at all holds of the pair up to sixteen times.
//
// It calls step every few hundred holds that it looks at, and ends with its error. It
// ends early, too, if the pair is lost, see [Pair.Err]: the rows before were right.
// Another error is [ErrEntangled].
func (r *Rule) EachContribution(p *Pair, from, to int64, step func() error, yield func(*Contribution) bool) error {
	return r.eachContribution(p, from, to, min(max(p.Len()/16, explainLeast), explainMost), overlayMost, step, yield)
}

func (r *Rule) eachContribution(p *Pair, from, to int64, page, pieces int, step func() error, yield func(*Contribution) bool) error {
	if !p.Large() {
		parts := r.Explain(p, from, to)
		for i := range parts {
			if !yield(&parts[i]) {
				break
			}
		}
		return nil
	}
	if policy := p.Policy(); policy != r.Policy {
		own := *r
		own.Policy = policy
		r = &own
	}
	x := explainer{r: r, timeline: p.grown, from: from, to: to, page: page, pieces: pieces, step: step}
	for more := true; more; {
		var err error
		if more, err = x.fill(); err != nil || p.Err() != nil {
			return err
		}
		for i := range x.rows {
			row := &x.rows[i]
			c := Contribution{Hold: row.Hold, Counted: row.counted[liveWorld]}
			if !row.explained(from, to, row.jumped) {
				continue
			}
			if from == 0 && row.settledBy(to) {
				c.Settled = row.counted[settledWorld]
			}
			if r.explainAlone(&c, from, to); !yield(&c) {
				return nil
			}
		}
	}
	return nil
}

// world is a set of the holds: all of them, or those that the settled score includes.
// Runs and overlaps are of one world.
type world int

const (
	liveWorld world = iota
	settledWorld
)

// explainer makes the pages of an explanation, one after the other.
type explainer struct {
	r            *Rule
	timeline     *timeline
	from, to     int64
	page, pieces int
	step         func() error
	looked       int   // holds, since the last step
	err          error // of step

	rows []explainedHold // of the page
	last *Hold           // of the pages before; nil: there were none
	runs [2]run          // of each world, the latest run that a row of the pages before belongs to
}

// look notes that a hold is looked at, and reports whether to go on.
func (x *explainer) look() bool {
	if x.looked++; x.looked%256 == 0 && x.err == nil {
		x.err = x.step()
	}
	return x.err == nil
}

// explainedHold is a row on its way.
type explainedHold struct {
	Hold
	counted [2]Amount // by world
	jumped  bool
}

// run is a run of a world, cut at the window's end.
type run struct{ start, end int64 }

// fill makes the next page, and reports whether there may be another one.
func (x *explainer) fill() (more bool, err error) {
	if n := len(x.rows); n > 0 {
		last := x.rows[n-1].Hold
		x.last = &last
	}
	least := x.from // of the ends that matter
	if x.r.byRuns() {
		least = 0
	}
	holds := x.next(least)
	if x.err != nil {
		return false, x.err
	}
	x.rows = x.rows[:0]
	for i := range holds {
		x.rows = append(x.rows, explainedHold{Hold: holds[i]})
	}
	if len(x.rows) == 0 {
		return false, nil
	}
	if err := x.count(liveWorld); err != nil {
		return false, err
	}
	if x.from == 0 {
		err = x.count(settledWorld)
	}
	return len(x.rows) == x.page, err
}

// next returns the holds of the next page, in the order of compareHold: of those that
// start before the window's end and do not end before from.
func (x *explainer) next(from int64) []Hold {
	t, after, most := x.timeline, x.last, x.page
	first := heap.Heap[Hold]{Before: func(a, b Hold) bool { return compareHold(a, b) > 0 }}
	offer := func(h Hold) {
		switch {
		case after != nil && compareHold(h, *after) <= 0:
		case first.Len() < most:
			first.Push(h)
		case compareHold(h, *first.Top()) < 0:
			first.Pop()
			first.Push(h)
		}
	}
	// No hold that starts after bound is among the first.
	bound, counted, start := x.to-1, 0, int64(0)
	if after != nil {
		start = after.Start
	}
	named := map[int64]struct{}{} // ords of the hold_ids that may be among the first; nil: too many
	t.tree.EachReaching(interval.Key{At: start}, from-1, func(e *interval.Entry) bool {
		if e.At > bound || !x.look() {
			return false
		}
		h := holdOf(e)
		if !e.Is(interval.Covers) || e.At < start || h.End != 0 && h.End < from {
			return true
		}
		order := 1
		if after != nil {
			h.HoldID = after.HoldID
			order = compareHold(h, *after)
			h.HoldID = ""
		}
		if order < 0 {
			return true
		}
		switch {
		case e.Kind != interval.EntryID:
			offer(h)
		case named != nil:
			if named[e.Eff] = struct{}{}; len(named) > 2*most {
				named = nil
			}
		}
		if order > 0 {
			if counted++; counted == most {
				bound = e.At
			}
		}
		return true
	})
	if named == nil || len(named) > 0 {
		t.ids.eachOf(&t.tree, named, x.look, func(id string, g *identified) bool {
			if h := g.hold; g.held && h.Start <= bound && (h.End == 0 || h.End >= from) {
				h.HoldID = id
				offer(h)
			}
			return x.look()
		})
	}
	slices.SortFunc(first.Items, compareHold)
	return first.Items
}

// count sets what the rows of the page count in a world.
func (x *explainer) count(w world) error {
	r := x.r
	if !r.byRuns() && r.Policy == Sum {
		a, b := max(x.from, r.SeasonFrom), r.seasonTo()
		for i := range x.rows {
			if row := &x.rows[i]; w == liveWorld || row.settledBy(x.to) {
				row.counted[w] = r.summed(&row.Hold, row.Start, a, b, x.to)
			}
		}
		return nil
	}
	o := overlay{x: x, world: w, first: x.rows[0].Start, last: x.rows[len(x.rows)-1].Start}
	for i := range x.rows {
		if row := &x.rows[i]; w == liveWorld || row.settledBy(x.to) {
			o.reach = max(o.reach, row.endBy(x.to))
		}
	}
	o.running.Before, o.waiting.Before = countsFirst, startsFirst
	key := interval.Key{At: o.first}
	switch {
	case !r.byRuns():
		key = interval.Key{} // what began earlier may lie above
		o.begin(run{start: o.first, end: x.to}, true)
	case x.last != nil && o.first <= x.runs[w].end:
		key = interval.Key{}
		o.begin(x.runs[w], true)
	}
	x.timeline.tree.EachReaching(key, o.first, func(e *interval.Entry) bool {
		return x.look() && (!e.Is(interval.Covers) || o.take(e))
	})
	if x.err != nil {
		return x.err
	}
	if o.err == nil && o.open {
		o.close()
	}
	return o.err
}

// overlay sweeps the holds of a world, in order of start, and gives the rows of a page
// what they count. It follows one run after the other. Where the rule measures no runs,
// all holds are one.
type overlay struct {
	x     *explainer
	world world
	first int64 // start of the first row
	last  int64 // start of the last row
	reach int64 // the latest end of a row of this world, cut at the window's end

	open  bool
	known bool // the run's end is its end
	run   run
	at    int64 // everything before is counted
	a, b  int64 // what of the run may count

	running, waiting heap.Heap[piece] // as in tally; the index of a piece is the end of its hold, 0: open
	pruned           int              // length of running after it was pruned last
	err              error
}

// countsFirst is the order in which pieces count: by rate, then by the order of
// [Pair.Holds]. Holds that are equal in all of it differ by their hold_ids.
func countsFirst(a, b piece) bool {
	if c := limbs.Cmp(a.rate[:], b.rate[:]); c != 0 {
		return c > 0
	}
	switch {
	case a.hold.Start != b.hold.Start:
		return a.hold.Start < b.hold.Start
	case a.index != b.index:
		return a.index < b.index
	}
	return a.hold.Weight.Cmp(&b.hold.Weight) < 0
}

func (o *overlay) begin(r run, known bool) {
	o.open, o.known, o.run = true, known, r
	o.at, o.pruned = max(r.start, o.first), 0
	o.a, o.b = r.start, o.x.r.seasonTo()
	if r.start < o.x.from && o.x.from-r.start >= o.x.r.Shortest {
		o.a = o.x.from
	}
	o.a = max(o.a, o.x.r.SeasonFrom)
}

// take takes the next hold, and reports whether later ones matter.
func (o *overlay) take(e *interval.Entry) bool {
	end, raw := e.EndOrForever(), e.EffectiveEnd()
	if e.At >= o.x.to {
		return false
	}
	if end == e.At || o.world == settledWorld && end > o.x.to {
		return true
	}
	end = min(end, o.x.to)
	if o.open && e.At > o.run.end {
		if o.close(); o.err != nil {
			return false
		}
	}
	if !o.open {
		if e.At > o.last {
			return false
		}
		o.begin(run{start: e.At, end: end}, false)
	}
	if o.known {
		if e.At >= o.reach {
			return false
		}
	} else {
		o.run.end = max(o.run.end, end)
	}
	if o.x.r.Policy == Merge && e.At < o.reach && end > o.first {
		if o.advance(e.At); o.err != nil {
			return false
		}
		c := o.x.r.firstPiece(e.At, end, &e.Weight)
		c.index = raw
		o.waiting.Push(c)
	}
	return true
}

// advance counts up to the instant to.
func (o *overlay) advance(to int64) {
	for o.at < to {
		for o.waiting.Len() > 0 && o.waiting.Top().start <= o.at {
			c := o.waiting.Pop()
			if next, more := o.x.r.nextPiece(&c); more {
				o.waiting.Push(next)
			}
			o.push(c)
		}
		for o.running.Len() > 0 && o.running.Top().end <= o.at {
			o.running.Pop()
		}
		if o.running.Len()+o.waiting.Len() > o.x.pieces {
			o.err = ErrEntangled
			return
		}
		end := to
		if o.waiting.Len() > 0 {
			end = min(end, o.waiting.Top().start)
		}
		if o.running.Len() > 0 {
			top := o.running.Top()
			end = min(end, top.end)
			o.give(top, max(o.at, o.a), min(end, o.b))
		}
		o.at = end
	}
}

// push adds a piece that begins to run, unless it ends before one that counts before it.
func (o *overlay) push(c piece) {
	if c.end <= o.at || o.running.Len() > 0 && o.running.Top().end >= c.end && countsFirst(*o.running.Top(), c) {
		return
	}
	o.running.Push(c)
	if o.running.Len() < 2*o.pruned+256 {
		return
	}
	// Of those that run, only such ones count some time that last longer than all which
	// count before them. A sorted list is a heap.
	slices.SortFunc(o.running.Items, func(a, b piece) int {
		switch {
		case countsFirst(a, b):
			return -1
		case countsFirst(b, a):
			return 1
		}
		return 0
	})
	kept, latest := o.running.Items[:0], o.at
	for _, c := range o.running.Items {
		if c.end > latest {
			kept, latest = append(kept, c), c.end
		}
	}
	o.running.Items, o.pruned = kept, len(kept)
}

// give counts [a, b) for the hold of a piece, if it is one of the page. Of equal holds
// the first has it, which may be one of an earlier page.
func (o *overlay) give(c *piece, a, b int64) {
	if a >= b || c.hold.Start < o.first {
		return
	}
	h := Hold{Start: c.hold.Start, End: c.index, Weight: Weight(c.hold.Weight)}
	i, _ := slices.BinarySearchFunc(o.x.rows, h, func(row explainedHold, h Hold) int { return compareHold(row.Hold, h) })
	same := func(g *Hold) bool { return g.Start == h.Start && g.End == h.End && g.Weight == h.Weight }
	if i == len(o.x.rows) || !same(&o.x.rows[i].Hold) || i == 0 && o.x.last != nil && same(o.x.last) {
		return
	}
	counted := &o.x.rows[i].counted[o.world]
	*counted = counted.Add(Amount{o.x.r.levelScore(&c.rate, o.run.start, a, b), HeldOf(uint64(b - a))})
}

// close ends the run.
func (o *overlay) close() {
	r, from := o.x.r, o.x.from
	if r.Policy == Merge {
		if o.advance(min(o.run.end, o.reach)); o.err != nil {
			return
		}
		o.running.Clear()
		o.waiting.Clear()
	}
	o.open = false
	if !r.byRuns() {
		return
	}
	if o.run.start <= o.last {
		o.x.runs[o.world] = o.run
	}
	a, b := r.counts(from, o.run.start, o.run.end)
	rows := o.x.rows
	i, _ := slices.BinarySearchFunc(rows, o.run.start, func(row explainedHold, at int64) int { return compareInstant(row.Start, at) })
	for ; i < len(rows) && rows[i].Start <= o.run.end; i++ {
		row := &rows[i]
		switch {
		case o.world == settledWorld && !row.settledBy(o.x.to):
			continue
		case r.Policy == Sum:
			row.counted[o.world] = r.summed(&row.Hold, o.run.start, a, b, o.x.to)
		case a >= b:
			row.counted[o.world] = Amount{}
		}
		if o.world == liveWorld {
			row.jumped = a < b && a < from
		}
	}
}

// compareInstant orders instants.
func compareInstant(a, b int64) int {
	if a == b {
		return 0
	}
	return cmpInt(a, b)
}
