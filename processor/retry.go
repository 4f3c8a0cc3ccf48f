package processor

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 5 * time.Second
)

// lasting says whether trying again cannot help.
func lasting(err error) bool {
	for _, target := range []error{
		projection.ErrFenced, projection.ErrCorrupt, projection.ErrClosed, projection.ErrBatch, projection.ErrForeign,
		projection.ErrMetaFixed, projection.ErrRefused, hold.ErrCorrupt, lease.ErrLost, lease.ErrConfig,
		ErrForeignLog, ErrLogShorter,
	} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}

// retry calls f until it succeeds, fails for good, or ctx ends, whose error it
// then returns. The pauses grow from 50 ms to 5 s. The first failure is logged,
// and the success that follows one.
func retry(ctx context.Context, log *zap.Logger, what string, f func(context.Context) error) error {
	pause := retryFirst
	for failures := 0; ; failures++ {
		err := f(ctx)
		switch {
		case err == nil:
			if failures > 0 {
				log.Info("succeeded again: "+what, zap.Int("failures", failures))
			}
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case lasting(err):
			return err
		case failures == 0:
			log.Warn("failed, trying again: "+what, zap.Error(err))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
		pause = min(2*pause, retryMost)
	}
}
