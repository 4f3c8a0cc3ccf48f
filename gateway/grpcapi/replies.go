package grpcapi

import (
	"context"
	"sync"
	"time"

	"holdmetrics/gateway/intake"
)

// replies is a reply queue: it keeps answers in the order of their questions. A stream has many
// questions in flight, which are answered in any order from any goroutine; its
// client gets the answers in the order in which it asked.
//
//	receiver: take ──▶ seq ──▶ producer ──▶ answer(seq) ──▶ sender: send, in order
//
// It bounds how many questions may be in flight, and what they weigh together,
// and take waits for that. That is the back pressure of a stream: its client may
// send no more than it lets be acknowledged. The ring grows up to that bound as it
// is needed, since most of many streams have little in flight.
type replies[T any] struct {
	most       uint64 // in flight
	mostWeight int

	mu     sync.Mutex
	ring   []answered[T] // its length is a power of two
	head   uint64        // next to be sent
	tail   uint64        // next to be taken
	weight int           // of what is in flight
	closed bool
	err    error // why the receiver closed it

	ready chan struct{} // the head may have been answered, or the queue was closed
	space chan struct{} // the ring may have space
}

type answered[T any] struct {
	ok     bool
	weight int32
	value  T
}

// repliesBegin is the length of a ring at its beginning.
const repliesBegin = 16

func newReplies[T any](inFlight, weight int) *replies[T] {
	return &replies[T]{
		most: uint64(inFlight), mostWeight: weight,
		ring:  make([]answered[T], repliesBegin),
		ready: make(chan struct{}, 1),
		space: make(chan struct{}, 1),
	}
}

// take gives the next question its place. A question that weighs more than the
// queue bears goes alone. One goroutine takes.
func (l *replies[T]) take(ctx context.Context, weight int) (uint64, error) {
	for {
		l.mu.Lock()
		open := l.tail - l.head
		if open == 0 || open < l.most && l.weight+weight <= l.mostWeight {
			if open == uint64(len(l.ring)) {
				l.grow()
			}
			seq := l.tail
			l.tail++
			l.weight += weight
			l.place(seq).weight = int32(weight)
			l.mu.Unlock()
			return seq, nil
		}
		l.mu.Unlock()
		select {
		case <-l.space:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
}

func (l *replies[T]) place(seq uint64) *answered[T] { return &l.ring[seq%uint64(len(l.ring))] }

// grow doubles the ring, which is full.
func (l *replies[T]) grow() {
	old := l.ring
	l.ring = make([]answered[T], 2*len(old))
	for seq := l.head; seq < l.tail; seq++ {
		*l.place(seq) = old[seq%uint64(len(old))]
	}
}

// answer fills a place that was taken. It does not block.
func (l *replies[T]) answer(seq uint64, value T) {
	l.mu.Lock()
	place := l.place(seq)
	place.ok, place.value = true, value
	first := seq == l.head
	l.mu.Unlock()
	if first {
		signal(l.ready)
	}
}

// close ends the queue: nothing more is taken. What was taken is still sent; then send
// returns err.
func (l *replies[T]) close(err error) {
	l.mu.Lock()
	l.closed, l.err = true, err
	l.mu.Unlock()
	signal(l.ready)
}

// send gives every answer to fn, in order, until the queue is closed and empty,
// ctx ends or fn fails. Where the first open question has no answer for as long
// as patience it returns ErrSlow. One goroutine sends.
func (l *replies[T]) send(ctx context.Context, patience time.Duration, fn func(T) error) error {
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
				return intake.ErrSlow
			}
		}
	}
}

// patienceTicks is how finely patience is measured.
const patienceTicks = 4

// open gives the first question that was not answered, if there is one.
func (l *replies[T]) open() (head uint64, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head, l.head < l.tail && !l.place(l.head).ok
}

// drain takes the answers that are next in order out of the ring.
func (l *replies[T]) drain(dst []T) (batch []T, ended bool, err error) {
	l.mu.Lock()
	for l.head < l.tail {
		place := l.place(l.head)
		if !place.ok {
			break
		}
		dst = append(dst, place.value)
		l.weight -= int(place.weight)
		*place = answered[T]{}
		l.head++
	}
	ended = len(dst) == 0 && l.closed && l.head == l.tail
	err = l.err
	l.mu.Unlock()
	if len(dst) > 0 {
		signal(l.space)
	}
	return dst, ended, err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
