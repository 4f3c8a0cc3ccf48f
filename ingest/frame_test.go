package ingest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

func readAll(b []byte) (events [][]byte, r FrameReader) {
	r = ReadFrame(b)
	for e, ok := r.Next(); ok; e, ok = r.Next() {
		events = append(events, e)
	}
	return events, r
}

func TestFrameRoundTripAndTruncation(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 300), 1, 12).Draw(t, "events")
		var w FrameWriter
		ends := []int{frameHeader} // of each event
		size := frameHeader
		for _, e := range events {
			w.Append(e)
			size += framed(len(e))
			ends = append(ends, w.Len())
		}
		if w.Len() != size || w.Count() != len(events) || !IsFrame(w.Bytes()) {
			t.Fatalf("%d bytes and %d events, want %d and %d", w.Len(), w.Count(), size, len(events))
		}
		got, r := readAll(w.Bytes())
		if r.Err() != nil || len(got) != len(events) || len(r.Rest()) != 0 {
			t.Fatalf("%d of %d events, %v", len(got), len(events), r.Err())
		}
		cut := rapid.IntRange(0, w.Len()-1).Draw(t, "cut")
		got, r = readAll(w.Bytes()[:cut])
		whole, clean := 0, false
		for i, end := range ends {
			if end <= cut {
				whole, clean = i, end == cut
			}
		}
		if len(got) != whole || r.Index() != whole || (r.Err() == nil) != clean {
			t.Fatalf("cut at %d: %d events, want %d; error %v", cut, len(got), whole, r.Err())
		}
		if !clean && !errors.Is(r.Err(), ErrFrame) {
			t.Fatalf("error %v", r.Err())
		}
		if cut > frameHeader && !clean && !bytes.Equal(r.Rest(), w.Bytes()[ends[whole]:cut]) {
			t.Fatalf("rest %x", r.Rest())
		}
		for i := range got {
			if !bytes.Equal(got[i], events[i]) {
				t.Fatalf("event %d is %x, want %x", i, got[i], events[i])
			}
		}
		w.Reset()
		if w.Len() != 0 || w.Count() != 0 {
			t.Fatal("Reset leaves something")
		}
	})
}

func TestFrameFits(t *testing.T) {
	t.Parallel()
	var w FrameWriter
	if !w.fits(MaxFrameBytes*2, MaxFrameBytes) {
		t.Error("an empty frame refuses a large event")
	}
	for w.fits(1, MaxFrameBytes) {
		w.Append([]byte{1})
	}
	if w.Count() != MaxFrameEvents {
		t.Errorf("%d events", w.Count())
	}
	w.Reset()
	for w.fits(1000, MaxFrameBytes) {
		w.Append(make([]byte, 1000))
	}
	if w.Len() > MaxFrameBytes || w.Len()+framed(1000) <= MaxFrameBytes {
		t.Errorf("%d bytes", w.Len())
	}
}

func TestFrameDamage(t *testing.T) {
	t.Parallel()
	good := []byte{0, 'H', 1, 1, 'a'}
	for name, b := range map[string][]byte{
		"empty": nil, "zero": {0}, "other magic": {0, 'X', 1}, "protobuf": {0x0a, 1, 'a'}, "JSON": []byte("{}"),
		"no version": {0, 'H'}, "other version": {0, 'H', 2, 1, 'a'},
		"half a length":   append(bytes.Clone(good), 0x80),
		"endless length":  append(bytes.Clone(good), 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80),
		"no bytes":        append(bytes.Clone(good), 0, 1, 'b'),
		"no bytes, long":  append(bytes.Clone(good), 0x80, 0, 1, 'b'),
		"largest length":  binary.AppendUvarint(bytes.Clone(good), math.MaxUint64),
		"negative length": binary.AppendUvarint(bytes.Clone(good), 1<<63),
	} {
		events, r := readAll(b)
		if !errors.Is(r.Err(), ErrFrame) {
			t.Errorf("%s: error %v", name, r.Err())
		}
		if want := bytes.HasPrefix(b, good); want != (len(events) == 1) {
			t.Errorf("%s: %d events", name, len(events))
		}
	}
	if events, r := readAll([]byte{0, 'H', 1}); len(events) != 0 || r.Err() != nil {
		t.Errorf("a frame without events: %v", r.Err())
	}
}

// However many events a stranger puts into one message, a reader gets no more
// than a frame may have, and one rest.
func TestFrameOfTooMany(t *testing.T) {
	t.Parallel()
	var w FrameWriter
	for range MaxFrameEvents {
		w.Append([]byte{1})
	}
	if events, r := readAll(w.Bytes()); len(events) != MaxFrameEvents || r.Err() != nil {
		t.Fatalf("a full frame: %d events, %v", len(events), r.Err())
	}
	full := w.Len()
	for range 100_000 {
		w.Append([]byte{1})
	}
	events, r := readAll(w.Bytes())
	if len(events) != MaxFrameEvents || r.Index() != MaxFrameEvents || !errors.Is(r.Err(), ErrFrame) || !bytes.Equal(r.Rest(), w.Bytes()[full:]) {
		t.Errorf("%d events, index %d, rest %d, %v", len(events), r.Index(), len(r.Rest()), r.Err())
	}
	zeros := append([]byte{0, 'H', 1}, make([]byte, 1<<20-3)...)
	if events, r := readAll(zeros); len(events) != 0 || !errors.Is(r.Err(), ErrFrame) || len(r.Rest()) != 1<<20-3 {
		t.Errorf("%d events, rest %d, %v", len(events), len(r.Rest()), r.Err())
	}
}

func TestFrameAppendDraft(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := drafts().Draw(t, "draft")
		var w, v FrameWriter
		w.AppendDraft(&d)
		v.Append(AppendEvent(nil, &d))
		if !bytes.Equal(w.Bytes(), v.Bytes()) {
			t.Fatalf("%x, want %x", w.Bytes(), v.Bytes())
		}
	})
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 'H', 1, 1, 'a', 0, 2, 'b', 'c'})
	f.Add([]byte{0, 'H', 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Add([]byte{0, 'H'})
	f.Fuzz(func(t *testing.T, b []byte) {
		events, r := readAll(b)
		if r.Err() != nil && !errors.Is(r.Err(), ErrFrame) {
			t.Errorf("error %v", r.Err())
		}
		if len(events) != r.Index() || r.Err() == nil && len(r.Rest()) != 0 {
			t.Errorf("%d events, index %d, rest %d", len(events), r.Index(), len(r.Rest()))
		}
		read := 0
		for _, e := range events {
			read += framed(len(e))
			var d hold.Draft
			_ = DecodeEvent(e, &d) // must not panic
		}
		if header := len(b) - len(r.Rest()) - read; r.Index() > 0 && header < frameHeader {
			t.Errorf("more was read than there is: %d", header)
		}
	})
}

func TestEventsIn(t *testing.T) {
	t.Parallel()
	var w FrameWriter
	for range 300 {
		w.Append([]byte("event"))
	}
	whole := w.Bytes()
	for name, c := range map[string]struct {
		message []byte
		want    int
	}{
		"a lone event":             {[]byte("event"), 1},
		"nothing":                  {nil, 1}, // an event without a byte, which is refused
		"a frame":                  {whole, 300},
		"a frame without an event": {whole[:frameHeader], 0},
		"a frame that was cut":     {whole[:len(whole)-1], 300}, // 299, and the rest is one dead letter
		"half a header":            {whole[:2], 1},
		"another version":          {[]byte{0, 'H', 9, 1, 1, 1, 1}, 1},
	} {
		if got := EventsIn(c.message); got != c.want {
			t.Errorf("%s: %d events, want %d", name, got, c.want)
		}
	}
}
