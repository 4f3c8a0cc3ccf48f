package hold

import (
	"slices"

	"holdmetrics/hold/internal/interval"
)

// contentEntry returns the entry of a hold fact without hold_id, or of its retract, as
// it is inserted.
func contentEntry(f *Fact) interval.Entry {
	e := interval.Entry{
		At: f.Start, End: f.End, Weight: interval.One, Kind: interval.EntryFact, Flags: interval.Sent,
	}
	if f.HasWeight {
		e.Weight = interval.Weight(f.Weight)
		e.Flags |= interval.HasWeight
	}
	if f.Kind == KindRetractHold {
		e.Flags ^= interval.Sent | interval.Retracted
	}
	return e
}

// addContent adds a hold, or the retract of one, without hold_id.
func (t *timeline) addContent(f *Fact) bool {
	e := contentEntry(f)
	if e.End != 0 && e.Is(interval.Sent) && t.tree.EndsBefore(e.At) {
		t.tree.InsertHold(e) // most facts are ended holds after all that is there
		return true
	}
	k := e.Key()
	if there := t.tree.Find(&k); there != nil {
		flag := e.Flags & (interval.Sent | interval.Retracted)
		if there.Is(flag) {
			return false
		}
		t.tree.Flag(&k, flag)
		if flag == interval.Sent {
			// Its retract was there before, and does not wait any longer. Nothing
			// else changes.
			t.wait--
			return true
		}
		t.refold(&k)
		return true
	}
	if e.Is(interval.Retracted) {
		t.wait++
		t.tree.Insert(e)
		return true
	}
	if t.startsAlone(f.Start) {
		if f.End != 0 {
			t.tree.InsertHold(e)
		} else {
			t.tree.Insert(e)
			t.place(k, k.At, true)
		}
		return true
	}
	t.tree.Insert(e)
	t.refold(&k)
	return true
}

// startsAlone reports whether there is no fact without hold_id of that start.
func (t *timeline) startsAlone(start int64) bool {
	alone := true
	t.tree.VisitAt(&interval.Key{At: start, Kind: interval.EntryFact}, func(e *interval.Entry) bool {
		alone = e.Kind != interval.EntryFact
		return false
	})
	return alone
}

// startGroup appends the facts of the start of a key that may meet its fact, and the
// holds that are derived from them.
func (t *timeline) startGroup(group []interval.Entry, k *interval.Key) []interval.Entry {
	from := interval.Key{At: k.At, Kind: interval.EntryFact}
	bare := false
	t.tree.VisitAt(&from, func(e *interval.Entry) bool {
		bare = e.Kind == interval.EntryFact && !e.Is(interval.HasWeight)
		return false
	})
	if bare {
		t.tree.VisitAt(&from, func(e *interval.Entry) bool {
			if e.Kind > interval.EntryDerived {
				return false
			}
			group = append(group, *e)
			return true
		})
		return group
	}
	// The start is not mixed: the open fact of the weight, the changed one, and one
	// more ended one that counts, since one is as good as all (see start.go).
	open := *k
	open.End = 0
	opened := t.tree.Find(&open)
	if opened != nil {
		group = append(group, *opened)
	}
	if k.End != 0 {
		group = append(group, *t.tree.Must(k))
	}
	if opened == nil {
		return group
	}
	open.End = 1
	t.tree.VisitAt(&open, func(e *interval.Entry) bool {
		if e.Kind != interval.EntryFact || e.Weight != k.Weight {
			return false
		}
		if !e.Active() || e.CmpKey(k) == 0 {
			return true
		}
		group = append(group, *e)
		return false
	})
	return group
}

// refold folds the facts of one start again, after the one of that key changed.
func (t *timeline) refold(changed *interval.Key) {
	var (
		buf         [4]interval.Entry
		verdictsBuf [4]verdict
	)
	group := t.startGroup(buf[:0], changed)
	verdicts := append(verdictsBuf[:0], make([]verdict, len(group))...)
	derived := foldStart(group, verdicts)

	// Ended holds come first: the time of an open one is then covered already, and
	// removing the open one touches only what really changes.
	for i := range group {
		if verdicts[i] == endedHold {
			k := group[i].Key()
			t.tree.Count(&k, true)
		}
	}
	for _, d := range derived {
		k := d.Key()
		if t.tree.Find(&k) == nil {
			t.tree.Insert(d)
			t.tree.Count(&k, true)
		}
	}
	for i := range group {
		e := &group[i]
		k := e.Key()
		switch {
		case e.Kind == interval.EntryDerived:
			if !slices.ContainsFunc(derived, func(d interval.Entry) bool { return d.CmpKey(&k) == 0 }) {
				t.tree.Count(&k, false)
				t.tree.Remove(&k)
			}
		case e.End != 0:
			if verdicts[i] != endedHold {
				t.tree.Count(&k, false)
			}
		case e.Is(interval.Loose) && verdicts[i] != openHold:
			t.tighten(&k)
		}
	}
	// Last the facts that became open holds, so that no other hold of their start can
	// be taken for them.
	for i := range group {
		if e := &group[i]; verdicts[i] == openHold && !e.Is(interval.Loose) {
			t.place(e.Key(), e.At, true)
		}
	}
}

// Stops without hold_id and open holds match like brackets (S4.5): in the order of
// time, each stop ends the latest-started open hold before it. The matching is kept.
// A change to it runs along a chain: a stop that takes a hold sets free the stop that
// had it, which takes another hold, and so on. Each step is a search and one hold.

// place finds the stop that ends a loose hold which may be taken after the instant
// from. A hold that is new (from is its start) may also be taken by the stop of its
// own instant.
func (t *timeline) place(h interval.Key, from int64, isNew bool) {
	for {
		stop := t.stopOf(&h, from, isNew)
		if stop == nil {
			t.tree.CountLoose(&h, 0)
			return
		}
		at, had, matched := stop.At, stop.MatchKey(), stop.Is(interval.Matched)
		t.tree.Match(at, &h)
		t.tree.CountLoose(&h, at)
		if !matched {
			t.wait--
			return
		}
		h, from, isNew = had, at, false
	}
}

// stopOf returns the first stop that ends h rather than what it ends now, or nil.
func (t *timeline) stopOf(h *interval.Key, from int64, isNew bool) *interval.Entry {
	if isNew {
		// The stop of the hold's own instant prefers holds that began before it.
		stop := t.tree.Find(&interval.Key{At: h.At, Kind: interval.EntryStop})
		if stop != nil && stop.Active() && stop.MatchStart() == 0 && (!stop.Is(interval.Matched) || stop.EndsBelow(h)) {
			return stop
		}
	}
	return t.tree.StopAfter(h, from)
}

// tighten takes a loose hold away. The stop that ended it ends another one.
func (t *timeline) tighten(h *interval.Key) {
	stop := t.tree.Must(h).Eff
	t.tree.Count(h, false)
	if stop != 0 {
		t.feed(stop)
	}
}

// feed finds the hold that an active stop ends, which ends none now.
func (t *timeline) feed(at int64) {
	for {
		hold := t.tree.TopLoose(at)
		if hold == nil {
			hold = t.looseOf(at)
		}
		if hold == nil {
			t.tree.Match(at, nil)
			t.wait++
			return
		}
		k, next := hold.Key(), hold.Eff
		t.tree.Match(at, &k)
		t.tree.CountLoose(&k, at)
		if next == 0 {
			return
		}
		at = next
	}
}

// looseOf returns the loose hold of the largest weight that started at the instant
// itself and has no end there, or nil.
func (t *timeline) looseOf(at int64) (found *interval.Entry) {
	t.tree.VisitAt(&interval.Key{At: at, Kind: interval.EntryFact}, func(e *interval.Entry) bool {
		if e.Kind != interval.EntryFact {
			return false
		}
		if e.Is(interval.Loose) && (e.Eff == 0 || e.Eff > at) {
			found = e
		}
		return true
	})
	return found
}

// addStop adds a stop, or the retract of one, without hold_id.
func (t *timeline) addStop(f *Fact) bool {
	k := interval.Key{At: f.End, Kind: interval.EntryStop}
	flag := interval.Sent
	if f.Kind == KindRetractStop {
		flag = interval.Retracted
	}
	e := t.tree.Find(&k)
	if e == nil {
		t.tree.Insert(interval.Entry{At: f.End, Kind: interval.EntryStop})
		e = t.tree.Find(&k)
	} else if e.Is(flag) {
		return false
	}
	was, matched, ended := *e, e.Is(interval.Matched), e.MatchKey()
	t.tree.Flag(&k, flag)
	now := was.Flags | flag
	if was.Flags == interval.Retracted {
		t.wait-- // its stop came
	}
	switch {
	case now&interval.Retracted == 0: // a stop that counts
		t.feed(f.End)
	case was.Flags == 0: // a retract without its stop
		t.wait++
	case was.Active() && !matched: // retracted, so it does not wait any longer (S5.2)
		t.wait--
	case was.Active():
		t.tree.Match(f.End, nil)
		t.place(ended, f.End, false)
	}
	return true
}
