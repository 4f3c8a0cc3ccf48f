package ingest

import (
	"container/list"
	"context"
	"fmt"
	"sync"
)

// quota bounds the events that a producer has accepted and the log has not
// acknowledged yet, by number and by bytes. Callers without quota wait in line, first
// come first served, so that small batches do not starve a large one. The line is
// bounded too, because each waiting caller costs memory elsewhere: a full line is an
// error at once. No caller may ask for more than the whole quota.
type quota struct {
	maxEvents, maxBytes int

	mu            sync.Mutex
	events, bytes int // taken
	line          list.List
}

type waiter struct {
	events, bytes int
	ready         chan struct{}
}

// longestLine is how many callers may wait for quota. Of unary calls, at some 12 KB
// each in a gRPC server, these are 200 MB.
const longestLine = 16 << 10

// errLine: so many wait already that one more would not be served soon.
var errLine = fmt.Errorf("%w (%d callers wait in line)", ErrBusy, longestLine)

func newQuota(events, bytes int) *quota { return &quota{maxEvents: events, maxBytes: bytes} }

// tryTake takes quota if there is some and no caller waits for it.
func (r *quota) tryTake(events, bytes int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.line.Len() > 0 || !r.fits(events, bytes) {
		return false
	}
	r.events, r.bytes = r.events+events, r.bytes+bytes
	return true
}

// take waits for quota until ctx ends, and returns the context's cause then. Where
// the line is full it returns errLine.
func (r *quota) take(ctx context.Context, events, bytes int) error {
	if r.tryTake(events, bytes) {
		return nil
	}
	r.mu.Lock()
	if r.line.Len() >= longestLine {
		r.mu.Unlock()
		return errLine
	}
	w := &waiter{events: events, bytes: bytes, ready: make(chan struct{})}
	place := r.line.PushBack(w)
	r.serve() // quota may have come back since
	r.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-w.ready: // served in the same moment
		return nil
	default:
	}
	r.line.Remove(place)
	r.serve() // who stood behind may need less
	return context.Cause(ctx)
}

// give returns quota that was taken, all at once or in parts.
func (r *quota) give(events, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events, r.bytes = r.events-events, r.bytes-bytes
	r.serve()
}

func (r *quota) serve() {
	for e := r.line.Front(); e != nil; e = r.line.Front() {
		w := e.Value.(*waiter)
		if !r.fits(w.events, w.bytes) {
			return
		}
		r.events, r.bytes = r.events+w.events, r.bytes+w.bytes
		r.line.Remove(e)
		close(w.ready)
	}
}

func (r *quota) fits(events, bytes int) bool {
	return r.events+events <= r.maxEvents && r.bytes+bytes <= r.maxBytes
}

func (r *quota) taken() (events, bytes int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events, r.bytes
}
