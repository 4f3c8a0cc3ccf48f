package grpcapi

import (
	"sync"
	"time"
)

// stalls closes the watches whose clients do not read. One goroutine looks after all
// of them, as long as there are any.
type stalls struct {
	most time.Duration // longest time that one send may take

	mu      sync.Mutex
	looked  map[*grpcWatch]struct{}
	looking chan struct{} // closed when there are none; nil: there are none

	running sync.WaitGroup
}

// look adds a watch that is closed when a send takes too long.
func (s *stalls) look(w *grpcWatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looked == nil {
		s.looked = map[*grpcWatch]struct{}{}
	}
	s.looked[w] = struct{}{}
	if s.looking == nil {
		none := make(chan struct{})
		s.looking = none
		s.running.Go(func() { s.lookAfter(none) })
	}
}

// lookAway removes a watch that has ended.
func (s *stalls) lookAway(w *grpcWatch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.looked, w); len(s.looked) == 0 && s.looking != nil {
		close(s.looking)
		s.looking = nil
	}
}

func (s *stalls) lookAfter(none <-chan struct{}) {
	ticks := time.NewTicker(max(s.most/4, time.Millisecond))
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-none:
			return
		}
		before := time.Now().Add(-s.most)
		s.mu.Lock()
		for w := range s.looked {
			w.overdue(before)
		}
		s.mu.Unlock()
	}
}
