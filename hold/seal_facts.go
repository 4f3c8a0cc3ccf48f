package hold

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"holdmetrics/hold/internal/coding"
)

// A store that keeps facts cannot remove them at the instant at which a total takes
// their place: they are many documents. So the sealed part that it stores says which
// facts it stands for. Opening the pair leaves those facts out, whether or not they are
// still stored.
//
// For facts without hold_id a bound says it: all facts about an earlier time were
// removed. No later fact can be before the bound, since it would be refused. The
// bound is that of the facts that were removed, not the split point, so it does not
// depend on the number of steps that led there. Removed hold_ids are known by their
// hashes.

// idHash identifies a removed hold_id: the first half of its SHA-256. Finding two ids
// of one hash takes some 2^64 tries.
type idHash [16]byte

func hashID(id string) idHash {
	sum := sha256.Sum256([]byte(id))
	return idHash(sum[:])
}

func (h idHash) compare(o idHash) int { return bytes.Compare(h[:], o[:]) }

// bound divides facts without hold_id by the time that they are about (S9.5).
type bound struct {
	at     int64 // ns: facts about an earlier time were removed, and the stop of this instant
	starts bool  // and facts that start then
}

// or returns the later one of two.
func (b bound) or(o bound) bound {
	if o.at > b.at || o.at == b.at && o.starts {
		return o
	}
	return b
}

// about returns the start of a fact without hold_id, or the end of one without start.
func (f *Fact) about() int64 {
	if f.Start != 0 {
		return f.Start
	}
	return f.End
}

// has reports whether a hold_id was removed.
func (s *sealed) has(id string) bool {
	_, found := slices.BinarySearchFunc(s.ids, hashID(id), idHash.compare)
	return found
}

// SealedFacts stands for the facts of a pair that were sealed, in a store that keeps
// facts. Its zero value stands for none. It is immutable.
type SealedFacts struct{ s *sealed }

const sealedFactsVersion = 2

// DirtySealed returns what is to be stored about the facts of the pair that were
// sealed, for [ReadSealedFacts], or nil if that has not changed since the last
// ClearDirty. It is for pairs that are made of facts. For one that was opened from
// pages it covers only what was sealed since.
//
//	2 <bound> <starts> <page of what was sealed>
func (p *Pair) DirtySealed() []byte {
	s := p.sealedPart()
	if !s.dirty {
		return nil
	}
	b := binary.AppendUvarint([]byte{sealedFactsVersion}, uint64(s.bound.at))
	starts := byte(0)
	if s.bound.starts {
		starts = 1
	}
	return append(append(b, starts), s.page()...)
}

// ReadSealedFacts reads what [Pair.DirtySealed] returned. Empty data gives the zero
// value. Its errors wrap [ErrCorrupt].
func ReadSealedFacts(data []byte) (SealedFacts, error) {
	if len(data) == 0 {
		return SealedFacts{}, nil
	}
	r := coding.Reader{Rest: data}
	version := r.Byte()
	b := bound{at: r.Time()}
	starts := r.Byte()
	b.starts = starts == 1
	if version != sealedFactsVersion || starts > 1 || r.Bad {
		return SealedFacts{}, fmt.Errorf("%w: what was sealed of a pair's facts", ErrCorrupt)
	}
	s, err := readSealed(r.Rest)
	if err != nil {
		return SealedFacts{}, err
	}
	s.bound = b
	return SealedFacts{s}, nil
}

// Count returns how many facts it stands for. Of two that were stored of one pair,
// the one of the greater count stands for all facts of the other.
func (s SealedFacts) Count() uint64 {
	if s.s == nil {
		return 0
	}
	return s.s.facts
}

// Covers reports whether it stands for a fact of its pair.
func (s SealedFacts) Covers(f *Fact) bool {
	switch {
	case s.s == nil:
		return false
	case f.HoldID != "":
		return s.s.has(f.HoldID)
	}
	at, b := f.about(), s.s.bound
	return at < b.at || at == b.at && (b.starts || f.Start == 0)
}

// Pair returns the pair of the sealed part and of facts, in any order. Facts that it
// stands for may be among them.
func (s SealedFacts) Pair(policy Policy, facts iter.Seq[Fact]) *Pair {
	p := NewPair(policy)
	for f := range facts {
		if !s.Covers(&f) {
			p.add(&f)
		}
	}
	if s.s != nil {
		part := *s.s
		part.ids = slices.Clone(part.ids)
		p.makeRare().sealed = &part
	}
	return p
}
