package projection

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

func someRecord(t *testing.T, r *rand.Rand) *HolderRecord {
	t.Helper()
	score := func() (s hold.Score) {
		for i := range s[:3] {
			s[i] = r.Uint64()
		}
		return s
	}
	rate, err := hold.ParseRate("12.5")
	if err != nil {
		t.Fatal(err)
	}
	held, err := hold.ParseHeld("86400.000000001")
	if err != nil {
		t.Fatal(err)
	}
	record := &HolderRecord{Holder: "alice", UpdatedAt: r.Int64N(7e18), Position: r.Uint64()}
	record.Figures = hold.Figures{
		Settled: hold.Amount{Score: score(), Held: held},
		Line:    hold.Line{Base: hold.Amount{Score: score(), Held: held}, Rate: rate, HeldRate: r.Uint64N(5), Since: r.Int64N(7e18)},
		Waiting: r.Uint64N(3),
	}
	if r.IntN(2) == 0 {
		record.Figures.Line.Until = record.Figures.Line.Since + 1 + r.Int64N(1e18)
	}
	return record
}

// marshalled is the snapshot of a record as package proto encodes a HoldStat.
func marshalled(t *testing.T, r *HolderRecord, rules, generation string) []byte {
	t.Helper()
	timestamp := func(ns int64) *timestamppb.Timestamp {
		return &timestamppb.Timestamp{Seconds: ns / 1e9, Nanos: int32(ns % 1e9)}
	}
	f := &r.Figures
	s := &holdpb.HoldStat{
		HolderId:      r.Holder,
		TotalSeconds:  f.Settled.Held.Seconds(),
		WeightedScore: f.Settled.Score.Float64(),
		UpdatedAt:     timestamp(r.UpdatedAt),
		ScoreExact:    f.Settled.Score.String(),
		HeldExact:     f.Settled.Held.String(),
		LiveBase:      f.Line.Base.Score.String(),
		LiveRate:      f.Line.Rate.String(),
		LiveHeldBase:  f.Line.Base.Held.String(),
		LiveHeldRate:  f.Line.HeldRate,
		Since:         timestamp(f.Line.Since),
		Position:      r.Position,
		Waiting:       f.Waiting,
		Rules:         rules,
		Generation:    generation,
	}
	if f.Line.Until != 0 {
		s.Until = timestamp(f.Line.Until)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A snapshot is encoded as package proto does it, byte for byte.
func TestEncodeSnapshotIsProto(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		record := someRecord(t, r)
		if r.IntN(4) == 0 {
			record.Holder = string([]rune{rune(r.IntN(0xd7ff)), 'é', 0})
		}
		f := &record.Figures
		switch r.IntN(4) {
		case 0:
			f.Line.Base, f.Line.Rate, f.Line.HeldRate, f.Waiting = f.Settled, hold.Rate{}, 0, 0
		case 1:
			for i := range f.Settled.Score {
				f.Settled.Score[i], f.Line.Rate[i] = math.MaxUint64, math.MaxUint64
			}
			f.Settled.Held = hold.Held{math.MaxUint64, math.MaxUint64}
		case 2:
			*f, record.UpdatedAt, record.Position = hold.Figures{}, 0, 0
		}
		rules, generation := []string{"", hold.NoRulesVersion, "a1b2"}[r.IntN(3)], []string{"", "1", "g-2"}[r.IntN(3)]
		got, err := EncodeSnapshot(record, rules, generation)
		if err != nil {
			t.Fatal(err)
		}
		if want := marshalled(t, record, rules, generation); !bytes.Equal(got, want) {
			t.Fatalf("%+v: %x, want %x", record, got, want)
		}
	}
	if _, err := EncodeSnapshot(&HolderRecord{Holder: "a\xff"}, "", ""); err == nil {
		t.Error("a holder that is no text has a snapshot")
	}
}

// What is encoded is read back, by the reader of figures and as a HoldStat, and what
// is appended does not disturb it.
func TestSnapshotRoundTrip(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 500 {
		record := someRecord(t, r)
		rules := []string{hold.NoRulesVersion, "a1b2"}[i%2]
		value, err := EncodeSnapshot(record, rules, "g2")
		if err != nil {
			t.Fatal(err)
		}
		if again, err := EncodeSnapshot(record, rules, "g2"); err != nil || !bytes.Equal(value, again) {
			t.Fatal("the same record has other bytes")
		}
		check := func(value []byte) {
			t.Helper()
			s, err := ReadSnapshot(value)
			if err != nil {
				t.Fatal(err)
			}
			if string(s.Holder) != record.Holder || s.Settled != record.Figures.Settled || s.Line != record.Figures.Line ||
				s.UpdatedAt != record.UpdatedAt || s.Position != record.Position || s.Ruled != (i%2 == 1) {
				t.Fatalf("read %+v of %+v", s, record)
			}
			if p, u := SnapshotPosition(value), SnapshotUntil(value); p != record.Position || u != record.Figures.Line.Until {
				t.Fatalf("position %d, until %d of %+v", p, u, record)
			}
		}
		check(value)
		at := record.Figures.Line.Since
		live, _ := LineAt(&record.Figures.Line, at)
		answer := AppendLive(bytes.Clone(value), live, at, 5e9)
		check(answer)
		if !settledEqual(value, answer) {
			t.Fatal("live figures change the settled ones")
		}
		var stat holdpb.HoldStat
		if err := proto.Unmarshal(answer, &stat); err != nil {
			t.Fatal(err)
		}
		if stat.HolderId != "alice" || stat.ScoreExact != record.Figures.Settled.Score.String() || stat.Waiting != record.Figures.Waiting ||
			stat.Generation != "g2" || stat.Rules != rules || stat.LiveScore != live.Score.String() ||
			stat.AsOf.AsTime().UnixNano() != at || stat.AppliedThrough.AsTime().UnixNano() != 5e9 {
			t.Fatalf("as a HoldStat: %v", &stat)
		}
	}
}

func TestSnapshotDoesNotDecode(t *testing.T) {
	t.Parallel()
	value, err := EncodeSnapshot(someRecord(t, rand.New(rand.NewPCG(3, 4))), "none", "1")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{{0xff}, value[:len(value)-1], append(bytes.Clone(value), 0x42, 1, 'x')} {
		if _, err := ReadSnapshot(bad); !errors.Is(err, ErrSnapshot) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// The cheap check of a value agrees with the reader, whatever byte is changed, cut or
// put in, and for numbers at the limits of their width.
func TestCheckSnapshotIsReadSnapshot(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	same := func(value []byte) bool {
		t.Helper()
		s, err := ReadSnapshot(value)
		want := err == nil && isKeyOf("alice", s.Holder)
		if got := CheckSnapshot("alice", value); got != want {
			t.Fatalf("%q is checked as %v, and read: %v, %q", value, got, err, s.Holder)
		}
		return want
	}
	good, bad := 0, 0
	for range 20_000 {
		record := someRecord(t, r)
		value, err := EncodeSnapshot(record, "none", "1")
		if err != nil {
			t.Fatal(err)
		}
		for range r.IntN(3) {
			at := r.IntN(len(value))
			switch r.IntN(4) {
			case 0:
				value[at] ^= 1 << r.IntN(8)
			case 1:
				value[at] = "0123456789.-x"[r.IntN(13)]
			case 2:
				value = append(value[:at], value[at+1:]...)
			default:
				value = append(value[:at:at], append([]byte{byte(r.Uint32())}, value[at:]...)...)
			}
		}
		if same(value) {
			good++
		} else {
			bad++
		}
	}
	if good < 1000 || bad < 1000 {
		t.Errorf("%d values are good and %d are bad", good, bad)
	}
	for _, field := range []protowire.Number{statSettled, statBase, statRate, statSettledHeld, statHeldBase} {
		for whole := range 130 {
			for _, fraction := range []int{0, 1, 9, 10, 24, 25, 33, 34} {
				text := strings.Repeat("9", whole)
				if fraction > 0 {
					text += "." + strings.Repeat("9", fraction)
				}
				value := protowire.AppendString(protowire.AppendTag(nil, statHolder, protowire.BytesType), "alice")
				same(protowire.AppendString(protowire.AppendTag(value, field, protowire.BytesType), text))
			}
		}
	}
}

func BenchmarkCheckSnapshot(b *testing.B) {
	record := HolderRecord{Holder: "alice", UpdatedAt: 1_700_000_000e9, Position: 12345, Figures: hold.Figures{
		Settled: hold.Amount{Score: hold.Score{1, 2, 3}, Held: hold.Held{86400e9}},
		Line:    hold.Line{Base: hold.Amount{Score: hold.Score{3, 2, 1}, Held: hold.Held{86400e9}}, Rate: hold.Rate{1, 2}, HeldRate: 1, Since: 1_700_000_000e9},
	}}
	value, err := EncodeSnapshot(&record, hold.NoRulesVersion, "1")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			if !CheckSnapshot("alice", value) {
				b.Fatal("it is bad")
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := ReadSnapshot(value); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// SnapshotUntil returns when the line of a snapshot breaks; 0 if it has no such time or
// does not decode.
func SnapshotUntil(value []byte) int64 {
	for b := value; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			break
		}
		b = b[n:]
		if num == statUntil && kind == protowire.BytesType {
			text, n := protowire.ConsumeBytes(b)
			if n < 0 {
				break
			}
			until, _ := readTimestamp(text)
			return until
		}
		if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
			break
		}
		b = b[n:]
	}
	return 0
}
