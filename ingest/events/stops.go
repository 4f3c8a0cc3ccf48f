package events

import (
	"hash/maphash"

	"holdmetrics/hold"
)

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

// check refuses a stop with a weight, unless it is that of the hold that the stop ends:
// of the open ones of the files, the latest that started before it. That weight is then
// left out, because it changes nothing.
func (s *stops) check(d *hold.Draft) error {
	if d.Start.Set {
		if !d.End.Set && !d.Retract {
			s.open(d)
		}
		return nil
	}
	if !d.End.Set {
		return nil
	}
	var holds []openHold
	ended := -1
	if !d.Retract {
		key := s.key(d)
		holds = s.holds[key]
		for i := range holds {
			if before(holds[i].start, d.End) && (ended < 0 || !before(holds[i].start, holds[ended].start)) {
				ended = i
			}
		}
		if ended >= 0 && d.HoldID == "" {
			defer func() {
				holds[ended] = holds[len(holds)-1]
				s.holds[key] = holds[:len(holds)-1]
			}()
		}
	}
	if d.WeightExact == "" && !d.WeightGiven {
		return nil
	}
	e, err := d.Check(hold.MaxTime, hold.Limits{})
	if err != nil {
		return nil // which is found again, where the clock is known
	}
	var ends *hold.Weight
	if ended >= 0 {
		ends = &holds[ended].weight
	}
	if err := e.CheckStopWeight(ends); err != nil {
		return err
	}
	d.Weight, d.WeightGiven, d.WeightExact = 0, false, ""
	return nil
}

// open notes an open hold.
func (s *stops) open(d *hold.Draft) {
	e, err := d.Check(hold.MaxTime, hold.Limits{})
	if err != nil {
		return
	}
	weight := hold.One
	if e.HasWeight {
		weight = e.Weight
	}
	key := s.key(d)
	s.holds[key] = append(s.holds[key], openHold{d.Start, weight})
}

func before(a, b hold.Stamp) bool {
	return a.Seconds < b.Seconds || a.Seconds == b.Seconds && a.Nanos < b.Nanos
}
