// Package inuse counts what uses a resource, so that it can be given up when nothing does.
package inuse

import (
	"fmt"
	"sync"
	"time"
)

// Count counts the calls under way and the views open. The zero value is ready for use.
// It is safe for concurrent use.
type Count struct {
	mu    sync.Mutex
	open  Open
	empty chan struct{} // closed when nothing is open; nil: nobody waits
}

// Open says how much is open.
type Open struct{ Calls, Views int }

// OpenError is the error of a wait that ended while something was still open.
type OpenError struct {
	Open
	For time.Duration // that was waited
}

// Error says how much is open, and how long the wait was.
func (e *OpenError) Error() string {
	return fmt.Sprintf("still in use after %v: calls under way: %d, views open: %d", e.For, e.Calls, e.Views)
}

// Call counts a call. leave ends it, and must be called once.
func (c *Count) Call() (leave func()) {
	c.add(Open{Calls: 1})
	return c.leaveCall
}

// View counts a view. leave ends it, and must be called once.
func (c *Count) View() (leave func()) {
	c.add(Open{Views: 1})
	return c.leaveView
}

func (c *Count) leaveCall() { c.add(Open{Calls: -1}) }
func (c *Count) leaveView() { c.add(Open{Views: -1}) }

func (c *Count) add(n Open) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open.Calls += n.Calls
	c.open.Views += n.Views
	if c.open == (Open{}) && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

// Wait waits until nothing is open. After limit it returns an [*OpenError]. The caller
// sees to it that nothing is opened meanwhile.
func (c *Count) Wait(limit time.Duration) error {
	c.mu.Lock()
	if c.open == (Open{}) {
		c.mu.Unlock()
		return nil
	}
	if c.empty == nil {
		c.empty = make(chan struct{})
	}
	empty := c.empty
	c.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-empty:
		return nil
	case <-timer.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == (Open{}) {
		return nil
	}
	return &OpenError{c.open, limit}
}
