package hold

import (
	"slices"
	"unsafe"

	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// timeline is what a pair that has grown keeps: its facts without hold_id and all
// effective holds in a tree, and the facts of each hold_id.
//
// A fact is added in O(log n + the holds that overlap what it changes).
type timeline struct {
	tree  interval.Tree
	ids   ids
	wait  uint64 // facts that have nothing to act on
	facts int
}

// timelineOf returns the timeline of a small pair's facts.
func timelineOf(s *rows) *timeline {
	t := &timeline{}
	var entries []interval.Entry
	var areas [2]interval.Area
	if n := len(s.list); n > 0 {
		f := s.fold()
		t.wait, t.facts = f.waiting, s.count()
		entries = make([]interval.Entry, n, n+1)
		for i := range s.list {
			entries[i] = f.entry(s, i)
		}
		areas[interval.EndedHolds] = s.settledArea(&f, forever, 0, forever)
		areas[interval.AllHolds] = s.liveArea(&f, MaxTime)
	}
	t.tree.Init(interval.Policy(s.policy), entries, areas)
	if s.dirty {
		t.tree.Mark()
	}
	return t
}

// large returns the pager of a timeline whose parts can leave memory, or nil.
func (t *timeline) large() *interval.Pager { return t.tree.Pager() }

func (t *timeline) err() error { return t.tree.Err() }

// add adds a fact and brings all that follows from it up to date. It reports whether
// the fact was not there.
func (t *timeline) add(f *Fact) (added bool) {
	if t.large() != nil {
		defer t.tree.Guard()
		if t.err() != nil {
			return false
		}
	}
	switch {
	case f.HoldID != "":
		added = t.addIdentified(f)
	case f.Kind == KindStop || f.Kind == KindRetractStop:
		added = t.addStop(f)
	default:
		added = t.addContent(f)
	}
	if added {
		t.facts++
		if t.large() != nil {
			t.tree.Mark() // the root's page has the number of facts
		}
	}
	t.ids.follow(&t.tree)
	return added
}

// addIdentified adds a fact that has a hold_id.
func (t *timeline) addIdentified(f *Fact) bool {
	g := t.ids.get(&t.tree, f.HoldID)
	if g == nil {
		g = t.ids.make(f.HoldID)
		if len(t.ids.known) > idsMax {
			t.tree.Enlarge()
		}
	}
	g.used = true
	if !g.add(f) {
		return false
	}
	t.ids.grew(g, f.HoldID)
	t.wait -= g.waiting
	g.waiting = g.countWaiting()
	t.wait += g.waiting

	hold, held := g.fold()
	if held == g.held && hold == g.hold {
		return true
	}
	if g.held {
		k := g.key
		t.tree.Count(&k, false)
		t.tree.Remove(&k)
	}
	g.hold, g.held = hold, held
	if held {
		g.key = g.keyAt(idOrd(f.HoldID))
		for t.tree.Find(&g.key) != nil {
			g.key.Ord++ // two ids of one hash with the same hold
		}
		t.insertID(g)
	}
	return true
}

// insertID inserts the hold of a hold_id.
func (t *timeline) insertID(g *identified) {
	t.tree.Insert(g.entry())
	t.tree.Count(&g.key, true)
}

func (t *timeline) count() int      { return t.facts }
func (t *timeline) waiting() uint64 { return t.wait }

func (t *timeline) eachFact(yield func(Fact) bool) bool {
	return t.tree.Each(func(e *interval.Entry) bool { return entryFacts(e, yield) }) &&
		t.ids.each(&t.tree, func(id string, g *identified) bool { return g.eachFact(id, yield) })
}

// entryFacts yields the one or two facts that an entry stands for.
func entryFacts(e *interval.Entry, yield func(Fact) bool) bool {
	return e.Facts(func(retract bool) bool {
		f := Fact{Kind: KindHold, Start: e.At, End: e.End}
		if e.Kind == interval.EntryStop {
			f = Fact{Kind: KindStop, End: e.At}
		} else if e.Is(interval.HasWeight) {
			f.Weight, f.HasWeight = Weight(e.Weight), true
		}
		switch {
		case !retract:
		case f.Kind == KindStop:
			f.Kind = KindRetractStop
		default:
			f.Kind = KindRetractHold
		}
		return yield(f)
	})
}

// eachHold keeps the holds of hold_ids, which do not come in order, and those of one
// start.
func (t *timeline) eachHold(yield func(Hold) bool) {
	named := t.named()
	if t.err() != nil {
		return
	}
	slices.SortFunc(named, compareHold)
	var same []Hold
	flush := func() bool {
		ok := yieldSorted(same, yield)
		same = same[:0]
		return ok
	}
	take := func(h Hold) bool {
		if len(same) > 0 && same[0].Start != h.Start && !flush() {
			return false
		}
		same = append(same, h)
		return true
	}
	before := func(start int64) bool {
		for len(named) > 0 && named[0].Start <= start {
			if !take(named[0]) {
				return false
			}
			named = named[1:]
		}
		return true
	}
	whole := t.tree.Each(func(e *interval.Entry) bool {
		if !e.Is(interval.Covers) || e.Kind == interval.EntryID {
			return true
		}
		return before(e.At) && take(holdOf(e))
	})
	if whole && before(forever) {
		flush()
	}
}

// holdOf returns the effective hold of an entry without hold_id.
func holdOf(e *interval.Entry) Hold {
	return Hold{Start: e.At, End: e.EffectiveEnd(), Weight: Weight(e.Weight)}
}

// named returns the effective holds of all hold_ids, by id.
func (t *timeline) named() (named []Hold) {
	t.ids.each(&t.tree, func(id string, g *identified) bool {
		if g.held {
			h := g.hold
			h.HoldID = id
			named = append(named, h)
		}
		return true
	})
	return named
}

func (t *timeline) eachHoldIn(from, to int64, yield func(Hold) bool) {
	if t.large() == nil {
		t.eachHold(yield)
		return
	}
	yieldSorted(t.holdsIn(from, to), yield)
}

func (t *timeline) holdsIn(from, to int64) (holds []Hold) {
	holds = t.named()
	defer t.tree.Guard()
	if t.err() != nil {
		return nil
	}
	t.tree.VisitIn(from, to, func(e *interval.Entry) {
		if e.Kind != interval.EntryID {
			holds = append(holds, holdOf(e))
		}
	})
	return holds
}

func (t *timeline) eachSpan(yield func(*interval.Span) bool) {
	var s interval.Span
	t.tree.Each(func(e *interval.Entry) bool {
		if !e.Is(interval.Covers) {
			return true
		}
		s = interval.Span{Start: e.At, End: e.EndOrForever(), Weight: e.Weight}
		return s.Start == s.End || yield(&s)
	})
}

func (t *timeline) settled(at, from, to int64) (total interval.Area) {
	defer t.tree.Guard()
	if t.err() != nil {
		return total
	}
	return t.tree.Settled(at, from, to)
}

func (t *timeline) live(at int64) (total interval.Area) {
	defer t.tree.Guard()
	if t.err() != nil {
		return total
	}
	return t.tree.Live(at)
}

func (t *timeline) figures(at int64) (f Figures) {
	defer t.tree.Guard()
	if t.err() != nil {
		return f
	}
	settled, live := t.tree.AllSettled(), t.tree.Live(at)
	level, until := t.tree.Level(at)
	f = Figures{
		Settled: amountOf(&settled),
		Line:    Line{Base: amountOf(&live), HeldRate: level.Held, Since: at},
		Waiting: t.wait,
	}
	if until != forever {
		f.Line.Until = until
	}
	limbs.Mul(f.Line.Rate[:], level.Sum[:4], MultiplierOne)
	return f
}

func (t *timeline) reach() int64                 { return t.tree.Reach() }
func (t *timeline) firstCrossing(at int64) int64 { return t.tree.FirstCrossing(at) }
func (t *timeline) startsBefore(at int64) bool   { return t.tree.StartsBefore(at) }

func (t *timeline) stopSpent(at int64) bool {
	e := t.tree.Find(&interval.Key{At: at, Kind: interval.EntryStop})
	return e != nil && e.Is(interval.Matched) && e.Eff < at
}

func (t *timeline) stopEnds(at int64) (Weight, bool) {
	defer t.tree.Guard()
	if t.err() != nil {
		return Weight{}, false
	}
	e := t.tree.Find(&interval.Key{At: at, Kind: interval.EntryStop})
	if e == nil || !e.Is(interval.Matched) {
		return Weight{}, false
	}
	return Weight(e.Weight), true
}

func (t *timeline) eachID(yield func(id string, g *identified) bool) { t.ids.each(&t.tree, yield) }

func (t *timeline) id(id string) *identified {
	defer t.tree.Guard()
	if t.err() != nil {
		return nil
	}
	return t.ids.get(&t.tree, id)
}

func (t *timeline) pageKeys() (keys [][]byte) {
	t.eachID(func(id string, _ *identified) bool {
		keys = append(keys, idPageKey(id))
		return true
	})
	if g := t.large(); g != nil {
		keys = append(keys, g.PageKeys()...)
	}
	return keys
}

// dirtyPages yields the pages of the tree, or the one page of facts of a pair that is
// not large, and then those of hold_ids.
func (t *timeline) dirtyPages(sealed bool, yield func(Page) bool) bool {
	if g := t.large(); g != nil {
		h := interval.Header{Facts: uint64(t.facts), Waiting: t.wait, Sealed: sealed}
		if !g.DirtyPages(h, yield) {
			return false
		}
	} else if t.tree.FactsDirty() {
		data := append(make([]byte, 0, 1+32*t.facts), pageFacts)
		t.tree.Each(func(e *interval.Entry) bool {
			return entryFacts(e, func(f Fact) bool {
				data = f.Append(data)
				return true
			})
		})
		if !yield(Page{Data: data}) {
			return false
		}
	}
	return t.ids.dirtyPages(yield)
}

func (t *timeline) clearDirty() {
	if g := t.large(); g != nil {
		g.ClearDirty()
	}
	t.tree.FactsStored()
	t.ids.clearDirty()
}

func (t *timeline) bytes() int {
	return int(unsafe.Sizeof(*t)) + t.tree.Bytes() + t.ids.size
}
