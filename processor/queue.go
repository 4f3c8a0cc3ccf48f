package processor

import "holdmetrics/projection"

// publishQueue is the holders that wait to be published, each once, in the order
// in which they came.
//
// Where more wait than one turn takes, half of a turn is the oldest and half the
// newest. So no holder waits for ever, and one that somebody acts on now is seen
// now, however many others wait.
type publishQueue struct {
	entries []waitingHolder
	head    int // entries before it are gone
}

// waitingHolder is a holder and how far the partition was before the event that
// put it here: once everything before it is published, the bucket has all of that.
type waitingHolder struct {
	holder *holder
	before projection.Reached
}

func (q *publishQueue) len() int { return len(q.entries) - q.head }

func (q *publishQueue) push(h *holder, before projection.Reached) {
	q.entries = append(q.entries, waitingHolder{h, before})
}

// take calls fn for up to most holders and takes them out. It returns how far the
// bucket is when they are published, where all that was applied is up to now.
func (q *publishQueue) take(most int, now projection.Reached, fn func(*holder)) projection.Reached {
	oldest := q.len()
	if oldest > most {
		newest := most / 2
		oldest = most - newest
		for range newest {
			last := len(q.entries) - 1
			fn(q.entries[last].holder)
			q.entries[last] = waitingHolder{}
			q.entries = q.entries[:last]
		}
	}
	for range oldest {
		fn(q.entries[q.head].holder)
		q.entries[q.head] = waitingHolder{}
		q.head++
	}
	if q.len() == 0 {
		q.entries, q.head = q.entries[:0], 0
		return now
	}
	if q.head > len(q.entries)/2 {
		n := copy(q.entries, q.entries[q.head:])
		clear(q.entries[n:])
		q.entries, q.head = q.entries[:n], 0
	}
	return q.entries[q.head].before
}
