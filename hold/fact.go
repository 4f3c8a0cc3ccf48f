package hold

import (
	"encoding/binary"
	"fmt"

	"holdmetrics/hold/internal/coding"
)

// Kind is the kind of a fact (S2.1).
type Kind uint8

// The kinds of facts.
const (
	KindHold        Kind = 1 + iota // a hold, open or ended
	KindStop                        // an end without a start
	KindRetractHold                 // retracts a hold: by content, or by hold_id
	KindRetractStop                 // retracts a stop
)

// Fact is the statement of one event in canonical form (S2.2): fields without a
// meaning for its kind are zero. Two facts are equal if and only if they are ==.
//
//	kind         without HoldID             with HoldID
//	hold         Start, End, Weight         and Revision
//	stop         End                        End, Revision
//	retract hold Start, End, Weight         Revision
//	retract stop End                        End, Revision
type Fact struct {
	Kind       Kind
	HasWeight  bool
	HoldID     string // empty: none
	Revision   uint64
	Start, End int64 // ns; an End of 0 in a hold: open
	Weight     Weight
}

// Fact returns the fact that the event states. It shares the event's HoldID string.
func (e *Event) Fact() Fact {
	f := Fact{HoldID: e.HoldID, End: e.End}
	if e.HoldID != "" {
		f.Revision = e.Revision
	}
	switch {
	case e.Start == 0 && e.End != 0: // a stop
		f.Kind = KindStop
		if e.Retract {
			f.Kind = KindRetractStop
		}
		return f
	case e.Retract:
		f.Kind = KindRetractHold
		if e.HoldID != "" {
			f.End = 0
			return f
		}
	default:
		f.Kind = KindHold
	}
	f.Start = e.Start
	if e.HasWeight {
		f.Weight, f.HasWeight = e.Weight, true
	}
	return f
}

// The first byte of the binary form: the kind, and flags for optional fields.
const (
	factKindMask  = 0x07
	factHasWeight = 0x08
	factHasID     = 0x10
)

// Append appends the fact's binary form. Equal facts have equal bytes, and different
// facts have different bytes. The form is self-delimiting.
func (f *Fact) Append(dst []byte) []byte {
	head := byte(f.Kind)
	if f.HasWeight {
		head |= factHasWeight
	}
	if f.HoldID != "" {
		head |= factHasID
	}
	dst = append(dst, head)
	if f.HoldID != "" {
		dst = binary.AppendUvarint(dst, uint64(len(f.HoldID)))
		dst = append(dst, f.HoldID...)
		dst = binary.AppendUvarint(dst, f.Revision)
	}
	dst = binary.AppendUvarint(dst, uint64(f.Start))
	dst = binary.AppendUvarint(dst, uint64(f.End))
	if f.HasWeight {
		dst = coding.AppendLimbs(dst, f.Weight[:])
	}
	return dst
}

// ParseFact reads a fact that Append wrote, and returns it with the remaining bytes.
// Its errors wrap [ErrCorrupt]. The HoldID is copied.
func ParseFact(b []byte) (Fact, []byte, error) {
	r := coding.Reader{Rest: b}
	head := r.Byte()
	f := Fact{Kind: Kind(head & factKindMask), HasWeight: head&factHasWeight != 0}
	if head&factHasID != 0 {
		f.HoldID = string(r.Bytes(r.Uvarint()))
		f.Revision = r.Uvarint()
	}
	f.Start, f.End = r.Time(), r.Time()
	if f.HasWeight {
		r.Limbs(f.Weight[:])
	}
	if r.Bad || head&^(factKindMask|factHasWeight|factHasID) != 0 || !f.valid(head&factHasID != 0) {
		return Fact{}, nil, fmt.Errorf("%w: fact", ErrCorrupt)
	}
	return f, r.Rest, nil
}

// valid reports whether an accepted event can state the fact.
func (f *Fact) valid(hasID bool) bool {
	if hasID && (f.HoldID == "" || len(f.HoldID) > maxID) || !f.HasWeight && f.Weight != (Weight{}) || f.Weight.Cmp(maxWeight) >= 0 {
		return false
	}
	switch f.Kind {
	case KindHold:
	case KindStop, KindRetractStop:
		return f.Start == 0 && f.End != 0 && !f.HasWeight
	case KindRetractHold:
		if hasID {
			return f.Start == 0 && f.End == 0 && !f.HasWeight
		}
	default:
		return false
	}
	return f.Start != 0 && (f.End == 0 || f.End >= f.Start)
}
