// Package stall bounds a wait by its progress instead of by its length: what takes long
// may go on for as long as it moves, and ends soon after it has stopped moving.
package stall

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrStalled matches the error of a wait that ended because nothing moved.
var ErrStalled = errors.New("no progress")

// Error is the error of a wait that ended because nothing moved.
type Error struct{ For time.Duration }

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("no progress for %v", e.For) }

// Is makes the error match [ErrStalled].
func (e *Error) Is(target error) bool { return target == ErrStalled }

// Wait calls wait until it returns anything but the end of its context, which it gives
// it after limit, and calls it again as long as progress returns another value than
// before. So wait is asked again at least once a limit, and the whole ends with [*Error]
// between one and two limits after the last progress. If ctx ends, the error is that of
// wait.
//
// wait must return soon after its context has ended, and must be callable again.
func Wait(ctx context.Context, limit time.Duration, progress func() uint64, wait func(context.Context) error) error {
	for last := progress(); ; {
		within, cancel := context.WithTimeout(ctx, limit)
		err := wait(within)
		over := within.Err() != nil
		cancel()
		if err == nil || ctx.Err() != nil || !over || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		now := progress()
		if now == last {
			return &Error{limit}
		}
		last = now
	}
}

// Never is the progress of something that shows none: Wait then ends after one limit.
func Never() uint64 { return 0 }
