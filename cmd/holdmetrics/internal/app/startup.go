package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"holdmetrics/internal/backoff"
)

// startupWord is how often the log says what a start still waits for.
const startupWord = 30 * time.Second

// startup is the status of a start: what it waits for. It is safe for concurrent use.
type startup struct {
	mu    sync.Mutex
	what  string // empty: nothing yet
	since time.Time
	err   error // of the last try; nil: none has failed
}

// waitFor sets what is waited for from now on.
func (s *startup) waitFor(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.what, s.since, s.err = what, time.Now(), nil
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
	case s.err != nil:
		return fmt.Errorf("waiting for %s: %w", s.what, s.err)
	}
	if lasts := time.Since(s.since).Round(time.Second); lasts > 0 {
		return fmt.Errorf("starting: waiting for %s for %v", s.what, lasts)
	}
	return fmt.Errorf("starting: waiting for %s", s.what)
}

// watch logs what the start waits for as long as it lasts, until stop is called. A
// broker may take long to read its files, and says nothing meanwhile.
func (s *startup) watch(log *zap.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for backoff.Wait(ctx, startupWord) == nil {
			log.Warn("the start takes long", zap.NamedError("status", s.reason()))
		}
	}()
	return func() {
		cancel()
		<-ended
	}
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
