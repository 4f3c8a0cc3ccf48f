package sharded

import (
	"cmp"
	"math/bits"
	"slices"

	"holdmetrics/hold"
)

// row is an event of a pair in 32 bytes.
type row struct {
	start, end int64
	weight     uint64 // see packed; of an event that states none, 0
	pair       uint32
	what       what
}

// wideWeight marks a row whose weight is in the list of wide ones, at the index that the
// row has instead.
const wideWeight what = 16

// rowStore is the rows of a shard. They are first in the order of the file, then by pair.
type rowStore struct {
	chunks  [][]row
	wide    [][3]uint64
	grouped []row
	ends    []uint32 // by pair: where its rows end
}

// chunkRows is how many rows are allocated at once.
const chunkRows = 1024

func (s *rowStore) add(p uint32, it *item) {
	r := row{start: it.start, end: it.end, pair: p, what: it.what}
	if it.what&hasWeight != 0 {
		var fits bool
		if r.weight, fits = pack(&it.value); !fits {
			r.what |= wideWeight
			r.weight = uint64(len(s.wide))
			s.wide = append(s.wide, it.value)
		}
	}
	n := len(s.chunks)
	if n == 0 || len(s.chunks[n-1]) == chunkRows {
		s.chunks = append(s.chunks, make([]row, 0, chunkRows))
		n++
	}
	s.chunks[n-1] = append(s.chunks[n-1], r)
}

// A packed weight is a number of 56 bits and, in the last byte, how far it is shifted to
// the left. Weights are units of 1e-18, so whole ones have at least 18 zero bits.
func pack(units *[3]uint64) (packed uint64, fits bool) {
	shift := uint(0)
	switch {
	case units[0] != 0:
		shift = uint(bits.TrailingZeros64(units[0]))
	case units[1] != 0:
		shift = 64 + uint(bits.TrailingZeros64(units[1]))
	case units[2] != 0:
		shift = 128 + uint(bits.TrailingZeros64(units[2]))
	default:
		return 0, true
	}
	limb, rest := shift/64, shift%64
	number := units[limb] >> rest
	for i := limb + 1; i < 3; i++ {
		over := units[i]
		if i == limb+1 && rest > 0 {
			number |= over << (64 - rest)
			over >>= rest
		}
		if over != 0 {
			return 0, false
		}
	}
	return number<<8 | uint64(shift), number>>56 == 0
}

func unpack(packed uint64) (w hold.Weight) {
	number, shift := packed>>8, uint(packed&0xff)
	limb, rest := shift/64, shift%64
	w[limb] = number << rest
	if rest > 0 {
		w[limb+1] = number >> (64 - rest)
	}
	return w
}

// group orders the rows by pair.
func (s *rowStore) group(pairs int) {
	s.ends = make([]uint32, pairs)
	total := 0
	for _, chunk := range s.chunks {
		total += len(chunk)
		for i := range chunk {
			s.ends[chunk[i].pair]++
		}
	}
	at := uint32(0)
	for p, n := range s.ends {
		s.ends[p] = at // where its rows begin, until they are placed
		at += n
	}
	s.grouped = make([]row, total)
	for _, chunk := range s.chunks {
		for i := range chunk {
			r := &chunk[i]
			s.grouped[s.ends[r.pair]] = *r
			s.ends[r.pair]++
		}
	}
	s.chunks = nil
}

// of returns the rows of a pair. They must have been grouped.
func (s *rowStore) of(p uint32) []row {
	begin := uint32(0)
	if p > 0 {
		begin = s.ends[p-1]
	}
	return s.grouped[begin:s.ends[p]]
}

// weightOf returns the weight of a row that states one.
func (s *rowStore) weightOf(r *row) hold.Weight {
	if r.what&wideWeight != 0 {
		w := s.wide[r.weight]
		return hold.Weight{w[0], w[1], w[2]}
	}
	return unpack(r.weight)
}

// pair returns the pair of the facts of the rows.
func (s *rowStore) pair(p uint32, policy hold.Policy) *hold.Pair {
	own := slices.Clone(s.of(p))
	// A pair takes facts fastest by time, and has the same figures in any order.
	slices.SortFunc(own, func(a, b row) int { return cmp.Compare(a.start, b.start) })
	pair := hold.NewPair(policy)
	for i := range own {
		pair.Add(s.fact(&own[i]))
	}
	return pair
}

func (s *rowStore) fact(r *row) hold.Fact {
	switch r.what & kindMask {
	case isStop:
		return hold.Fact{Kind: hold.KindStop, End: r.end}
	case isRetractStop:
		return hold.Fact{Kind: hold.KindRetractStop, End: r.end}
	}
	f := hold.Fact{Kind: hold.KindHold, Start: r.start, End: r.end}
	if r.what&kindMask == isRetract {
		f.Kind = hold.KindRetractHold
	}
	if r.what&hasWeight != 0 {
		f.Weight, f.HasWeight = s.weightOf(r), true
	}
	return f
}
