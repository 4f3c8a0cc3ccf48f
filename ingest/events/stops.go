package events

import (
	"hash/maphash"

	"holdmetrics/hold"
)

// ErrStopWeight means that a stop carries a weight that is not the one of the hold
// that it ends.
var ErrStopWeight = hold.ErrStopWeight

// openHold is a hold without an end that a file said.
type openHold struct {
	start  hold.Stamp
	weight hold.Weight
}

// stops follows the open holds of files, to know what a stop ends.
type stops struct {
	seed  maphash.Seed
	holds map[uint64][]openHold // by pair and hold_id
}

func (s *stops) key(d *hold.Draft) uint64 {
	if s.holds == nil {
		s.seed, s.holds = maphash.MakeSeed(), make(map[uint64][]openHold)
	}
	var h maphash.Hash
	h.SetSeed(s.seed)
	for _, text := range []string{d.Token, d.Holder, d.HoldID} {
		_, _ = h.WriteString(text)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

// check refuses a stop with a weight that is not that of the hold which it ends: of
// the file's open ones the latest that started before it. A weight that is takes
// nothing away, and is left out.
func (s *stops) check(d *hold.Draft) error {
	switch {
	case d.Retract:
		return nil
	case d.Start.Set && d.End.Set:
		return nil
	case d.Start.Set:
		if weight, ok := weightOf(d); ok {
			key := s.key(d)
			s.holds[key] = append(s.holds[key], openHold{d.Start, weight})
		}
		return nil
	case !d.End.Set:
		return nil
	}
	key := s.key(d)
	holds, ended := s.holds[key], -1
	for i := range holds {
		if before(holds[i].start, d.End) && (ended < 0 || !before(holds[i].start, holds[ended].start)) {
			ended = i
		}
	}
	given := d.WeightExact != "" || d.WeightGiven
	if given {
		weight, ok := weightOf(d)
		if !ok {
			return nil // which hold.Draft.Check has words for
		}
		if ended < 0 || holds[ended].weight != weight {
			return &hold.FieldError{Field: "weight", Err: ErrStopWeight}
		}
		d.Weight, d.WeightGiven, d.WeightExact = 0, false, ""
	}
	if ended >= 0 && d.HoldID == "" {
		holds[ended] = holds[len(holds)-1]
		s.holds[key] = holds[:len(holds)-1]
	}
	return nil
}

func before(a, b hold.Stamp) bool {
	return a.Seconds < b.Seconds || a.Seconds == b.Seconds && a.Nanos < b.Nanos
}

func weightOf(d *hold.Draft) (hold.Weight, bool) {
	switch {
	case d.WeightExact != "":
		w, err := hold.ParseWeight(d.WeightExact)
		return w, err == nil
	case d.WeightGiven:
		w, err := hold.WeightFromFloat(d.Weight)
		return w, err == nil
	}
	return hold.One, true
}
