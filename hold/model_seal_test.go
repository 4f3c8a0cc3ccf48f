package hold_test

import (
	"slices"

	"holdmetrics/hold"
)

// admits is the model's reading of what may still be said once what was held before
// a horizon is final. It knows every fact, and compares what was held before with
// what would have been.
func (m *model) admits(f hold.Fact, horizon int64) bool {
	reaches := func(h modelHold) bool { return h.end == 0 || h.end > horizon }
	switch {
	case f.End != 0 && f.End <= horizon:
		// "Refused is what has an end at the horizon or before,"
		return false
	case f.HoldID == "" && f.Start != 0 && f.End == 0 && f.Start < horizon:
		// "and without hold_id an open hold, or the retract of one, that starts before it."
		return false
	case f.HoldID != "":
		// "one of a hold_id where its hold has ended by it"
		if h, held, _ := m.foldID(f.HoldID); held && !reaches(h) {
			return false
		}
	case f.Start != 0 && f.Start < horizon:
		// "One without hold_id that starts before the horizon is also refused where no
		// hold of that start reaches past it"
		holds, _ := m.foldWithout()
		if !slices.ContainsFunc(holds, func(h modelHold) bool { return h.start == f.Start && reaches(h) }) {
			return false
		}
	}
	// "A fact is refused if it would change what was held before the horizon: which
	// holds began there, of which weight, and which of them ended by it."
	after := newModel(m.policy)
	for was := range m.facts {
		after.add(was)
	}
	after.add(f)
	return slices.Equal(m.heldBefore(horizon), after.heldBefore(horizon))
}

// heldBefore is what the holds come to that began before a horizon; 0 for the ends
// of those that did not end by it.
func (m *model) heldBefore(horizon int64) (held []modelHold) {
	holds, _ := m.fold()
	for _, h := range holds {
		if h.start >= horizon {
			continue
		}
		if h.end > horizon {
			h.end = 0
		}
		held = append(held, h)
	}
	sortHolds(held)
	return held
}
