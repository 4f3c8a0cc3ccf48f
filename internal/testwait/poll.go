package testwait

import (
	"testing"
	"time"
)

const (
	// PollLimit is how long [Poll] goes on: longer than anything takes on a starved
	// machine, and shorter than [Polling].
	PollLimit = 100 * time.Second

	pollFirst, pollMost = time.Millisecond, 20 * time.Millisecond
)

// Poll calls check until it returns nil. After [PollLimit] it fails the test with what it
// waited for and the last error. It is for what sends no event when it changes; an event
// is awaited instead. Who waits for long looks less often: the looks of some tests took
// more of the processor than what they waited for. It must be called by the goroutine that
// runs the test.
func Poll(t testing.TB, what string, check func() error) {
	t.Helper()
	pollFor(t, PollLimit, what, check)
}

func pollFor(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	began := time.Now()
	for {
		err := check()
		if err == nil {
			return
		}
		if took := time.Since(began); took >= limit {
			t.Fatalf("waited %v until %s: %v", took.Round(time.Millisecond), what, err)
		}
		time.Sleep(pauseAfter(time.Since(began)))
	}
}

// Pause sleeps before the next look at what sends no event, for a loop that began then and
// cannot be a [Poll]: for a millisecond at first, and longer the longer it goes on.
func Pause(began time.Time) { time.Sleep(pauseAfter(time.Since(began))) }

// pauseAfter is an eighth of the time so far up to pollMost, and a 32nd of it beyond that.
func pauseAfter(elapsed time.Duration) time.Duration {
	return max(pollFirst, min(elapsed/8, max(pollMost, elapsed/32)))
}
