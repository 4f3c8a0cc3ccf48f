package app

import (
	"errors"
	"fmt"
	"sync"
)

// startup is the status of a start: what it waits for. It is safe for concurrent use.
type startup struct {
	mu   sync.Mutex
	what string // empty: nothing yet
	err  error  // of the last try; nil: none has failed
}

// waitFor sets what is waited for from now on.
func (s *startup) waitFor(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.what, s.err = what, nil
}

// tried records how a try ended.
func (s *startup) tried(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// reason returns why the start has not finished.
func (s *startup) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.what == "":
		return errors.New("the process is starting")
	case s.err == nil:
		return fmt.Errorf("starting: waiting for %s", s.what)
	}
	return fmt.Errorf("waiting for %s: %w", s.what, s.err)
}

// waitingLog is the logger of a store, whose errors are the only sign of its retries.
type waitingLog struct {
	storeLog
	startup *startup
}

// Errorf logs a message and records it as the reason of the wait.
func (l waitingLog) Errorf(format string, args ...any) {
	l.startup.tried(fmt.Errorf(format, args...))
	l.storeLog.Errorf(format, args...)
}
