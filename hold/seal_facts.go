package hold

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
)

// A store that keeps facts cannot take them away in the moment in which a total
// takes their place: they are many documents. So what it stores of a sealed pair says
// which facts it stands for, and whoever opens the pair leaves those out, however many
// of them are still there.
//
// Of the facts without hold_id a bound tells it: all that are about an earlier time
// went. No later fact can fall behind it, since from the horizon on at which the pair
// was sealed it would be refused. The bound is that of the facts that went, and not
// the cut, so that it does not depend on how many steps led there. Hold_ids that went
// are told by their hashes.

// idHash tells hold_ids that went: the first half of their SHA-256, of which it takes
// some 2^64 tries to find two alike.
type idHash [16]byte

func hashID(id string) idHash {
	sum := sha256.Sum256([]byte(id))
	return idHash(sum[:])
}

func (h idHash) compare(o idHash) int { return bytes.Compare(h[:], o[:]) }

// bound divides facts without hold_id by the time that they are about.
type bound struct {
	at     int64 // ns: what is about an earlier time went, and what ends then and has no start
	starts bool  // and what starts then
}

// or is the later one of two.
func (b bound) or(o bound) bound {
	if o.at > b.at || o.at == b.at && o.starts {
		return o
	}
	return b
}

// about is the start of a fact without hold_id, or the end of one that has no start.
func (f *Fact) about() int64 {
	if f.Start != 0 {
		return f.Start
	}
	return f.End
}

// has says whether a hold_id went.
func (s *sealed) has(id string) bool {
	_, found := slices.BinarySearchFunc(s.ids, hashID(id), idHash.compare)
	return found
}

// SealedFacts is what stands for the facts of a pair that were sealed, where a store
// keeps facts. Its zero value stands for none. It never changes.
type SealedFacts struct{ s *sealed }

const sealedFactsVersion = 2

// DirtySealed is what is to be stored of the facts of the pair that were sealed, for
// [ReadSealedFacts], and nil where that has not changed since the last ClearDirty. It
// is for pairs that are made of facts; one that was opened from pages has no more to
// tell than what was sealed of it since.
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

// ReadSealedFacts reads what [Pair.DirtySealed] gave; nothing is the zero value. Its
// errors wrap [ErrCorrupt].
func ReadSealedFacts(data []byte) (SealedFacts, error) {
	if len(data) == 0 {
		return SealedFacts{}, nil
	}
	r := reader{b: data}
	version := r.byte()
	b := bound{at: r.time()}
	starts := r.byte()
	b.starts = starts == 1
	if version != sealedFactsVersion || starts > 1 || r.bad {
		return SealedFacts{}, fmt.Errorf("%w: what was sealed of a pair's facts", ErrCorrupt)
	}
	s, err := readSealed(r.b)
	if err != nil {
		return SealedFacts{}, err
	}
	s.bound = b
	return SealedFacts{s}, nil
}

// Count is how many facts it stands for. Of two that were stored of one pair, the one
// of the greater count stands for all that the other does.
func (s SealedFacts) Count() uint64 {
	if s.s == nil {
		return 0
	}
	return s.s.facts
}

// Covers says whether it stands for a fact of its pair.
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

// Pair is the pair of what was sealed and of facts, in any order. Facts that it
// stands for may be among them, or not.
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
		p.beside().sealed = &part
	}
	return p
}
