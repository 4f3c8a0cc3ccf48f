package hold

import (
	"slices"
	"time"
)

// SealedError says why a fact is refused where what was held before a horizon is
// final; nil where that is no matter of the fact alone, see [Pair.Admits].
//
// Refused is what has an end at the horizon or before, and without hold_id an open
// hold, or the retract of one, that starts before it.
func (f *Fact) SealedError(horizon int64) error {
	switch {
	case f.End != 0 && f.End <= horizon:
		return sealedError("end", horizon, "")
	case f.HoldID == "" && f.Start != 0 && f.End == 0 && f.Start < horizon:
		return sealedError("start", horizon, "")
	}
	return nil
}

// CheckSealed is [Fact.SealedError] of what the event says: a door refuses by it
// what no pair admits.
func (e *Event) CheckSealed(horizon int64) error {
	if horizon == 0 {
		return nil
	}
	f := e.Fact()
	return f.SealedError(horizon)
}

func sealedError(field string, horizon int64, why string) error {
	detail := "what was held before " + time.Unix(0, horizon).UTC().Format(time.RFC3339Nano) + " is final"
	if why != "" {
		detail += ", and " + why
	}
	return &FieldError{Field: field, Err: ErrSealed, Detail: detail}
}

// Admits says why the pair refuses a fact where what was held before a horizon is
// final: a [*FieldError] that wraps [ErrSealed], or nil. It is asked before a fact is
// added, of every fact from the moment on at which the horizon holds.
//
// A fact is refused if it would change what was held before the horizon: which
// holds began there, of which weight, and which of them ended by it. One without
// hold_id that starts before the horizon is also refused where no hold of that start
// reaches past it, and one of a hold_id where its hold has ended by it. So an open
// hold can still be ended, and an end that is later than the horizon corrected.
func (p *Pair) Admits(f *Fact, horizon int64) error {
	if err := f.SealedError(horizon); err != nil {
		return err
	}
	if f.HoldID != "" {
		return p.admitsIdentified(f, horizon)
	}
	if f.Start == 0 || f.Start >= horizon || p.admitsContent(f, horizon) {
		return nil
	}
	return sealedError("start", horizon, "the event changes it")
}

func (p *Pair) admitsIdentified(f *Fact, horizon int64) error {
	if p.sealedPart().has(f.HoldID) {
		return sealedError("hold_id", horizon, "the hold of this id ended before")
	}
	before, held := Hold{}, false
	after := &identified{}
	if g := p.identified(f.HoldID); g != nil {
		before, held = g.hold, g.held
		after = &identified{
			holds: slices.Clone(g.holds), retracts: slices.Clone(g.retracts), stops: slices.Clone(g.stops),
			stopRetracts: slices.Clone(g.stopRetracts), active: slices.Clone(g.active),
		}
	}
	if held && before.End != 0 && before.End <= horizon {
		return sealedError("hold_id", horizon, "the hold of this id ended before")
	}
	after.add(f)
	hold, holds := after.fold()
	if cutHold(before, held, horizon) != cutHold(hold, holds, horizon) {
		return sealedError("hold_id", horizon, "the event changes it")
	}
	return nil
}

// identified is what is kept of a hold_id; nil: nothing.
func (p *Pair) identified(id string) *identified {
	if p.timeline == nil {
		return nil
	}
	if g := p.ids[id]; g != nil || p.pager == nil {
		return g
	}
	defer p.guard()
	if p.failed() {
		return nil
	}
	return p.loadID(id)
}

// cutHold is as much of a hold as lies before the horizon.
func cutHold(h Hold, held bool, horizon int64) Hold {
	if !held || h.Start >= horizon {
		return Hold{}
	}
	if h.End == 0 || h.End > horizon {
		h.End = forever
	}
	return h
}

// admitsContent says whether a fact without hold_id, of a start before the horizon
// and an end after it, leaves what was held before the horizon as it is.
func (p *Pair) admitsContent(f *Fact, horizon int64) bool {
	if p.timeline == nil {
		// It happens seldom, and the pair is small.
		q := PairFromFacts(p.policy, p.Facts())
		q.growNow()
		return q.admitsContent(f, horizon)
	}
	defer p.guard()
	if p.failed() {
		return false
	}
	var group []entry
	p.root.visitAt(&key{at: f.Start, kind: entryFact}, func(e *entry) bool {
		if e.kind > entryDerived {
			return false
		}
		group = append(group, *e)
		return true
	})
	before := make([]Hold, 0, len(group))
	reaches := false
	for i := range group {
		e := &group[i]
		if e.is(flagCovers) {
			h := cutHold(Hold{Start: e.at, End: e.effEnd(), Weight: e.weight}, true, horizon)
			before = append(before, h)
			reaches = reaches || h.End == forever
		}
	}
	if !reaches {
		return false
	}
	was := len(group)
	group = withFact(group, f)
	ended, derived, loose := foldStart(group)
	after := make([]Hold, 0, len(group))
	for i := range group {
		e := &group[i]
		switch {
		case ended[i]:
			after = append(after, cutHold(Hold{Start: e.at, End: e.end, Weight: e.weight}, true, horizon))
		case loose[i] && i < was && e.is(flagLoose):
			after = append(after, cutHold(Hold{Start: e.at, End: e.eff, Weight: e.weight}, true, horizon))
		case loose[i]:
			k := e.key()
			if stop := p.stopOf(&k, k.at, true); stop != nil && stop.at <= horizon {
				return false // which ended another hold, or none
			}
			after = append(after, Hold{Start: e.at, End: forever, Weight: e.weight})
		}
	}
	for i := range derived {
		after = append(after, cutHold(Hold{Start: derived[i].at, End: derived[i].end, Weight: derived[i].weight}, true, horizon))
	}
	byAll := func(a, b Hold) int { return orderHolds(&a, &b) }
	slices.SortFunc(before, byAll)
	slices.SortFunc(after, byAll)
	return slices.Equal(before, after)
}

// withFact is the facts of one start with another one among them.
func withFact(group []entry, f *Fact) []entry {
	e := entry{at: f.Start, end: f.End, weight: One, kind: entryFact}
	if f.HasWeight {
		e.weight = f.Weight
		e.flags |= flagHasWeight
	}
	flag := flagSent
	if f.Kind == KindRetractHold {
		flag = flagRetracted
	}
	k := e.key()
	for i := range group {
		if group[i].cmpKey(&k) == 0 {
			group[i].flags |= flag
			return group
		}
	}
	e.flags |= flag
	return append(group, e)
}

// growNow gives the pair its timeline, if it has none yet.
func (p *Pair) growNow() {
	if p.timeline == nil {
		p.grow()
	}
}
