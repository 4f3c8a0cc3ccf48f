package hold

import (
	"slices"
	"time"

	"holdmetrics/hold/internal/interval"
)

// SealedError returns a [*FieldError] that wraps [ErrSealed] if the fact alone decides
// that it is refused under a horizon (S9.2), or nil. A nil result is not final: see
// [Pair.Admits].
//
// A fact is refused if its end is at the horizon or before. Without a hold_id, an open
// hold that starts before the horizon, or its retract, is refused too.
func (f *Fact) SealedError(horizon int64) error {
	switch {
	case f.End != 0 && f.End <= horizon:
		return sealedError("end", horizon, "")
	case f.HoldID == "" && f.Start != 0 && f.End == 0 && f.Start < horizon:
		return sealedError("start", horizon, "")
	}
	return nil
}

// CheckSealed returns [Fact.SealedError] of the event's fact, or nil if the horizon is 0.
// Servers call it to refuse events that no pair admits.
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

// Admits returns a [*FieldError] that wraps [ErrSealed] if the pair refuses a fact under
// a horizon (S9.2, S9.3), or nil. Once the horizon holds, call it for every fact before
// the fact is added.
//
// A fact is refused if it would change the holds before the horizon: their starts,
// their weights, or which of them ended by the horizon. A fact without a hold_id that
// starts before the horizon is also refused if no hold of that start reaches past the
// horizon. A fact with a hold_id is refused if its hold ended by the horizon. So an
// open hold can still be ended, and an end after the horizon can still be corrected.
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

// clipHold returns the final part of a hold: the part before the horizon. A later end
// does not matter.
func clipHold(h Hold, held bool, horizon int64) Hold {
	if !held || h.Start >= horizon {
		return Hold{}
	}
	if h.End == 0 || h.End > horizon {
		h.End = forever
	}
	return h
}

// admitsContent reports whether a fact without a hold_id leaves the holds before the
// horizon unchanged. The fact starts before the horizon and ends after it.
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
