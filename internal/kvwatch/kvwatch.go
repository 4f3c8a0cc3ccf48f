// Package kvwatch ends watches of key-value buckets without leaving anything behind.
package kvwatch

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// End stops a watch, and takes what the client still has of it: the client's goroutine
// waits until somebody takes each update, and only then ends and closes the channel. It
// returns when that has happened, or after within.
func End(w jetstream.KeyWatcher, within time.Duration) {
	_ = w.Stop() // fails only if the watch has ended
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		select {
		case _, ok := <-w.Updates():
			if !ok {
				return
			}
		case <-timer.C:
			return
		}
	}
}
