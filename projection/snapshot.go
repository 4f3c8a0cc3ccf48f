package projection

import (
	"bytes"
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"holdmetrics/hold"
)

// The wire form of a snapshot is a HoldStat. EncodeSnapshot makes it, and it is taken
// apart here; gateway/httpapi decodes it as a whole to answer in JSON.

// The fields of HoldStat, as hold.proto numbers them.
const (
	statHolder        protowire.Number = 1
	statTotalSeconds  protowire.Number = 2
	statWeightedScore protowire.Number = 3
	statUpdated       protowire.Number = 4
	statSettled       protowire.Number = 8
	statSettledHeld   protowire.Number = 9
	statBase          protowire.Number = 10
	statRate          protowire.Number = 11
	statHeldBase      protowire.Number = 12
	statHeldRate      protowire.Number = 13
	statSince         protowire.Number = 14
	statUntil         protowire.Number = 15
	statPosition      protowire.Number = 16
	statWaiting       protowire.Number = 17
	statRules         protowire.Number = 18
	statGeneration    protowire.Number = 19
	statLive          protowire.Number = 20
	statLiveDouble    protowire.Number = 21
	statLiveHeld      protowire.Number = 22
	statAsOf          protowire.Number = 23
	statApplied       protowire.Number = 24
	timestampSeconds  protowire.Number = 1
	timestampNanos    protowire.Number = 2
)

// ErrSnapshot is returned for bytes that are no snapshot.
var ErrSnapshot = errors.New("projection: a snapshot does not decode: it was written by something else, or by another version")

// Snapshot is what a snapshot says in figures.
type Snapshot struct {
	Holder    []byte // a slice of the snapshot
	Settled   hold.Amount
	Line      hold.Line
	UpdatedAt int64  // the log's time of the last event applied, unix nanoseconds
	Position  uint64 // of the log, of that event
	Ruled     bool   // it was counted by rules, so its score may jump where its line breaks
}

// ReadSnapshot takes a snapshot apart without an object for each part: there may be
// a million of them to look at. The error wraps [ErrSnapshot].
func ReadSnapshot(value []byte) (s Snapshot, err error) {
	for b := value; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return s, ErrSnapshot
		}
		b = b[n:]
		field := b
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return s, ErrSnapshot
		}
		b = b[n:]
		switch kind {
		case protowire.BytesType:
			text, _ := protowire.ConsumeBytes(field)
			err = s.readBytes(num, text)
		case protowire.VarintType:
			v, _ := protowire.ConsumeVarint(field)
			switch num {
			case statHeldRate:
				s.Line.HeldRate = v
			case statPosition:
				s.Position = v
			}
		}
		if err != nil {
			return s, errors.Join(ErrSnapshot, err)
		}
	}
	return s, nil
}

func (s *Snapshot) readBytes(num protowire.Number, text []byte) (err error) {
	switch num {
	case statHolder:
		s.Holder = text
	case statRules:
		s.Ruled = len(text) > 0 && string(text) != hold.NoRulesVersion
	case statUpdated:
		s.UpdatedAt, err = readTimestamp(text)
	case statSettled:
		s.Settled.Score, err = hold.ParseScore(string(text))
	case statSettledHeld:
		s.Settled.Held, err = hold.ParseHeld(string(text))
	case statBase:
		s.Line.Base.Score, err = hold.ParseScore(string(text))
	case statRate:
		s.Line.Rate, err = hold.ParseRate(string(text))
	case statHeldBase:
		s.Line.Base.Held, err = hold.ParseHeld(string(text))
	case statSince:
		s.Line.Since, err = readTimestamp(text)
	case statUntil:
		s.Line.Until, err = readTimestamp(text)
	}
	return err
}

func readTimestamp(b []byte) (int64, error) {
	var seconds, nanos uint64
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, ErrSnapshot
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return 0, ErrSnapshot
		}
		if kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b)
			switch num {
			case timestampSeconds:
				seconds = v
			case timestampNanos:
				nanos = v
			}
		}
		b = b[n:]
	}
	return int64(seconds)*int64(time.Second) + int64(nanos), nil
}

// SnapshotPosition returns the position of a snapshot; 0 if it has none.
func SnapshotPosition(value []byte) uint64 {
	for b := value; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			break
		}
		b = b[n:]
		if num == statPosition && kind == protowire.VarintType {
			v, _ := protowire.ConsumeVarint(b)
			return v
		}
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			break
		}
		b = b[n:]
	}
	return 0
}

// snapshotOrder returns what orders the snapshots of a holder: the position, and since
// when the line holds; zeros of what is no snapshot.
func snapshotOrder(value []byte) (position uint64, since int64) {
	for b := value; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, 0
		}
		b = b[n:]
		field := b
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return 0, 0
		}
		b = b[n:]
		switch {
		case num == statPosition && kind == protowire.VarintType:
			position, _ = protowire.ConsumeVarint(field)
		case num == statSince && kind == protowire.BytesType:
			text, _ := protowire.ConsumeBytes(field)
			since, _ = readTimestamp(text)
		}
	}
	return position, since
}

// At returns the live figures at now, and the instant that they are of: now, or the
// end of the line's piece that is next to it. At until a line still gives the true
// figures where a score does not jump; by rules it may, when a run becomes long
// enough to count, and then they are of the last instant before.
func (s *Snapshot) At(now int64) (live hold.Amount, at int64) {
	if s.Ruled && s.Line.Until != 0 && now >= s.Line.Until {
		now = max(s.Line.Until-1, s.Line.Since)
	}
	return LineAt(&s.Line, now)
}

// LineAt returns the live figures of a line at now, and the instant that they are of,
// where no score jumps.
func LineAt(line *hold.Line, now int64) (live hold.Amount, at int64) {
	at = max(now, line.Since)
	if line.Until != 0 {
		at = min(at, line.Until)
	}
	return line.At(at), at
}

// AppendLive appends to a snapshot the fields that are added when it is read: the live
// figures at an instant, and applied_through if it is not 0.
func AppendLive(dst []byte, live hold.Amount, at, applied int64) []byte {
	dst = protowire.AppendTag(dst, statLive, protowire.BytesType)
	dst = protowire.AppendString(dst, live.Score.String())
	if f := live.Score.Float64(); f != 0 {
		dst = protowire.AppendTag(dst, statLiveDouble, protowire.Fixed64Type)
		dst = protowire.AppendFixed64(dst, math.Float64bits(f))
	}
	dst = protowire.AppendTag(dst, statLiveHeld, protowire.BytesType)
	dst = protowire.AppendString(dst, live.Held.String())
	dst = appendTimestamp(dst, statAsOf, at)
	return AppendApplied(dst, applied)
}

// AppendApplied appends applied_through if it is not 0.
func AppendApplied(dst []byte, applied int64) []byte {
	if applied == 0 {
		return dst
	}
	return appendTimestamp(dst, statApplied, applied)
}

func appendTimestamp(dst []byte, num protowire.Number, ns int64) []byte {
	var b [24]byte
	t := b[:0]
	if s := ns / 1e9; s != 0 {
		t = protowire.AppendVarint(protowire.AppendTag(t, timestampSeconds, protowire.VarintType), uint64(s))
	}
	if rest := ns % 1e9; rest != 0 {
		t = protowire.AppendVarint(protowire.AppendTag(t, timestampNanos, protowire.VarintType), uint64(rest))
	}
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	return protowire.AppendBytes(dst, t)
}

// settledFields are those of the settled figures.
var settledFields = [...]protowire.Number{statTotalSeconds, statWeightedScore, statSettled, statSettledHeld}

// settledEqual reports whether two snapshots have the same settled figures. Bytes that
// do not decode equal nothing: a reader of changes then sees one change too many, never
// one too few.
func settledEqual(a, b []byte) bool {
	x, ok := settledOf(a)
	y, too := settledOf(b)
	if !ok || !too {
		return false
	}
	for i := range x {
		if !bytes.Equal(x[i], y[i]) {
			return false
		}
	}
	return true
}

// settledOf returns the encoded values of the settled fields; nil for what is absent.
func settledOf(b []byte) (fields [len(settledFields)][]byte, ok bool) {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return fields, false
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return fields, false
		}
		for i, f := range settledFields {
			if f == num {
				fields[i] = b[:n]
			}
		}
		b = b[n:]
	}
	return fields, true
}
