package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// waits is what a start waits for. It is safe for concurrent use.
type waits struct {
	mu   sync.Mutex
	what string // empty: nothing yet
	err  error  // of the last try; nil: none has failed
}

// on says what is waited for from now on.
func (w *waits) on(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.what, w.err = what, nil
}

// tried says how a try ended.
func (w *waits) tried(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// reason is why the start is not over.
func (w *waits) reason() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.what == "":
		return errors.New("the process is starting")
	case w.err == nil:
		return fmt.Errorf("starting: waiting for %s", w.what)
	}
	return fmt.Errorf("waiting for %s: %w", w.what, w.err)
}

// patiently is the function of that name, whose last failure is the reason why the
// process is not ready.
func (n *node) patiently(ctx context.Context, what string, f func(context.Context) error) error {
	return patiently(ctx, n.log, what, func(ctx context.Context) error {
		err := f(ctx)
		if err == nil {
			n.waits.tried(nil)
		} else {
			n.waits.tried(fmt.Errorf("%s: %w", what, err))
		}
		return err
	})
}

// waitingLog is the log of a store that says there, and nowhere else, why it tries again.
type waitingLog struct {
	storeLog
	waits *waits
}

// Errorf logs, and keeps what is logged as the reason of the wait.
func (l waitingLog) Errorf(format string, args ...any) {
	l.waits.tried(fmt.Errorf(format, args...))
	l.storeLog.Errorf(format, args...)
}
