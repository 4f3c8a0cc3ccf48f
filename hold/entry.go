package hold

import "math"

// kind of an entry; the order is that of entries of one instant.
type entryKind uint8

const (
	entryStop    entryKind = iota // a stop, standing at its end
	entryFact                     // a hold fact without hold_id, standing at its start
	entryDerived                  // a hold that no single fact spells out (see refold)
	entryID                       // the effective hold of a hold_id
)

const (
	flagSent             uint8 = 1 << iota // the fact itself is there
	flagRetracted                          // its retract is there
	flagHasWeight                          // the fact gave a weight
	flagCovers                             // it is an effective hold and counts
	flagLoose                              // an open hold that only a stop can end
	flagMatched                            // a stop that ends a hold
	flagMatchedHasWeight                   // and that hold's fact gave a weight
)

// forever stands for the end of an open hold where ends are compared.
const forever = math.MaxInt64

// entry is one line of a pair's timeline: a fact, or an effective hold that is
// not a fact. One entry serves a fact and the hold that follows from it, which
// is nearly always the same thing. 64 bytes, a cache line.
type entry struct {
	at     int64  // start of a hold, or the instant of a stop
	end    int64  // as the fact says (0: open); derived and id: the effective end (0: open)
	eff    int64  // loose: the stop that ends it (0: none). stop: the start of what it ends. id: its ord
	weight Weight // of the hold, 1 where none was given; stop: of the hold that it ends
	kind   entryKind
	flags  uint8
}

func (e *entry) is(flag uint8) bool { return e.flags&flag != 0 }

// active says whether a fact, or a stop, was sent and is not retracted.
func (e *entry) active() bool { return e.flags&(flagSent|flagRetracted) == flagSent }

// effEnd is the effective end of a hold, 0 where it is open.
func (e *entry) effEnd() int64 {
	if e.flags&flagLoose != 0 {
		return e.eff
	}
	return e.end
}

// effEndOrForever is effEnd as it compares.
func (e *entry) effEndOrForever() int64 {
	if end := e.effEnd(); end != 0 {
		return end
	}
	return forever
}

// key is what orders entries and tells them apart: the instant, the kind, and
// for what is no stop whether a weight was given, the weight and the end. So
// what interacts stands together: all facts of one start, those without weight
// first, and of one weight the open one before the ended ones.
type key struct {
	at        int64
	end       int64
	weight    Weight
	ord       int64 // of the holds of hold_ids: tells equal ones apart
	kind      entryKind
	hasWeight bool
}

func (e *entry) key() key {
	if e.kind == entryStop {
		return key{at: e.at, kind: entryStop}
	}
	k := key{at: e.at, end: e.end, weight: e.weight, kind: e.kind, hasWeight: e.is(flagHasWeight)}
	if e.kind == entryID {
		k.ord = e.eff
	}
	return k
}

// cmpKey compares an entry's key with k.
func (e *entry) cmpKey(k *key) int {
	if e.at != k.at {
		return cmpInt(e.at, k.at)
	}
	if e.kind != k.kind {
		return int(e.kind) - int(k.kind)
	}
	if e.kind == entryStop {
		return 0
	}
	if has := e.is(flagHasWeight); has != k.hasWeight {
		if !has {
			return -1
		}
		return 1
	}
	if c := e.weight.Cmp(k.weight); c != 0 {
		return c
	}
	if e.end != k.end {
		return cmpInt(e.end, k.end)
	}
	if e.kind == entryID && e.eff != k.ord {
		return cmpInt(e.eff, k.ord)
	}
	return 0
}

// matchKey is the key of the hold that a matched stop ends.
func (e *entry) matchKey() key {
	return key{at: e.eff, weight: e.weight, kind: entryFact, hasWeight: e.is(flagMatchedHasWeight)}
}

// matchStart orders stops by what they end: 0 where an open hold that began
// before the stop would always be taken instead (it ends nothing, or only one
// of its own instant).
func (e *entry) matchStart() int64 {
	if !e.is(flagMatched) || e.eff == e.at {
		return 0
	}
	return e.eff
}
