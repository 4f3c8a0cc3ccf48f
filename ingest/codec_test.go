package ingest

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// drafts draws any draft that the wire can carry as it stands.
func drafts() *rapid.Generator[hold.Draft] {
	return rapid.Custom(func(t *rapid.T) hold.Draft {
		stamp := func(name string) hold.Stamp {
			if !rapid.Bool().Draw(t, name+" set") {
				return hold.Stamp{}
			}
			return hold.Stamp{Seconds: rapid.Int64().Draw(t, name+" s"), Nanos: rapid.Int32().Draw(t, name+" ns"), Set: true}
		}
		text := rapid.OneOf(rapid.String(), rapid.StringN(0, 300, 600))
		d := hold.Draft{
			Token: text.Draw(t, "token"), Holder: text.Draw(t, "holder"), HoldID: text.Draw(t, "hold id"),
			Start: stamp("start"), End: stamp("end"),
			Weight:      rapid.Float64().Draw(t, "weight"),
			WeightExact: rapid.String().Draw(t, "exact"),
			Revision:    rapid.Uint64().Draw(t, "revision"),
			Retract:     rapid.Bool().Draw(t, "retract"),
		}
		if d.Weight == 0 {
			d.Weight = 0 // the wire has no -0
		}
		d.WeightGiven = d.Weight != 0
		return d
	})
}

func TestEventRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := drafts().Draw(t, "draft")
		b := AppendEvent(nil, &d)
		if len(b) != sizeEvent(&d) {
			t.Fatalf("%d bytes, sizeEvent says %d", len(b), sizeEvent(&d))
		}
		var back hold.Draft
		if err := DecodeEvent(b, &back); err != nil || back != d {
			t.Fatalf("%+v\ncomes back as\n%+v, %v", d, back, err)
		}
		var m holdpb.HoldMsg
		if err := proto.Unmarshal(b, &m); err != nil || DraftOf(&m) != d {
			t.Fatalf("protobuf reads %v, %v", &m, err)
		}
		theirs, err := proto.Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		sameAsProto(t, theirs)
	})
}

// TestDecodeEventIsProtobuf compares with proto.Unmarshal on bytes that are
// nearly, or not at all, an event.
func TestDecodeEventIsProtobuf(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d1, d2 := drafts().Draw(t, "a"), drafts().Draw(t, "b")
		b := AppendEvent(AppendEvent(nil, &d1), &d2) // repeated fields: the last counts, Timestamps merge
		for range rapid.IntRange(0, 4).Draw(t, "mutations") {
			at := rapid.IntRange(0, len(b)).Draw(t, "at")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				b = b[:at]
			case 1:
				b = append(b[:at:at], append(rapid.SliceOfN(rapid.Byte(), 0, 6).Draw(t, "junk"), b[at:]...)...)
			case 2:
				if at < len(b) {
					b[at] = rapid.Byte().Draw(t, "byte")
				}
			case 3:
				num := protowire.Number(rapid.IntRange(1, 20).Draw(t, "number"))
				typ := protowire.Type(rapid.IntRange(0, 5).Draw(t, "type"))
				b = append(protowire.AppendTag(b, num, typ), rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, "value")...)
			}
		}
		sameAsProto(t, b)
	})
}

func FuzzDecodeEvent(f *testing.F) {
	d := open("gold", "alice", 100)
	d.Weight, d.HoldID, d.Revision, d.WeightExact, d.Retract = 1.5, "h", 7, "2", true
	whole := AppendEvent(nil, &d)
	for i := range whole {
		f.Add(whole[:i])
	}
	f.Add(AppendEvent(whole, &d))
	f.Add([]byte{0x1a, 0x00, 0x33, 0x34})             // an empty start; groups
	f.Add([]byte{0x08, 0x05, 0x15, 1, 2, 3, 4})       // token as varint, holder as fixed32
	f.Add([]byte{0xf8, 0xff, 0xff, 0xff, 0xff, 0x0f}) // a number that no field has
	f.Add([]byte{0x0a, 0x01, 0xff})                   // not UTF-8
	f.Fuzz(func(t *testing.T, b []byte) { sameAsProto(t, b) })
}

type failer interface{ Fatalf(string, ...any) }

// sameAsProto checks that DecodeEvent and proto.Unmarshal agree on b. The one
// thing in which they may not is UTF-8.
func sameAsProto(t failer, b []byte) {
	var d hold.Draft
	ours := DecodeEvent(bytes.Clone(b), &d)
	if ours != nil && !errors.Is(ours, ErrMalformed) {
		t.Fatalf("error %v is not ErrMalformed", ours)
	}
	var m holdpb.HoldMsg
	theirs := proto.Unmarshal(b, &m)
	if theirs != nil && strings.Contains(theirs.Error(), "UTF-8") {
		return
	}
	if (ours == nil) != (theirs == nil) {
		t.Fatalf("%x: we say %v, protobuf says %v", b, ours, theirs)
	}
	if ours != nil {
		return
	}
	want := DraftOf(&m)
	if math.IsNaN(d.Weight) && math.IsNaN(want.Weight) {
		d.Weight, want.Weight = 0, 0
	}
	if d != want {
		t.Fatalf("%x: we read\n%+v, protobuf reads\n%+v", b, d, want)
	}
	for _, s := range []string{d.Token, d.Holder, d.HoldID, d.WeightExact} {
		if !utf8.ValidString(s) {
			t.Fatalf("%x: protobuf lets %q pass", b, s)
		}
	}
}

func TestDecodeEventReplaces(t *testing.T) {
	t.Parallel()
	d := open("gold", "alice", 100)
	if err := DecodeEvent(nil, &d); err != nil || d != (hold.Draft{}) {
		t.Errorf("no bytes are %+v, %v", d, err)
	}
}

func TestDecodeEventLeavesUTF8ToCheck(t *testing.T) {
	t.Parallel()
	bad := open("gold", "\xff", 100)
	var d hold.Draft
	if err := DecodeEvent(AppendEvent(nil, &bad), &d); err != nil {
		t.Fatal(err)
	}
	_, err := d.Check(now, hold.DefaultLimits())
	if f := (*hold.FieldError)(nil); !errors.As(err, &f) || f.Field != "holder_id" || f.Err != hold.ErrNotUTF8 {
		t.Errorf("error %v", err)
	}
}

func TestDecodeEventEmptyStamp(t *testing.T) {
	t.Parallel()
	b, err := proto.Marshal(&holdpb.HoldMsg{TokenId: "t", Start: &timestamppb.Timestamp{}})
	if err != nil {
		t.Fatal(err)
	}
	var d hold.Draft
	if err := DecodeEvent(b, &d); err != nil || !d.Start.Set || d.End.Set {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestAppendEventExplicitZero(t *testing.T) {
	t.Parallel()
	for _, weight := range []float64{0, math.Copysign(0, -1)} {
		d := open("gold", "alice", 100)
		d.Weight, d.WeightGiven = weight, true
		want, err := d.Check(now, hold.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		var back hold.Draft
		if err := DecodeEvent(AppendEvent(nil, &d), &back); err != nil || back.WeightExact != "0" {
			t.Fatalf("%+v, %v", back, err)
		}
		if got, err := back.Check(now, hold.DefaultLimits()); err != nil || got != want || !got.HasWeight {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

func TestCodecDoesNotAllocate(t *testing.T) {
	d := open("gold", "alice", 100)
	d.Weight, d.HoldID = 1.5, "h"
	b := AppendEvent(nil, &d)
	if n := allocations(func() {
		if DecodeEvent(b, &d) != nil {
			t.Fail()
		}
		b = AppendEvent(b[:0], &d)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// allocations returns how often f allocates, by the best of several measurements: what a
// server of an earlier test allocates while it ends is counted with it.
func allocations(f func()) float64 {
	least := testing.AllocsPerRun(100, f)
	for range 20 {
		if least > 0 {
			least = min(least, testing.AllocsPerRun(100, f))
		}
	}
	return least
}

func FuzzHolderOfEvent(f *testing.F) {
	d := open("gold", "alice", 100)
	d.Weight, d.HoldID, d.Revision, d.WeightExact, d.Retract = 1.5, "h", 7, "2", true
	whole := AppendEvent(nil, &d)
	for i := range whole {
		f.Add(whole[:i])
	}
	other := d
	other.Holder = "bob"
	f.Add(AppendEvent(whole, &other))
	f.Add([]byte{0x08, 0x05, 0x15, 1, 2, 3, 4})
	f.Add([]byte{0xf8, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		var d hold.Draft
		err := DecodeEvent(b, &d)
		holder, ok := HolderOfEvent(b)
		if err == nil && (!ok || holder != d.Holder) {
			t.Fatalf("holder %q, %v; the event has %q", holder, ok, d.Holder)
		}
	})
}
