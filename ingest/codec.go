package ingest

import (
	"fmt"
	"math"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// Fields of HoldMsg, as hold.proto fixes them.
const (
	fieldToken       = 1
	fieldHolder      = 2
	fieldStart       = 3
	fieldEnd         = 4
	fieldWeight      = 5
	fieldHoldID      = 9
	fieldRevision    = 10
	fieldWeightExact = 11
	fieldRetract     = 12

	fieldSeconds = 1 // of google.protobuf.Timestamp
	fieldNanos   = 2
)

// DecodeEvent reads one event in the wire form of HoldMsg into d, replacing what
// d held.
//
// It allocates nothing: the strings of d alias b, so b must not change for as
// long as the draft, or an event made from it, is in use. It reads what
// proto.Unmarshal reads: the last value of a repeated scalar counts, two
// Timestamps of one field merge, fields that are unknown or of another wire type
// are skipped. The one difference is a string that is not UTF-8, which
// hold.Draft.Check refuses with the name of its field. A Stamp is Set where its
// field was present, also where it was empty. A weight of 0 is "not given".
//
// Bytes that are no HoldMsg are an error that matches ErrMalformed; what d holds
// then is not specified.
func DecodeEvent(b []byte, d *hold.Draft) error {
	*d = hold.Draft{}
	for off := 0; off < len(b); {
		num, typ, n := consumeTag(b[off:])
		if n < 0 {
			return malformed(off, n)
		}
		off += n
		v := b[off:]
		n = 0
		switch {
		case typ == protowire.BytesType && isBytesField(num):
			var s []byte
			if s, n = protowire.ConsumeBytes(v); n >= 0 {
				if bad := setBytes(d, num, s); bad < 0 {
					return malformed(off, bad)
				}
			}
		case typ == protowire.Fixed64Type && num == fieldWeight:
			var bits uint64
			bits, n = protowire.ConsumeFixed64(v)
			d.Weight = math.Float64frombits(bits)
		case typ == protowire.VarintType && num == fieldRevision:
			d.Revision, n = protowire.ConsumeVarint(v)
		case typ == protowire.VarintType && num == fieldRetract:
			var x uint64
			x, n = protowire.ConsumeVarint(v)
			d.Retract = protowire.DecodeBool(x)
		default:
			n = protowire.ConsumeFieldValue(num, typ, v)
		}
		if n < 0 {
			return malformed(off, n)
		}
		off += n
	}
	d.WeightGiven = d.Weight != 0
	return nil
}

// HolderOfEvent is the holder_id of an event in the wire form of HoldMsg, as
// DecodeEvent reads it, for callers that look for few events among many: it reads
// past everything else. It aliases b. ok is false where DecodeEvent would err on the
// way; where it is true, DecodeEvent may still err.
func HolderOfEvent(b []byte) (holder string, ok bool) {
	for len(b) > 0 {
		num, typ, n := consumeTag(b)
		if n < 0 {
			return "", false
		}
		b = b[n:]
		if typ == protowire.BytesType {
			s, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return "", false
			}
			if num == fieldHolder {
				holder = alias(s)
			}
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return "", false
		}
		b = b[n:]
	}
	return holder, true
}

func isBytesField(num protowire.Number) bool {
	switch num {
	case fieldToken, fieldHolder, fieldStart, fieldEnd, fieldHoldID, fieldWeightExact:
		return true
	}
	return false
}

// setBytes stores the value of a length-delimited field; a negative answer is
// the error code of a damaged Timestamp.
func setBytes(d *hold.Draft, num protowire.Number, s []byte) int {
	switch num {
	case fieldToken:
		d.Token = alias(s)
	case fieldHolder:
		d.Holder = alias(s)
	case fieldHoldID:
		d.HoldID = alias(s)
	case fieldWeightExact:
		d.WeightExact = alias(s)
	case fieldStart:
		return mergeStamp(s, &d.Start)
	case fieldEnd:
		return mergeStamp(s, &d.End)
	}
	return 0
}

// mergeStamp reads a Timestamp over what t holds already, as protobuf merges sub-messages.
func mergeStamp(b []byte, t *hold.Stamp) int {
	t.Set = true
	for len(b) > 0 {
		num, typ, n := consumeTag(b)
		if n < 0 {
			return n
		}
		b = b[n:]
		if typ == protowire.VarintType && (num == fieldSeconds || num == fieldNanos) {
			var x uint64
			if x, n = protowire.ConsumeVarint(b); n < 0 {
				return n
			}
			if num == fieldSeconds {
				t.Seconds = int64(x)
			} else {
				t.Nanos = int32(x)
			}
		} else if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return n
		}
		b = b[n:]
	}
	return 0
}

// errCodeNumber is an error code for protowire.ParseError; the numbers that the
// package itself gives are -1 to -6, and any other reads "parse error".
const errCodeNumber = -100

// consumeTag is protowire.ConsumeTag, and refuses numbers that no field can have.
func consumeTag(b []byte) (protowire.Number, protowire.Type, int) {
	num, typ, n := protowire.ConsumeTag(b)
	if n >= 0 && num > protowire.MaxValidNumber {
		return num, typ, errCodeNumber
	}
	return num, typ, n
}

func malformed(off, code int) error {
	return fmt.Errorf("%w: at byte %d: %w", ErrMalformed, off, protowire.ParseError(code))
}

func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// AppendEvent appends the wire form of HoldMsg for d and returns the longer slice.
//
// DecodeEvent reads the same draft back, but for one thing: the wire knows no
// weight of 0, so an explicit zero without a WeightExact is written as
// weight_exact "0", which means the same.
func AppendEvent(dst []byte, d *hold.Draft) []byte {
	dst = appendString(dst, fieldToken, d.Token)
	dst = appendString(dst, fieldHolder, d.Holder)
	dst = appendStamp(dst, fieldStart, d.Start)
	dst = appendStamp(dst, fieldEnd, d.End)
	if d.Weight != 0 {
		dst = protowire.AppendTag(dst, fieldWeight, protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, math.Float64bits(d.Weight))
	}
	dst = appendString(dst, fieldHoldID, d.HoldID)
	if d.Revision != 0 {
		dst = protowire.AppendTag(dst, fieldRevision, protowire.VarintType)
		dst = protowire.AppendVarint(dst, d.Revision)
	}
	dst = appendString(dst, fieldWeightExact, exactOf(d))
	if d.Retract {
		dst = protowire.AppendTag(dst, fieldRetract, protowire.VarintType)
		dst = append(dst, 1)
	}
	return dst
}

// sizeEvent is the number of bytes that AppendEvent appends.
func sizeEvent(d *hold.Draft) int {
	n := sizeString(d.Token) + sizeString(d.Holder) + sizeString(d.HoldID) + sizeString(exactOf(d))
	n += sizeStamp(d.Start) + sizeStamp(d.End)
	if d.Weight != 0 {
		n += 1 + 8
	}
	if d.Revision != 0 {
		n += 1 + protowire.SizeVarint(d.Revision)
	}
	if d.Retract {
		n += 2
	}
	return n
}

func exactOf(d *hold.Draft) string {
	if d.WeightExact == "" && d.WeightGiven && d.Weight == 0 {
		return "0"
	}
	return d.WeightExact
}

func appendString(dst []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return dst
	}
	return protowire.AppendString(protowire.AppendTag(dst, num, protowire.BytesType), s)
}

func sizeString(s string) int {
	if s == "" {
		return 0
	}
	return 1 + protowire.SizeBytes(len(s))
}

func appendStamp(dst []byte, num protowire.Number, t hold.Stamp) []byte {
	if !t.Set {
		return dst
	}
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	dst = append(dst, byte(sizeStampBody(t))) // at most 22
	if t.Seconds != 0 {
		dst = protowire.AppendTag(dst, fieldSeconds, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(t.Seconds))
	}
	if t.Nanos != 0 {
		dst = protowire.AppendTag(dst, fieldNanos, protowire.VarintType)
		dst = protowire.AppendVarint(dst, uint64(int64(t.Nanos)))
	}
	return dst
}

func sizeStamp(t hold.Stamp) int {
	if !t.Set {
		return 0
	}
	return 2 + sizeStampBody(t)
}

func sizeStampBody(t hold.Stamp) int {
	n := 0
	if t.Seconds != 0 {
		n += 1 + protowire.SizeVarint(uint64(t.Seconds))
	}
	if t.Nanos != 0 {
		n += 1 + protowire.SizeVarint(uint64(int64(t.Nanos)))
	}
	return n
}

// DraftOf gives the draft that m says; it shares m's strings. A nil message is an empty draft.
func DraftOf(m *holdpb.HoldMsg) hold.Draft {
	d := hold.Draft{
		Token:       m.GetTokenId(),
		Holder:      m.GetHolderId(),
		HoldID:      m.GetHoldId(),
		Weight:      m.GetWeight(),
		WeightGiven: m.GetWeight() != 0,
		WeightExact: m.GetWeightExact(),
		Revision:    m.GetRevision(),
		Retract:     m.GetRetract(),
	}
	if t := m.GetStart(); t != nil {
		d.Start = hold.Stamp{Seconds: t.GetSeconds(), Nanos: t.GetNanos(), Set: true}
	}
	if t := m.GetEnd(); t != nil {
		d.End = hold.Stamp{Seconds: t.GetSeconds(), Nanos: t.GetNanos(), Set: true}
	}
	return d
}
