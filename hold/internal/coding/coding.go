// Package coding reads and writes the parts that stored bytes of the domain are
// made of. Each value has exactly one encoding, so equal values have equal bytes.
package coding

import (
	"encoding/binary"
	"errors"
	"time"
)

// MaxTime is the latest instant that stored bytes may name, in nanoseconds since
// the epoch: 2200-01-01T00:00:00Z.
const MaxTime int64 = 7_258_118_400 * int64(time.Second)

// ErrCorrupt means that bytes do not decode.
var ErrCorrupt = errors.New("hold: stored bytes do not decode")

// AppendLimbs appends a count byte and that many bytes of the number, the least
// significant first.
func AppendLimbs(dst []byte, limbs []uint64) []byte {
	at := len(dst)
	dst = append(dst, 0)
	for _, l := range limbs {
		dst = binary.LittleEndian.AppendUint64(dst, l)
	}
	end := len(dst)
	for end > at+1 && dst[end-1] == 0 {
		end--
	}
	dst[at] = byte(end - at - 1)
	return dst[:end]
}

// Reader reads values from the front of Rest. Once a value is missing or is not
// encoded as it should be, Bad is true and all further values are zero.
type Reader struct {
	Rest []byte
	Bad  bool
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.Rest) == 0 {
		r.Bad = true
		return 0
	}
	c := r.Rest[0]
	r.Rest = r.Rest[1:]
	return c
}

// Bytes reads n bytes. They are not copied.
func (r *Reader) Bytes(n uint64) []byte {
	if n > uint64(len(r.Rest)) {
		r.Bad, r.Rest = true, nil
		return nil
	}
	b := r.Rest[:n]
	r.Rest = r.Rest[n:]
	return b
}

// Uvarint reads what [binary.AppendUvarint] wrote.
func (r *Reader) Uvarint() uint64 {
	v, n := binary.Uvarint(r.Rest)
	// A longer form of the same number is not what AppendUvarint writes.
	if n <= 0 || n > 1 && r.Rest[n-1] == 0 {
		r.Bad, r.Rest = true, nil
		return 0
	}
	r.Rest = r.Rest[n:]
	return v
}

// Varint reads what [binary.AppendVarint] wrote.
func (r *Reader) Varint() int64 {
	v := r.Uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

// Time reads an instant up to MaxTime.
func (r *Reader) Time() int64 {
	v := r.Uvarint()
	if v > uint64(MaxTime) {
		r.Bad = true
		return 0
	}
	return int64(v)
}

// Limbs reads what [AppendLimbs] wrote into dst.
func (r *Reader) Limbs(dst []uint64) { r.LimbsOf(int(r.Byte()), dst) }

// LimbsOf is Limbs for a count byte that the caller has read.
func (r *Reader) LimbsOf(n int, dst []uint64) {
	b := r.Bytes(uint64(n))
	if r.Bad || n > len(dst)*8 || n > 0 && b[n-1] == 0 {
		r.Bad = true
		return
	}
	clear(dst)
	for i, c := range b {
		dst[i/8] |= uint64(c) << (8 * (i % 8))
	}
}
