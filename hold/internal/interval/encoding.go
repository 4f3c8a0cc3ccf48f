package interval

import (
	"encoding/binary"

	"holdmetrics/hold/internal/coding"
	"holdmetrics/hold/internal/limbs"
)

// append appends the area. Sums that are negative, modulo the width, are as short
// as others.
func (a *Area) append(dst []byte) []byte {
	const negative = 0x80
	sum, sign := a.Sum, byte(0)
	if sum[len(sum)-1]>>63 == 1 {
		sum, sign = [6]uint64{}, negative
		limbs.Sub(sum[:], a.Sum[:])
	}
	at := len(dst)
	dst = coding.AppendLimbs(dst, sum[:])
	dst[at] |= sign
	return binary.AppendVarint(dst, int64(a.Held))
}

func (a *Area) read(r *coding.Reader) {
	const negative = 0x80
	if len(r.Rest) == 0 {
		r.Bad = true
		return
	}
	var sum [6]uint64
	sign := r.Rest[0] & negative
	r.LimbsOf(int(r.Byte()&^negative), sum[:])
	if a.Sum = sum; sign != 0 {
		a.Sum = [6]uint64{}
		limbs.Sub(a.Sum[:], sum[:])
	}
	a.Held = uint64(r.Varint())
}

// appendInstant appends a time near base, or none (0), or Forever.
func appendInstant(dst []byte, base, t int64) []byte {
	switch t {
	case 0:
		return append(dst, 0)
	case Forever:
		return append(dst, 1)
	}
	if base == Forever {
		base = 0
	}
	d := t - base
	return binary.AppendUvarint(dst, uint64(d)<<1^uint64(d>>63)+2)
}

// readInstant reads what appendInstant wrote.
func readInstant(r *coding.Reader, base int64) int64 {
	switch v := r.Uvarint(); v {
	case 0:
		return 0
	case 1:
		return Forever
	default:
		if base == Forever {
			base = 0
		}
		v -= 2
		t := base + (int64(v>>1) ^ -int64(v&1))
		if t < 0 || t > coding.MaxTime {
			r.Bad = true
			return 0
		}
		return t
	}
}

// readLater reads how far a time lies behind base.
func readLater(r *coding.Reader, base int64) int64 {
	v := r.Uvarint()
	if v > uint64(coding.MaxTime-base) {
		r.Bad = true
		return base
	}
	return base + int64(v)
}

// readWeight reads the weight of an entry or key with that mark.
func readWeight(r *coding.Reader, mark byte) (w Weight) {
	if mark&markOne != 0 {
		return One
	}
	r.Limbs(w[:])
	if w.Cmp(&weightLimit) >= 0 {
		r.Bad = true
		return Weight{}
	}
	return w
}

// markOf returns the byte that says which parts of an entry or key follow.
func markOf(kind Kind, end int64, w *Weight) byte {
	mark := byte(kind)
	if end == 0 {
		mark |= markOpen
	}
	if *w == One {
		mark |= markOne
	}
	return mark
}

// append appends an entry at base or later.
func (e *Entry) append(dst []byte, base int64) []byte {
	mark := markOf(e.Kind, e.End, &e.Weight)
	dst = binary.AppendUvarint(append(dst, mark, e.Flags), uint64(e.At-base))
	if mark&markOpen == 0 {
		dst = binary.AppendUvarint(dst, uint64(e.End-e.At))
	}
	if mark&markOne == 0 {
		dst = coding.AppendLimbs(dst, e.Weight[:])
	}
	switch {
	case e.Kind == EntryID:
		dst = binary.AppendUvarint(dst, uint64(e.Eff))
	case e.Is(Matched):
		dst = binary.AppendUvarint(dst, uint64(e.At-e.Eff))
	case e.Is(Loose):
		dst = appendInstant(dst, e.At, e.Eff)
	}
	return dst
}

func (e *Entry) read(r *coding.Reader, base int64) {
	mark := r.Byte()
	e.Kind, e.Flags = Kind(mark&kindMask), r.Byte()
	e.At = readLater(r, base)
	if mark&markOpen == 0 {
		e.End = readLater(r, e.At)
	}
	e.Weight = readWeight(r, mark)
	switch {
	case e.Kind == EntryID:
		e.Eff = int64(r.Uvarint())
		r.Bad = r.Bad || e.Eff < 0
	case e.Is(Matched):
		v := r.Uvarint()
		r.Bad = r.Bad || v > uint64(e.At)
		e.Eff = e.At - int64(v)
	case e.Is(Loose):
		e.Eff = readInstant(r, e.At)
		r.Bad = r.Bad || e.Eff == Forever
	}
	r.Bad = r.Bad || mark&^(kindMask|markOpen|markOne) != 0 || e.Flags&^entryFlags[e.Kind] != 0
}

// appendAfter appends a key at base or later.
func (k *Key) appendAfter(dst []byte, base int64) []byte {
	mark := markOf(k.Kind, k.End, &k.Weight)
	if k.HasWeight {
		mark |= markHasWeight
	}
	dst = binary.AppendUvarint(append(dst, mark), uint64(k.At-base))
	if mark&markOpen == 0 {
		dst = binary.AppendUvarint(dst, uint64(k.End-k.At))
	}
	if mark&markOne == 0 {
		dst = coding.AppendLimbs(dst, k.Weight[:])
	}
	if k.Kind == EntryID {
		dst = binary.AppendUvarint(dst, uint64(k.Ord))
	}
	return dst
}

func (k *Key) readAfter(r *coding.Reader, base int64) {
	mark := r.Byte()
	*k = Key{Kind: Kind(mark & kindMask), HasWeight: mark&markHasWeight != 0, At: readLater(r, base)}
	if mark&markOpen == 0 {
		k.End = readLater(r, k.At)
	}
	k.Weight = readWeight(r, mark)
	if k.Kind == EntryID {
		k.Ord = int64(r.Uvarint())
		r.Bad = r.Bad || k.Ord < 0
	}
	r.Bad = r.Bad || mark&^(kindMask|markOpen|markOne|markHasWeight) != 0
}
