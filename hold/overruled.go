package hold

import (
	"fmt"
	"slices"
)

// Overruled is why a fact with a hold_id changes nothing, or the zero value if no reason
// is known.
type Overruled struct {
	By       OverruledBy
	Revision uint64 // of what takes precedence
	// Now: a later event may still give the fact an effect. Else none can.
	Now bool
}

// OverruledBy is what takes precedence over a fact.
type OverruledBy uint8

// What takes precedence.
const (
	NotOverruled OverruledBy = iota
	ByRevision               // a hold fact of a greater revision (S3.1)
	ByRetract                // a retract of the hold, of the same revision or a greater one (S3.2)
	ByEqual                  // another hold fact of the same revision (S3.3)
	ByOwnEnd                 // the end that the hold fact states (S3.5)
	ByStop                   // another stop (S3.5)
)

// String says in words what takes precedence, or is empty if nothing is known to.
func (o Overruled) String() string {
	switch o.By {
	case ByRevision:
		return fmt.Sprintf("changes nothing: revision %d of this hold_id takes precedence; send a greater revision", o.Revision)
	case ByRetract:
		return fmt.Sprintf("changes nothing: the hold was retracted by revision %d; send a greater revision", o.Revision)
	case ByEqual:
		return fmt.Sprintf("changes nothing: another event of revision %d takes precedence; send a greater revision", o.Revision)
	case ByOwnEnd:
		return fmt.Sprintf("changes nothing: revision %d of this hold_id states its end; send a greater revision", o.Revision)
	case ByStop:
		return fmt.Sprintf("changes nothing: a stop of revision %d takes precedence; send a greater revision", o.Revision)
	}
	return ""
}

// Standing is the part of the facts of one hold_id that decides which others change
// nothing, by the facts that are known. The zero value knows none. An answer stays
// true whatever other facts there are: the greatest revision only grows.
type Standing struct {
	held, retracted, stopped bool
	hold                     Fact   // the greatest; without its HoldID
	retract                  uint64 // the greatest revision
	stop                     idStop // of the greatest revision, and of that the earliest
}

// Add makes a fact known.
func (s *Standing) Add(f *Fact) {
	switch f.Kind {
	case KindHold:
		fact := *f
		fact.HoldID = ""
		if !s.held || compareHolds(fact, s.hold) < 0 {
			s.held, s.hold = true, fact
		}
	case KindRetractHold:
		s.retracted, s.retract = true, max(s.retract, f.Revision)
	case KindStop:
		if stop := (idStop{f.Revision, f.End}); !s.stopped || compareActive(stop, s.stop) < 0 {
			s.stopped, s.stop = true, stop
		}
	}
}

// Merge makes known what another one knows.
func (s *Standing) Merge(o *Standing) {
	if o.held {
		s.Add(&o.hold)
	}
	if o.retracted {
		s.Add(&Fact{Kind: KindRetractHold, Revision: o.retract})
	}
	if o.stopped {
		s.Add(&Fact{Kind: KindStop, Revision: o.stop.revision, End: o.stop.end})
	}
}

// Overruled returns why a hold fact, or the retract of a hold, changes nothing. Of stops
// it knows nothing: see [Standing.MayOverruleStop].
func (s *Standing) Overruled(f *Fact) Overruled {
	switch f.Kind {
	case KindHold:
		switch {
		case s.held && s.hold.Revision > f.Revision:
			return Overruled{By: ByRevision, Revision: s.hold.Revision}
		case s.retracted && s.retract >= f.Revision:
			return Overruled{By: ByRetract, Revision: s.retract}
		case s.held && s.hold.Revision == f.Revision && s.precedes(f):
			return Overruled{By: ByEqual, Revision: f.Revision}
		}
	case KindRetractHold:
		switch {
		case s.held && s.hold.Revision > f.Revision:
			return Overruled{By: ByRevision, Revision: s.hold.Revision}
		case s.retracted && s.retract > f.Revision:
			return Overruled{By: ByRetract, Revision: s.retract}
		}
	}
	return Overruled{}
}

// precedes reports whether the known hold fact takes precedence over another one of
// its revision in any case. A weight may count although its fact is not the greatest,
// where the greatest gives none (S3.4).
func (s *Standing) precedes(f *Fact) bool {
	fact := *f
	fact.HoldID = ""
	if compareHolds(s.hold, fact) >= 0 {
		return false
	}
	return !fact.HasWeight || s.hold.HasWeight && s.hold.Weight.Cmp(fact.Weight) >= 0
}

// MayOverruleStop reports whether a stop may change nothing. Only the pair knows:
// see [StopOverruled].
func (s *Standing) MayOverruleStop(f *Fact) bool {
	if f.Kind != KindStop {
		return false
	}
	return s.held && s.hold.End != 0 && s.hold.Revision >= f.Revision ||
		s.held && s.retracted && s.retract >= s.hold.Revision ||
		s.stopped && compareActive(s.stop, idStop{f.Revision, f.End}) < 0
}

// StandingOf returns what a pair knows of a hold_id.
func StandingOf(p *Pair, holdID string) (s Standing) {
	g := p.facts().id(holdID)
	if g == nil {
		return s
	}
	if len(g.holds) > 0 {
		s.Add(&g.holds[0])
	}
	if len(g.retracts) > 0 {
		s.Add(&Fact{Kind: KindRetractHold, Revision: g.retracts[0]})
	}
	for _, stop := range g.stops {
		s.Add(&Fact{Kind: KindStop, Revision: stop.revision, End: stop.end})
	}
	return s
}

// StopOverruled returns why a stop with a hold_id changes nothing, by the facts that the
// pair has. A later fact may change that.
func StopOverruled(p *Pair, f *Fact) Overruled {
	g := p.facts().id(f.HoldID)
	if g == nil || f.Kind != KindStop || len(g.holds) == 0 {
		return Overruled{}
	}
	r := g.holds[0].Revision
	if len(g.retracts) > 0 && g.retracts[0] >= r {
		return Overruled{By: ByRetract, Revision: g.retracts[0], Now: true}
	}
	stop := idStop{f.Revision, f.End}
	if slices.Contains(g.stops, stop) {
		return Overruled{} // it is there already
	}
	before, _ := g.fold()
	with := g.clone()
	with.add(f)
	after, _ := with.fold()
	switch {
	case before != after || before.End == f.End:
		return Overruled{}
	case g.holds[0].End != 0 && g.holds[0].End == after.End && f.Revision <= r:
		return Overruled{By: ByOwnEnd, Revision: r, Now: true}
	}
	for _, other := range with.active {
		if other.end == after.End && compareActive(other, stop) < 0 {
			return Overruled{By: ByStop, Revision: other.revision, Now: true}
		}
	}
	return Overruled{}
}

// StopEnds returns the weight of the hold that a stop ends, once the pair has the stop.
// It reports false if the stop ends nothing.
func StopEnds(p *Pair, f *Fact) (Weight, bool) {
	if f.Kind != KindStop {
		return Weight{}, false
	}
	if f.HoldID == "" {
		return p.facts().stopEnds(f.End)
	}
	g := p.facts().id(f.HoldID)
	if g == nil {
		return Weight{}, false
	}
	h, held := g.fold()
	return h.Weight, held && h.End == f.End
}
