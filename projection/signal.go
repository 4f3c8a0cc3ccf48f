package projection

import "sync"

// signal wakes everyone who waits for the next event. Nobody waiting costs
// nothing: the channel is made for the first one who waits, and shared.
type signal struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait is closed at the next raise.
func (s *signal) wait() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) raise() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}
