package processor

import (
	"math/bits"

	"holdmetrics/projection"
)

// publishQueue is the holders that wait to be published, each once, in the order
// in which they came.
//
// Where more wait than one turn takes, half of a turn is the oldest, so that no
// holder waits for ever. The other half is what changed most often while it
// waited, and then the newest: one put makes the most changes known there, and a
// holder that somebody acts on again and again is seen soon, however many others
// wait.
//
// A holder that was taken leaves entries behind, which its number shows to be
// stale. They are swept when they are more than what waits.
type publishQueue struct {
	entries []waitingHolder // by time; before head they are gone
	head    int
	often   [oftenClasses][]waitingHolder // those that changed at least 2, 4, 8, 16, 32 times
	extra   int                           // entries in often
	waiting int
	number  uint32 // of the last entry
}

const (
	oftenClasses = 5
	staleSpared  = 1024 // stale entries that are not worth a sweep
)

// waitingHolder is a holder and how far the partition was before the event that
// put it here: once everything before it is published, the bucket has all of that.
type waitingHolder struct {
	holder *holder
	number uint32
	before projection.Reached
}

// waits reports whether the entry is not stale.
func (w *waitingHolder) waits() bool { return w.holder != nil && w.holder.queued == w.number }

func (q *publishQueue) len() int { return q.waiting }

// change notes that a holder changed. The partition was at before until then.
func (q *publishQueue) change(h *holder, before projection.Reached) {
	if h.queued == 0 {
		if q.number++; q.number == 0 {
			q.number++
		}
		h.queued, h.changes = q.number, h.changes&unshownMark|1
		q.waiting++
		q.entries = append(q.entries, waitingHolder{h, q.number, before})
		return
	}
	n := h.changes &^ unshownMark
	if n == 1<<oftenClasses {
		return
	}
	h.changes++
	if n++; n&(n-1) == 0 {
		class := bits.Len8(n) - 2
		q.often[class] = append(q.often[class], waitingHolder{holder: h, number: h.queued})
		q.extra++
	}
}

// take calls fn for up to most holders, which it takes out. It returns how far the
// bucket is when they are published, where all that was applied is up to now.
func (q *publishQueue) take(most int, now projection.Reached, fn func(*holder)) projection.Reached {
	out := func(w *waitingHolder) {
		w.holder.queued = 0
		q.waiting--
		fn(w.holder)
	}
	if q.waiting > most {
		first := most / 2
		most -= first
		for class := oftenClasses - 1; class >= 0; class-- {
			stack := &q.often[class]
			for len(*stack) > 0 && first > 0 {
				if w := pop(stack); w.waits() {
					out(&w)
					first--
				}
				q.extra--
			}
		}
		for first > 0 { // there are as many, since more than most wait
			if w := pop(&q.entries); w.waits() {
				out(&w)
				first--
			}
		}
	}
	for most > 0 && q.waiting > 0 {
		if w := &q.entries[q.head]; w.waits() {
			out(w)
			most--
		}
		q.entries[q.head] = waitingHolder{}
		q.head++
	}
	if q.waiting == 0 {
		q.clear()
		return now
	}
	for !q.entries[q.head].waits() {
		q.entries[q.head] = waitingHolder{}
		q.head++
	}
	before := q.entries[q.head].before
	if len(q.entries)+q.extra > 2*q.waiting+staleSpared {
		q.sweep()
	}
	return before
}

// each calls fn for every holder that waits.
func (q *publishQueue) each(fn func(*holder)) {
	for i := range q.entries[q.head:] {
		if w := &q.entries[q.head+i]; w.waits() {
			fn(w.holder)
		}
	}
}

// sweep takes out what is stale.
func (q *publishQueue) sweep() {
	q.entries, q.head = keepWaiting(q.entries), 0
	q.extra = 0
	for class := range q.often {
		q.often[class] = keepWaiting(q.often[class])
		q.extra += len(q.often[class])
	}
}

// clear empties the queue, of which nothing waits.
func (q *publishQueue) clear() {
	q.entries, q.head, q.extra = emptied(q.entries), 0, 0
	for class := range q.often {
		q.often[class] = emptied(q.often[class])
	}
}

func pop(stack *[]waitingHolder) waitingHolder {
	last := len(*stack) - 1
	w := (*stack)[last]
	(*stack)[last] = waitingHolder{}
	*stack = (*stack)[:last]
	return w
}

func keepWaiting(all []waitingHolder) []waitingHolder {
	kept := all[:0]
	for i := range all {
		if all[i].waits() {
			kept = append(kept, all[i])
		}
	}
	clear(all[len(kept):])
	return kept
}
