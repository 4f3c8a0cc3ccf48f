package stall

import (
	"context"
	"errors"
	"testing"
	"time"
)

const limit = 10 * time.Millisecond

func until(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestWaitEndsWhenNothingMoves(t *testing.T) {
	t.Parallel()
	if err := Wait(t.Context(), limit, Never, until); !errors.Is(err, ErrStalled) || err.Error() != "no progress for 10ms" {
		t.Error(err)
	}
}

func TestWaitGoesOnWhileItMoves(t *testing.T) {
	t.Parallel()
	calls := uint64(0)
	err := Wait(t.Context(), limit, func() uint64 { return calls }, func(ctx context.Context) error {
		if calls++; calls == 4 {
			return nil
		}
		return until(ctx)
	})
	if err != nil || calls != 4 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestWaitReturnsErrors(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	if err := Wait(t.Context(), time.Hour, Never, func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	// A deadline of somebody else is no stall.
	if err := Wait(t.Context(), time.Hour, Never, func(context.Context) error { return context.DeadlineExceeded }); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrStalled) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Wait(ctx, limit, Never, until); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
