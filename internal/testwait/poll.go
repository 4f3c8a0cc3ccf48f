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
// is awaited instead. It must be called by the goroutine that runs the test.
func Poll(t testing.TB, what string, check func() error) {
	t.Helper()
	pollFor(t, PollLimit, what, check)
}

func pollFor(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	began := time.Now()
	for pause := pollFirst; ; pause = min(2*pause, pollMost) {
		err := check()
		if err == nil {
			return
		}
		if took := time.Since(began); took >= limit {
			t.Fatalf("waited %v until %s: %v", took.Round(time.Millisecond), what, err)
		}
		time.Sleep(pause)
	}
}
