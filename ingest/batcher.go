package ingest

import (
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"holdmetrics/hold"
	"holdmetrics/internal/tracing"
)

// completion receives the outcome of an event, exactly once. index is the number
// that was handed in with it.
type completion interface {
	complete(index int, position uint64, err error)
}

// entry is who waits for an event.
type entry struct {
	to    completion
	index int
}

// openFrame is a frame that is being filled or waits to be published, and who
// waits for its events, in order.
type openFrame struct {
	w       FrameWriter
	entries []entry
	// by is what its events were checked by: of several the oldest, which has the
	// fewest horizons. nil: of a log that is never sealed.
	by *horizons
	// began is when the frame was opened; zero: nobody asks.
	began time.Time
	// trail is the sampled requests that its events are of.
	trail tracing.Trail
}

// taken is what the frame's events took of the producer's quota, in bytes. The
// frame's own header was never asked for.
func (f *openFrame) taken() int { return f.w.Len() - frameHeader }

func (f *openFrame) reset() {
	f.w.Reset()
	clear(f.entries) // let go of the callers
	f.entries = f.entries[:0]
	f.by = nil
	f.trail.Reset()
}

// batcher collects the events of one partition into frames, of which the last may
// still be filled. One goroutine publishes the frames, one at a time. While it waits
// for an acknowledgement, or for its turn (see slots), new events collect in the next
// frame, so the slower the log, the fuller the frames.
type batcher struct {
	partition int
	subject   string
	most      int // bytes of a frame

	mu     sync.Mutex
	line   []*openFrame
	closed bool

	wake chan struct{} // capacity 1: there may be something to do
}

// put adds an event of size bytes that was checked by some horizons. It returns false
// if the batcher is closed. span is that of its request, or nil. The caller calls rouse after one or several puts.
func (l *batcher) put(d *hold.Draft, size int, by *horizons, e entry, span *trace.SpanContext, fresh func() *openFrame) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	n := len(l.line)
	if n == 0 || !l.line[n-1].w.fits(size, l.most) {
		l.line = append(l.line, fresh())
		n++
	}
	f := l.line[n-1]
	f.w.AppendDraft(d)
	f.entries = append(f.entries, e)
	f.trail.Add(span)
	if f.by == nil || len(by.all) < len(f.by.all) {
		f.by = by
	}
	return true
}

// rouse tells the batcher's goroutine that there may be something to do.
func (l *batcher) rouse() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// await returns when there is a frame at the front; false when there is none and
// there will never be one.
func (l *batcher) await() bool {
	for {
		l.mu.Lock()
		waiting, closed := len(l.line) > 0, l.closed
		l.mu.Unlock()
		if waiting || closed {
			return waiting
		}
		<-l.wake
	}
}

// full reports whether the frame at the front takes no more events. The batcher is not empty.
func (l *batcher) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.line) > 1 || l.line[0].w.Count() >= MaxFrameEvents
}

// next takes the frame at the front, full or not. The batcher is not empty.
func (l *batcher) next() *openFrame {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.line[0]
	n := copy(l.line, l.line[1:])
	l.line[n] = nil
	l.line = l.line[:n]
	return f
}

// close lets no more events in; what is in line is still published.
func (l *batcher) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.rouse()
}
