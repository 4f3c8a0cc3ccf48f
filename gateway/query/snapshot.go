package query

import (
	"errors"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// The fields of HoldStat, as hold.proto numbers them.
const (
	statHolder       protowire.Number = 1
	statUpdated      protowire.Number = 4
	statSettled      protowire.Number = 8
	statSettledHeld  protowire.Number = 9
	statBase         protowire.Number = 10
	statRate         protowire.Number = 11
	statHeldBase     protowire.Number = 12
	statHeldRate     protowire.Number = 13
	statSince        protowire.Number = 14
	statUntil        protowire.Number = 15
	statPosition     protowire.Number = 16
	statRules        protowire.Number = 18
	statLive         protowire.Number = 20
	statLiveDouble   protowire.Number = 21
	statLiveHeld     protowire.Number = 22
	statAsOf         protowire.Number = 23
	statApplied      protowire.Number = 24
	timestampSeconds protowire.Number = 1
	timestampNanos   protowire.Number = 2
)

var errSnapshot = errors.New("gateway: a snapshot does not decode; it was written by something else, or by another version")

// snapshotFigures is what a snapshot says in figures. The holder is a slice of the
// snapshot.
type snapshotFigures struct {
	holder   []byte
	settled  hold.Amount
	line     hold.Line
	updated  int64 // the log's time of the last event applied
	position uint64
	ruled    bool // it was counted by rules, so its score may jump where its line breaks
}

// readSnapshot takes a snapshot apart, without an object for each part: there may
// be a million of them to look at.
func readSnapshot(value []byte) (s snapshotFigures, err error) {
	for b := value; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return s, errSnapshot
		}
		b = b[n:]
		field := b
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return s, errSnapshot
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
				s.line.HeldRate = v
			case statPosition:
				s.position = v
			}
		}
		if err != nil {
			return s, errors.Join(errSnapshot, err)
		}
	}
	return s, nil
}

func (s *snapshotFigures) readBytes(num protowire.Number, text []byte) (err error) {
	switch num {
	case statHolder:
		s.holder = text
	case statRules:
		s.ruled = len(text) > 0 && string(text) != hold.NoRulesVersion
	case statUpdated:
		s.updated, err = readTimestamp(text)
	case statSettled:
		s.settled.Score, err = hold.ParseScore(string(text))
	case statSettledHeld:
		s.settled.Held, err = hold.ParseHeld(string(text))
	case statBase:
		s.line.Base.Score, err = hold.ParseScore(string(text))
	case statRate:
		s.line.Rate, err = hold.ParseRate(string(text))
	case statHeldBase:
		s.line.Base.Held, err = hold.ParseHeld(string(text))
	case statSince:
		s.line.Since, err = readTimestamp(text)
	case statUntil:
		s.line.Until, err = readTimestamp(text)
	}
	return err
}

func readTimestamp(b []byte) (int64, error) {
	var seconds, nanos uint64
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, errSnapshot
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			return 0, errSnapshot
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

// snapshotPosition is the position of a snapshot; 0 where it does not say.
func snapshotPosition(value []byte) uint64 {
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

// figures are the live figures at now, and the instant that they are of: now, or the
// end of the line's piece that is next to it. At until a line still gives the true
// figures where a score does not jump; by rules it may, when a run becomes long
// enough to count, and then they are of the last instant before.
func (s *snapshotFigures) figures(now int64) (live hold.Amount, at int64) {
	if s.ruled && s.line.Until != 0 && now >= s.line.Until {
		now = max(s.line.Until-1, s.line.Since)
	}
	return figuresAt(&s.line, now)
}

// figuresAt are the live figures at now, and the instant that they are of, where no
// score jumps.
func figuresAt(line *hold.Line, now int64) (live hold.Amount, at int64) {
	at = max(now, line.Since)
	if line.Until != 0 {
		at = min(at, line.Until)
	}
	return line.At(at), at
}

// AppendLive appends to a snapshot the fields that are added when it is read.
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

// AppendApplied appends applied_through, where it is known.
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

// Snapshot is a snapshot as it is answered: with the live figures of now.
type Snapshot struct {
	Value   []byte // as it was published
	Live    hold.Amount
	At      int64
	Applied int64 // 0: not known
}

// readAt reads a snapshot at an instant. Of what is applied it says what the
// snapshot itself does: its partition was applied up to its last event.
func readAt(value []byte, now int64) (Snapshot, error) {
	s, err := readSnapshot(value)
	if err != nil {
		return Snapshot{}, err
	}
	out := Snapshot{Value: value, Applied: s.updated}
	out.Live, out.At = s.figures(now)
	return out, nil
}

// ReadChange is readAt of a change. What the snapshots of its partition have
// reached is said of it where it is its holder's current one still: else the next
// one may say more.
func (b *Generation) ReadChange(c *projection.Change, now int64) (Snapshot, error) {
	s, err := readAt(c.Value, now)
	if err != nil {
		return s, err
	}
	holder, err := ingest.HolderOf(c.Key)
	if err != nil {
		return s, err
	}
	at := b.reached(b.S.partitionsOf(holder)[0]).LogTime // before the look
	if current, ok := b.Snapshots.Lookup(c.Key); ok && current.Number == c.Number {
		s.Applied = max(s.Applied, at)
	}
	return s, nil
}

// reachedTimes are the log's times that the snapshots of each partition are at.
func (b *Generation) reachedTimes() []int64 {
	times := make([]int64, b.S.cfg.Log.Partitions())
	for p := range times {
		times[p] = b.reached(p).LogTime
	}
	return times
}

func (b *Generation) reached(partition int) projection.Reached {
	return b.Snapshots.Reached(partition)
}
