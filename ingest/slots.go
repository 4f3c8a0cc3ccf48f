package ingest

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// slots bounds how many frames that are not full are on their way to the log at
// once, over all partitions. The log stores one message after the other: a frame
// sent while others are queued there only closes sooner, with fewer events, and
// is stored no sooner. So a batcher whose frame is not full waits here, in line, and
// its frame fills meanwhile. With an fsync for each message this is a group
// commit: 64 callers over sixteen partitions had 3 events in a frame, and have 6.
//
// How many slots there are is found as TCP Vegas finds its window (Brakmo and
// Peterson, 1994). n frames under way that each take t, where a frame can take
// as little as least, are n x (1 - least/t) waiting in the log's queue and the
// rest travelling. One or two in the queue keep the log busy; more than that only
// wait. So a log with an fsync at hand gets two slots, and one that is far away
// gets enough to fill the way there.
//
// What does not fit this picture costs little: nobody waits longer than slotWait.
type slots struct {
	most int
	wait time.Duration

	mu     sync.Mutex
	limit  int
	taken  int
	line   list.List // of chan struct{}, closed when it has a slot
	least  time.Duration
	passed int // answers since limit was looked at
	aged   int // answers since least was
}

const (
	leastSlots = 2
	slotWait   = 100 * time.Millisecond
	// Every ageEvery answers the least time grows by a 1/2^ageShift: it doubles in
	// some ninety thousand, so that a log which moved away is believed.
	ageEvery = 128
	ageShift = 10
	// The queue in the log that is let be.
	queueLow, queueHigh = 1, 2
)

func newSlots(batchers int) *slots {
	return &slots{most: max(batchers, leastSlots), wait: slotWait, limit: leastSlots}
}

// take waits for a slot. It goes without one, and says false, when the frame of
// the batcher is full, slotWait has passed or ctx has ended.
func (s *slots) take(ctx context.Context, l *batcher) bool {
	if l.full() {
		return false
	}
	s.mu.Lock()
	if s.taken < s.limit && s.line.Len() == 0 {
		s.taken++
		s.mu.Unlock()
		return true
	}
	ready := make(chan struct{})
	place := s.line.PushBack(ready)
	s.mu.Unlock()
	timer := time.NewTimer(s.wait)
	defer timer.Stop()
	for {
		select {
		case <-ready:
			return true
		case <-l.wake:
			if !l.full() {
				continue
			}
		case <-timer.C:
		case <-ctx.Done():
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		select {
		case <-ready: // in the same moment
			return true
		default:
			s.line.Remove(place)
			return false
		}
	}
}

// give returns a slot. took is how long the log took to answer; zero where it did not.
func (s *slots) give(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if took > 0 {
		s.learn(took)
	}
	s.taken--
	for e := s.line.Front(); e != nil && s.taken < s.limit; e = s.line.Front() {
		s.taken++
		close(s.line.Remove(e).(chan struct{}))
	}
}

// learn adjusts the limit, by one at most for as many answers as the limit is.
func (s *slots) learn(took time.Duration) {
	if s.least == 0 || took < s.least {
		s.least = took
	} else if s.aged++; s.aged >= ageEvery {
		s.least += s.least >> ageShift
		s.aged = 0
	}
	if s.passed++; s.passed < s.limit {
		return
	}
	s.passed = 0
	queue := float64(s.taken) * (1 - float64(s.least)/float64(took))
	switch {
	case queue > queueHigh:
		s.limit = max(s.limit-1, leastSlots)
	case queue < queueLow && s.line.Len() > 0:
		s.limit = min(s.limit+1, s.most)
	}
}
