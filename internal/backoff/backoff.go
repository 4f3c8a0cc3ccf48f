// Package backoff spaces out tries of something that fails for now: by pauses that
// double up to a limit, and that end with a context.
package backoff

import (
	"context"
	"time"
)

// Backoff is a sequence of pauses. The first is First, and each later one is twice the
// one before, at most Most. There is no jitter. It is not safe for concurrent use.
type Backoff struct {
	// First is the first pause. Like those that follow it, it is above 0.
	First time.Duration
	// Most limits all pauses but the first.
	Most time.Duration

	last time.Duration // 0: none yet
}

// Next returns the next pause of the sequence.
func (b *Backoff) Next() time.Duration {
	switch {
	case b.last == 0:
		b.last = b.First
	case b.last > b.Most/2: // doubling it could overflow
		b.last = b.Most
	default:
		b.last *= 2
	}
	return b.last
}

// Reset starts the sequence again from First.
func (b *Backoff) Reset() { b.last = 0 }

// Wait waits for the next pause to pass. If ctx has ended by then, it returns the error
// of ctx.
func (b *Backoff) Wait(ctx context.Context) error { return Wait(ctx, b.Next()) }

// Wait waits for d to pass, not at all if d is 0 or less. If ctx has ended by then, it
// returns the error of ctx.
func Wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}
