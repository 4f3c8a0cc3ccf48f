package interval

import (
	"math"

	"holdmetrics/hold/internal/coding"
	"holdmetrics/hold/internal/limbs"
)

// Weight is a weight in units of 1e-18, the least significant limb first.
type Weight [4]uint64

// One is a weight of 1.
var One = Weight{1_000_000_000_000_000_000}

// weightLimit is the first number of units that is too large for a weight: 10^55.
var weightLimit = func() Weight {
	w := Weight{1}
	for range 55 {
		limbs.Mul(w[:], w[:], 10)
	}
	return w
}()

// Cmp returns -1, 0 or 1 if w is less than, equal to or greater than v.
func (w *Weight) Cmp(v *Weight) int {
	for i := len(w) - 1; i >= 0; i-- {
		if w[i] != v[i] {
			if w[i] < v[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// raise makes w at least v.
func (w *Weight) raise(v *Weight) {
	if w.Cmp(v) < 0 {
		*w = *v
	}
}

// Policy is how overlapping holds count (S1.3).
type Policy uint8

// The policies.
const (
	Merge Policy = iota
	Sum
)

// Kind is what an entry is. Entries of one instant are in the order of their kinds.
type Kind uint8

// The kinds of entries.
const (
	EntryStop    Kind = iota // a stop without hold_id, at its end
	EntryFact                // a hold fact without hold_id, at its start
	EntryDerived             // a hold that no single fact states (S4.3), at its start
	EntryID                  // the effective hold of a hold_id, at its start
)

// The flags of an entry.
const (
	Sent             uint8 = 1 << iota // the fact was sent
	Retracted                          // its retract was sent
	HasWeight                          // the fact states a weight
	Covers                             // an effective hold, which counts
	Loose                              // an open hold that only a stop can end (S4.4)
	Matched                            // a stop that ends a hold
	MatchedHasWeight                   // and the fact of that hold states a weight
)

// Forever stands for the end of an open hold where ends are compared.
const Forever = math.MaxInt64

// Entry is one line of a timeline: a fact, or an effective hold that is not a fact.
// One entry serves a fact and the hold that follows from it, which is nearly always
// the same thing. It takes 64 bytes, a cache line.
type Entry struct {
	At     int64  // start of a hold, or the instant of a stop
	End    int64  // as the fact states it (0: open); of derived ones and ids the effective end (0: open)
	Eff    int64  // loose: the stop that ends it (0: none). stop: the start of what it ends. id: its Ord
	Weight Weight // of the hold, 1 if none was stated; of a stop: of the hold that it ends
	Kind   Kind
	Flags  uint8
}

// Is reports whether the entry has any of the flags.
func (e *Entry) Is(flag uint8) bool { return e.Flags&flag != 0 }

// Active reports whether a fact was sent and not retracted (S4.1).
func (e *Entry) Active() bool { return e.Flags&(Sent|Retracted) == Sent }

// EffectiveEnd returns the effective end of a hold, or 0 if it is open.
func (e *Entry) EffectiveEnd() int64 {
	if e.Flags&Loose != 0 {
		return e.Eff
	}
	return e.End
}

// EndOrForever returns the effective end of a hold, or Forever if it is open.
func (e *Entry) EndOrForever() int64 {
	if end := e.EffectiveEnd(); end != 0 {
		return end
	}
	return Forever
}

// within returns the end of a hold as its family counts it, and whether it does.
func (e *Entry) within(f Family) (end int64, counts bool) {
	if !e.Is(Covers) {
		return 0, false
	}
	end = e.EffectiveEnd()
	if end == 0 {
		return coding.MaxTime, f == AllHolds
	}
	return end, end > e.At
}

// Facts calls fn with the one or two facts that an entry stands for: whether each is
// a retract. It stops if fn returns false, and reports whether it did not.
func (e *Entry) Facts(fn func(retract bool) bool) bool {
	if e.Kind > EntryFact {
		return true
	}
	return (!e.Is(Sent) || fn(false)) && (!e.Is(Retracted) || fn(true))
}

// MatchKey returns the key of the hold that a matched stop ends.
func (e *Entry) MatchKey() Key {
	return Key{At: e.Eff, Weight: e.Weight, Kind: EntryFact, HasWeight: e.Is(MatchedHasWeight)}
}

// MatchStart orders stops by what they end. It is 0 if an open hold that began
// before the stop would always be taken instead: the stop ends nothing, or only a
// hold of its own instant (S4.5).
func (e *Entry) MatchStart() int64 {
	if !e.Is(Matched) || e.Eff == e.At {
		return 0
	}
	return e.Eff
}

// EndsBelow reports whether the hold that the stop ends gives way to h.
func (e *Entry) EndsBelow(h *Key) bool {
	k := e.MatchKey()
	return k.cmp(h) < 0
}

// Key orders entries and tells them apart: by the instant and the kind, and for all
// but stops by whether a weight was stated, the weight, and the end. So entries that
// interact stand together: all facts of one start, those without weight first, and
// of one weight the open one before the ended ones.
type Key struct {
	At        int64
	End       int64
	Weight    Weight
	Ord       int64 // of the holds of hold_ids: tells equal ones apart
	Kind      Kind
	HasWeight bool
}

// Key returns the entry's key.
func (e *Entry) Key() Key {
	if e.Kind == EntryStop {
		return Key{At: e.At, Kind: EntryStop}
	}
	k := Key{At: e.At, End: e.End, Weight: e.Weight, Kind: e.Kind, HasWeight: e.Is(HasWeight)}
	if e.Kind == EntryID {
		k.Ord = e.Eff
	}
	return k
}

// CmpKey returns a number below, equal to or above 0 if the entry's key is before,
// equal to or behind k.
func (e *Entry) CmpKey(k *Key) int {
	if e.At != k.At {
		return cmpInt(e.At, k.At)
	}
	if e.Kind != k.Kind {
		return int(e.Kind) - int(k.Kind)
	}
	if e.Kind == EntryStop {
		return 0
	}
	if has := e.Is(HasWeight); has != k.HasWeight {
		if !has {
			return -1
		}
		return 1
	}
	if c := e.Weight.Cmp(&k.Weight); c != 0 {
		return c
	}
	if e.End != k.End {
		return cmpInt(e.End, k.End)
	}
	if e.Kind == EntryID && e.Eff != k.Ord {
		return cmpInt(e.Eff, k.Ord)
	}
	return 0
}

func (k *Key) cmp(o *Key) int {
	if k.At != o.At {
		return cmpInt(k.At, o.At)
	}
	e := Entry{At: k.At, End: k.End, Eff: k.Ord, Weight: k.Weight, Kind: k.Kind}
	if k.HasWeight {
		e.Flags = HasWeight
	}
	return e.CmpKey(o)
}

// cmpInt compares numbers that differ.
func cmpInt(a, b int64) int {
	if a < b {
		return -1
	}
	return 1
}
