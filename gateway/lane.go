package gateway

import (
	"context"
	"sync"
	"time"
)

// lane keeps answers in the order of their questions. A stream has many
// questions in flight, which are answered in any order from any goroutine; its
// client gets the answers in the order in which it asked.
//
//	receiver: take ──▶ seq ──▶ producer ──▶ answer(seq) ──▶ sender: send, in order
//
// It is a ring: its length is how many questions may be in flight, and take
// waits while it is full. That is the back pressure of a stream: its client may
// send no more than it lets be acknowledged.
type lane[T any] struct {
	mu     sync.Mutex
	ring   []answered[T]
	head   uint64 // next to be sent
	tail   uint64 // next to be taken
	closed bool
	err    error // why the receiver closed it

	ready chan struct{} // the head may have been answered, or the lane closed
	room  chan struct{} // the ring may have room
}

type answered[T any] struct {
	ok    bool
	value T
}

func newLane[T any](inFlight int) *lane[T] {
	return &lane[T]{
		ring:  make([]answered[T], inFlight),
		ready: make(chan struct{}, 1),
		room:  make(chan struct{}, 1),
	}
}

// take gives the next question its place. One goroutine takes.
func (l *lane[T]) take(ctx context.Context) (uint64, error) {
	for {
		l.mu.Lock()
		if l.tail-l.head < uint64(len(l.ring)) {
			seq := l.tail
			l.tail++
			l.mu.Unlock()
			return seq, nil
		}
		l.mu.Unlock()
		select {
		case <-l.room:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

// answer fills a place that was taken. It does not block.
func (l *lane[T]) answer(seq uint64, value T) {
	l.mu.Lock()
	l.ring[seq%uint64(len(l.ring))] = answered[T]{ok: true, value: value}
	first := seq == l.head
	l.mu.Unlock()
	if first {
		signal(l.ready)
	}
}

// close says that nothing more is taken. What was taken is still sent; then send
// returns err.
func (l *lane[T]) close(err error) {
	l.mu.Lock()
	l.closed, l.err = true, err
	l.mu.Unlock()
	signal(l.ready)
}

// send gives every answer to fn, in order, until the lane is closed and empty,
// ctx ends or fn fails. Where the first open question has no answer for as long
// as patience it returns ErrSlow. One goroutine sends.
func (l *lane[T]) send(ctx context.Context, patience time.Duration, fn func(T) error) error {
	var batch []T
	// A ticker and not a timer for each wait: a stream that moves waits often.
	tick := time.NewTicker(max(patience/patienceTicks, 1))
	defer tick.Stop()
	var first uint64 // open question at the last tick
	still := 0       // ticks that saw it
	for {
		var ended bool
		var err error
		if batch, ended, err = l.drain(batch[:0]); ended {
			return err
		}
		for _, v := range batch {
			if err := fn(v); err != nil {
				return err
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-l.ready:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			head, open := l.open()
			if !open || head != first {
				first, still = head, 0
			}
			if open {
				still++
			}
			if still > patienceTicks {
				return ErrSlow
			}
		}
	}
}

// patienceTicks is how finely patience is measured.
const patienceTicks = 4

// open gives the first question that was not answered, if there is one.
func (l *lane[T]) open() (head uint64, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head, l.head < l.tail && !l.ring[l.head%uint64(len(l.ring))].ok
}

// drain takes the answers that are next in order out of the ring.
func (l *lane[T]) drain(dst []T) (batch []T, ended bool, err error) {
	l.mu.Lock()
	for l.head < l.tail {
		place := &l.ring[l.head%uint64(len(l.ring))]
		if !place.ok {
			break
		}
		dst = append(dst, place.value)
		*place = answered[T]{}
		l.head++
	}
	ended = len(dst) == 0 && l.closed && l.head == l.tail
	err = l.err
	l.mu.Unlock()
	if len(dst) > 0 {
		signal(l.room)
	}
	return dst, ended, err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
