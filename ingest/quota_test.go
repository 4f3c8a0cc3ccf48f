package ingest

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
)

// However many callers come while the log stands still, only so many wait; the
// others are refused at once. When there is quota again all who waited are served.
func TestTheLineForQuotaIsBounded(t *testing.T) {
	t.Parallel()
	r := newQuota(1, 100)
	if !r.tryTake(1, 1) {
		t.Fatal("no quota at the beginning")
	}
	var waiting sync.WaitGroup
	served := make(chan error, longestLine)
	for range longestLine {
		waiting.Go(func() {
			err := r.take(t.Context(), 1, 1)
			served <- err
			if err == nil {
				r.give(1, 1)
			}
		})
	}
	for {
		r.mu.Lock()
		n := r.line.Len()
		r.mu.Unlock()
		if n == longestLine {
			break
		}
		runtime.Gosched()
	}
	if err := r.take(context.Background(), 1, 1); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v", err)
	}
	r.give(1, 1)
	waiting.Wait()
	for range longestLine {
		if err := <-served; err != nil {
			t.Fatal(err)
		}
	}
	if events, bytes := r.taken(); events != 0 || bytes != 0 {
		t.Errorf("%d events and %d bytes are left", events, bytes)
	}
}
