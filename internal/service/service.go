// Package service starts the parts of a process in order and stops them in reverse.
//
//	            Add, Go                        Fail, or a Go that returns
//	New ──▶ starting ──▶ running ───────────────────────┐
//	            │           │                           ▼
//	            │           └──▶ Stop ◀──── Failed() is closed
//	            ▼                  │
//	   a start fails: Stop         ▼
//	                         the parts stop, the last added first; each has a
//	                         time limit; the first failure leads the error
//
// A process adds each part right after it has started the part, so that whatever
// fails later, Stop ends exactly what runs:
//
//	g := service.New()
//	lock, err := lockDirectory(dir)
//	if err != nil {
//		return errors.Join(err, g.Stop())
//	}
//	g.Add("the lock", service.Close(lock))
//	g.Go("the loop", loop.Run)
//	...
//	return g.Wait(ctx)
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// StopLimit is how long a part may take to stop, unless it is added with a limit of
// its own.
const StopLimit = 30 * time.Second

// ErrStopTimeout is returned, wrapped with the name of the part, for a part that did
// not stop within its limit. The part is left behind; the others are stopped.
var ErrStopTimeout = errors.New("did not stop in time")

// Group is the parts of a process. Its methods are safe for concurrent use.
type Group struct {
	failed chan struct{} // closed by the first failure

	mu      sync.Mutex
	parts   []part
	failure error // the first

	stop    sync.Once
	stopped error
}

// part is one that was started.
type part struct {
	name  string
	limit time.Duration
	stop  func(context.Context) error
}

// New returns a group without parts.
func New() *Group { return &Group{failed: make(chan struct{})} }

// Add adds a part that runs. Stop calls its function before those of all parts that
// were added earlier. The function must return when its context ends, which is after
// [StopLimit]. Add must not be called after Stop.
func (g *Group) Add(name string, stop func(context.Context) error) {
	g.AddWithin(name, StopLimit, stop)
}

// AddWithin is Add for a part that may take longer, or must be faster, to stop.
func (g *Group) AddWithin(name string, limit time.Duration, stop func(context.Context) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parts = append(g.parts, part{name, limit, stop})
}

// Go adds a part that is a function in a goroutine. Its context ends when the part is
// stopped; Stop then waits for the function and takes its error. A function that
// returns earlier, with or without an error, is a failure of the group.
func (g *Group) Go(name string, run func(context.Context) error) {
	g.GoWithin(name, StopLimit, run)
}

// GoWithin is Go for a part that may take longer, or must be faster, to stop.
func (g *Group) GoWithin(name string, limit time.Duration, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = fmt.Errorf("%s ended by itself", name)
			}
			g.Fail(err)
			err = nil // it is the group's failure, and not one of the stop too
		}
		ended <- err
	}()
	g.AddWithin(name, limit, func(ctx context.Context) error {
		cancel()
		select {
		case err := <-ended:
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// Fail reports that a part broke while it ran. The first failure counts; the others
// follow from it.
func (g *Group) Fail(err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failure == nil {
		g.failure = err
		close(g.failed)
	}
}

// Failed returns a channel that is closed by the first failure.
func (g *Group) Failed() <-chan struct{} { return g.failed }

// Wait waits until ctx ends or a part fails, and returns what Stop returns.
func (g *Group) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-g.failed:
	}
	return g.Stop()
}

// Stop stops the parts, the last first, and returns the first failure joined with the
// errors of the stops. Later calls return the same.
func (g *Group) Stop() error {
	g.stop.Do(func() {
		g.mu.Lock()
		parts := g.parts
		g.parts = nil
		g.mu.Unlock()
		var errs []error
		for i := len(parts) - 1; i >= 0; i-- {
			errs = append(errs, parts[i].end())
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.stopped = errors.Join(append([]error{g.failure}, errs...)...)
	})
	return g.stopped
}

// end stops a part, or gives up when its limit is over.
func (p *part) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.limit)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.stop(ctx) }()
	var err error
	select {
	case err = <-ended:
	case <-ctx.Done():
		// A part that keeps to its context ends now, and its error is the better one.
		grace := time.NewTimer(p.limit/10 + 10*time.Millisecond)
		defer grace.Stop()
		select {
		case err = <-ended:
		case <-grace.C:
			err = ctx.Err()
		}
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return fmt.Errorf("%s: %w: waited %v", p.name, ErrStopTimeout, p.limit)
	}
	return err
}

// Close returns a function for [Group.Add] that closes c.
func Close(c io.Closer) func(context.Context) error { return Func(c.Close) }

// Func returns a function for [Group.Add] that calls f, which takes no context.
func Func(f func() error) func(context.Context) error {
	return func(context.Context) error { return f() }
}

// Do returns a function for [Group.Add] that calls f, which cannot fail.
func Do(f func()) func(context.Context) error {
	return func(context.Context) error {
		f()
		return nil
	}
}
