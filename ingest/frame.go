package ingest

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"holdmetrics/hold"
)

// A frame is one message of the log that carries many events of one partition:
//
//	0x00 'H' 0x01   then, for every event:   uvarint length   HoldMsg bytes
//
// The first byte sets it apart from a lone event, since neither a protobuf
// message nor a JSON text can begin with a zero byte; the third is the version.
const (
	frameMagic0  = 0x00
	frameMagic1  = 'H'
	frameVersion = 1
	frameHeader  = 3

	// MaxFrameEvents is the number of events at which a frame closes. A frame
	// with more is damaged: one message is to make so many dead letters at most.
	MaxFrameEvents = 512
	// MaxFrameBytes is the size at which a frame closes. A single event that is
	// larger still makes a frame of its own.
	MaxFrameBytes = 256 << 10
)

// IsFrame reports whether b is meant to be a frame rather than a lone event.
func IsFrame(b []byte) bool {
	return len(b) >= 2 && b[0] == frameMagic0 && b[1] == frameMagic1
}

// FrameWriter gathers events into a frame. The zero value is an empty frame.
// It keeps its memory when it is reset. It is not safe for concurrent use.
type FrameWriter struct {
	buf   []byte
	count int
}

// Append adds one event in its wire form, which is not empty.
func (w *FrameWriter) Append(event []byte) {
	w.begin(len(event))
	w.buf = append(w.buf, event...)
}

// AppendDraft adds the event that d says, encoded in place.
func (w *FrameWriter) AppendDraft(d *hold.Draft) {
	w.begin(sizeEvent(d))
	w.buf = AppendEvent(w.buf, d)
}

func (w *FrameWriter) begin(size int) {
	if len(w.buf) == 0 {
		w.buf = append(w.buf, frameMagic0, frameMagic1, frameVersion)
	}
	w.buf = binary.AppendUvarint(w.buf, uint64(size))
	w.count++
}

// fits reports whether the frame stays within MaxFrameEvents and most bytes when an
// event of size bytes is added. An empty frame takes any event.
func (w *FrameWriter) fits(size, most int) bool {
	return w.count == 0 || w.count < MaxFrameEvents && len(w.buf)+framed(size) <= most
}

// Len is the size of the frame in bytes.
func (w *FrameWriter) Len() int { return len(w.buf) }

// Count is the number of events in the frame.
func (w *FrameWriter) Count() int { return w.count }

// Bytes is the frame, or nothing when it has no events. It is valid until the
// next call of Append, AppendDraft or Reset.
func (w *FrameWriter) Bytes() []byte { return w.buf }

// Reset empties the frame.
func (w *FrameWriter) Reset() { w.buf, w.count = w.buf[:0], 0 }

// framed is how many bytes an event of size bytes takes in a frame.
func framed(size int) int { return (bits.Len64(uint64(size)|1)+6)/7 + size }

// FrameReader walks the events of a frame:
//
//	r := ingest.ReadFrame(data)
//	for event, ok := r.Next(); ok; event, ok = r.Next() {
//		…
//	}
//	if err := r.Err(); err != nil {
//		// dead-dead letter r.Rest() under index r.Index()
//	}
//
// A damaged frame yields the events before the damage, and then an error. Those
// events are whole, so a reader applies them as any others. It sends what is left
// (Rest) to the dead letters under the index that the next event would have had
// (Index), and goes on with the next message. There is no way to find the next
// event behind the damage.
//
// An event without a byte is damage, and so is one more than MaxFrameEvents: a
// frame yields no more than that, whatever a stranger has published. Of sizes the
// reader knows no limit. It allocates nothing.
type FrameReader struct {
	rest  []byte
	index int
	err   error
}

// ReadFrame begins to read a frame. Err reports what is wrong with its header.
func ReadFrame(b []byte) FrameReader {
	r := FrameReader{rest: b}
	switch {
	case !IsFrame(b):
		r.err = fmt.Errorf("%w: it does not begin as a frame does", ErrFrame)
	case len(b) < frameHeader:
		r.err = fmt.Errorf("%w: %d bytes are too few", ErrFrame, len(b))
	case b[2] != frameVersion:
		r.err = fmt.Errorf("%w: version %d is unknown (hint: it was written by a newer holdmetrics)", ErrFrame, b[2])
	default:
		r.rest = b[frameHeader:]
	}
	return r
}

// Next returns the wire form of the next event, which aliases the frame, or
// false at the end and at damage.
func (r *FrameReader) Next() ([]byte, bool) {
	if r.err != nil || len(r.rest) == 0 {
		return nil, false
	}
	size, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.err = fmt.Errorf("%w: event %d has no length", ErrFrame, r.index)
		return nil, false
	}
	if size > uint64(len(r.rest)-n) {
		r.err = fmt.Errorf("%w: event %d has %d bytes of %d", ErrFrame, r.index, len(r.rest)-n, size)
		return nil, false
	}
	if size == 0 {
		r.err = fmt.Errorf("%w: event %d is empty", ErrFrame, r.index)
		return nil, false
	}
	if r.index == MaxFrameEvents {
		r.err = fmt.Errorf("%w: it has more than %d events", ErrFrame, MaxFrameEvents)
		return nil, false
	}
	end := n + int(size)
	event := r.rest[n:end:end]
	r.rest = r.rest[end:]
	r.index++
	return event, true
}

// EventsIn is how many events a message of the log has: 1 unless it is a frame,
// else how many a FrameReader yields, and one more for what is damaged. It looks
// at the lengths alone, and not at what the events say.
func EventsIn(message []byte) int {
	if !IsFrame(message) {
		return 1
	}
	r := ReadFrame(message)
	for _, ok := r.Next(); ok; _, ok = r.Next() {
	}
	if r.Err() != nil {
		return r.Index() + 1
	}
	return r.Index()
}

// Index is the number of events that Next has returned so far.
func (r *FrameReader) Index() int { return r.index }

// Rest is what has not been read: after damage, all bytes from the event that could not be read.
func (r *FrameReader) Rest() []byte { return r.rest }

// Err is nil while the frame is sound; else it matches ErrFrame.
func (r *FrameReader) Err() error { return r.err }
