package hold

import (
	"slices"
	"time"

	"holdmetrics/hold/internal/interval"
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
	if g := p.facts().id(f.HoldID); g != nil {
		before, held = g.hold, g.held
		after = g.clone()
	}
	if held && before.End != 0 && before.End <= horizon {
		return sealedError("hold_id", horizon, "the hold of this id ended before")
	}
	after.add(f)
	hold, holds := after.fold()
	if clipHold(before, held, horizon) != clipHold(hold, holds, horizon) {
		return sealedError("hold_id", horizon, "the event changes it")
	}
	return nil
}

// clipHold returns the part of a hold that lies before the horizon, as far as it is
// final: whether and when it ends later does not matter.
func clipHold(h Hold, held bool, horizon int64) Hold {
	if !held || h.Start >= horizon {
		return Hold{}
	}
	if h.End == 0 || h.End > horizon {
		h.End = forever
	}
	return h
}

// admitsContent reports whether a fact without hold_id, of a start before the horizon
// and an end after it, leaves what was held before the horizon as it is.
func (p *Pair) admitsContent(f *Fact, horizon int64) bool {
	t := p.grown
	if t == nil {
		t = timelineOf((*rows)(p)) // this is rare, and the pair is small
	}
	return t.admits(f, horizon)
}

func (t *timeline) admits(f *Fact, horizon int64) bool {
	defer t.tree.Guard()
	if t.err() != nil {
		return false
	}
	var group []interval.Entry
	t.tree.VisitAt(&interval.Key{At: f.Start, Kind: interval.EntryFact}, func(e *interval.Entry) bool {
		if e.Kind > interval.EntryDerived {
			return false
		}
		group = append(group, *e)
		return true
	})
	clip := func(e *interval.Entry, end int64) Hold {
		return clipHold(Hold{Start: e.At, End: end, Weight: Weight(e.Weight)}, true, horizon)
	}
	before := make([]Hold, 0, len(group))
	reaches := false
	for i := range group {
		if e := &group[i]; e.Is(interval.Covers) {
			h := clip(e, e.EffectiveEnd())
			before = append(before, h)
			reaches = reaches || h.End == forever
		}
	}
	if !reaches {
		return false
	}
	group = withFact(group, f)
	verdicts := make([]verdict, len(group))
	derived := foldStart(group, verdicts)
	after := make([]Hold, 0, len(group))
	for i := range group {
		e := &group[i]
		switch {
		case verdicts[i] == endedHold:
			after = append(after, clip(e, e.End))
		case verdicts[i] == openHold && e.Is(interval.Loose):
			after = append(after, clip(e, e.Eff))
		case verdicts[i] == openHold:
			k := e.Key()
			if stop := t.stopOf(&k, k.At, true); stop != nil && stop.At <= horizon {
				return false // it ended another hold, or none
			}
			after = append(after, clip(e, 0))
		}
	}
	for i := range derived {
		after = append(after, clip(&derived[i], derived[i].End))
	}
	slices.SortFunc(before, compareHold)
	slices.SortFunc(after, compareHold)
	return slices.Equal(before, after)
}

// withFact returns the facts of one start with another one among them.
func withFact(group []interval.Entry, f *Fact) []interval.Entry {
	e := contentEntry(f)
	k := e.Key()
	i, there := slices.BinarySearchFunc(group, &k, func(e interval.Entry, k *interval.Key) int { return e.CmpKey(k) })
	if there {
		group[i].Flags |= e.Flags & (interval.Sent | interval.Retracted)
		return group
	}
	return slices.Insert(group, i, e)
}
