package sharded

import (
	"encoding/binary"
	"math/bits"
	"unsafe"

	"holdmetrics/hold"
)

// ShardBits is the number of bits of a hash that name a shard. The pairs of 200,000
// holders are then 1,600 a shard, which fit the cache of a core.
const (
	ShardBits = 7
	Shards    = 1 << ShardBits
)

// item is what a row says about one pair.
type item struct {
	hash       uint64 // of the holder
	start, end int64  // of a hold; of a move, start is its time
	value      [3]uint64
	token      uint32
	id         uint32 // where the holder is among the bytes of the list
	idLen      uint16
	what       what
}

// what an item is.
type what uint16

const (
	isHold what = iota
	isRetract
	isStop
	isRetractStop
	isIn  // a move to the holder
	isOut // a move from the holder

	kindMask  what = 7
	hasWeight what = 8
)

// list is the items of a batch for one shard.
type list struct {
	items []item
	ids   []byte
}

// Batch is what the rows of a block say, by shard. It is not safe for concurrent use.
type Batch struct {
	seed  uint64
	lists [Shards]list
}

func (b *Batch) reset() {
	for i := range b.lists {
		l := &b.lists[i]
		l.items, l.ids = l.items[:0], l.ids[:0]
	}
}

// Event adds an event without a hold_id, which must have passed [hold.Draft.Check]. The
// holder is copied. It reports false if the event does not fit.
func (b *Batch) Event(token uint32, holder string, e *hold.Event) bool {
	if e.Start == 0 && e.End != 0 {
		it := b.add(holder)
		if it == nil {
			return false
		}
		it.start, it.end, it.token, it.what = e.End, e.End, token, isStop
		if e.Retract {
			it.what = isRetractStop
		}
		return true
	}
	what := isHold
	if e.Retract {
		what = isRetract
	}
	return b.hold(token, holder, e.Start, e.End, &e.Weight, e.HasWeight, what)
}

// Hold adds a hold, as Event does. An end of 0 leaves it open.
func (b *Batch) Hold(token uint32, holder string, start, end int64, w *hold.Weight, weighted bool) bool {
	return b.hold(token, holder, start, end, w, weighted, isHold)
}

func (b *Batch) hold(token uint32, holder string, start, end int64, w *hold.Weight, weighted bool, what what) bool {
	it := b.add(holder)
	if it == nil {
		return false
	}
	if weighted {
		what |= hasWeight
	}
	it.start, it.end, it.token, it.what, it.value = start, end, token, what, [3]uint64(w[:3])
	return true
}

// Move adds what a transfer moves: in units of a weight, from one holder to another, at a
// time. It reports false if the holders do not fit.
func (b *Batch) Move(token uint32, from, to string, at int64, units *[3]uint64) bool {
	out := b.add(from)
	if out == nil {
		return false
	}
	out.start, out.end, out.token, out.what, out.value = at, 0, token, isOut, *units
	in := b.add(to)
	if in == nil {
		return false
	}
	in.start, in.end, in.token, in.what, in.value = at, 0, token, isIn, *units
	return true
}

// add returns a new item of a holder, or nil if the id is too long. The other fields of the
// item have any values.
func (b *Batch) add(holder string) *item {
	if len(holder) > 1<<16-1 {
		return nil
	}
	hash := hashOf(b.seed, holder)
	l := &b.lists[hash>>(64-ShardBits)]
	n := len(l.items)
	if n < cap(l.items) {
		l.items = l.items[:n+1]
	} else {
		l.items = append(l.items, item{})
	}
	it := &l.items[n]
	it.hash, it.id, it.idLen = hash, uint32(len(l.ids)), uint16(len(holder))
	l.ids = append(l.ids, holder...)
	return it
}

const (
	multiplier = 0x9fb21c651e98df25
	lowerCase  = 0x2020202020202020
)

// hashOf returns a hash of an id that is the same for all spellings of an address, so
// that they are in one shard: it does not tell upper case from lower case, nor \x from 0x.
func hashOf(seed uint64, id string) uint64 {
	h := seed ^ uint64(len(id))
	b := unsafe.Slice(unsafe.StringData(id), len(id))
	switch {
	case len(b) >= 8:
	case len(b) >= 4:
		word := uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[len(b)-4:]))<<32
		return mix(mix(h, word|lowerCase), multiplier)
	case len(b) > 0:
		word := uint64(b[0]) | uint64(b[len(b)/2])<<8 | uint64(b[len(b)-1])<<16
		return mix(mix(h, word|lowerCase), multiplier)
	default:
		return mix(h, multiplier)
	}
	first := binary.LittleEndian.Uint64(b)
	if b[0] == '\\' {
		first = first&^0xff | '0'
	}
	h = mix(h, first|lowerCase)
	for at := 8; at+8 <= len(b); at += 8 {
		h = mix(h, binary.LittleEndian.Uint64(b[at:])|lowerCase)
	}
	if len(b)%8 != 0 {
		h = mix(h, binary.LittleEndian.Uint64(b[len(b)-8:])|lowerCase)
	}
	return mix(h, multiplier)
}

// HashRow returns a hash of the cells of a row.
func HashRow(seed uint64, row []string) uint64 {
	h := seed
	for _, cell := range row {
		b := unsafe.Slice(unsafe.StringData(cell), len(cell))
		h = mix(h, uint64(len(b)))
		for ; len(b) >= 8; b = b[8:] {
			h = mix(h, binary.LittleEndian.Uint64(b))
		}
		if len(b) > 0 {
			var word [8]byte
			copy(word[:], b)
			h = mix(h, binary.LittleEndian.Uint64(word[:]))
		}
	}
	return mix(h, multiplier)
}

func mix(h, word uint64) uint64 {
	hi, lo := bits.Mul64(h^word, multiplier)
	return hi ^ lo
}
