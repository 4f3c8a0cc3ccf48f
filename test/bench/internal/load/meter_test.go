package load

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func TestDrive(t *testing.T) {
	t.Parallel()
	var ended atomic.Int32
	r, err := drive(t.Context(), Window{Warm: time.Millisecond, Count: time.Millisecond}, 3,
		func(ctx context.Context, i int, count *atomic.Int64) error {
			for ctx.Err() == nil {
				count.Add(1)
			}
			ended.Add(1)
			return errors.New("what comes after the end does not count")
		})
	if err != nil || r.PerSecond <= 0 || ended.Load() != 3 {
		t.Errorf("%+v, %v; %d workers have ended", r, err, ended.Load())
	}
}

func TestDriveFails(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	_, err := drive(t.Context(), Window{Count: time.Hour}, 2, func(ctx context.Context, i int, _ *atomic.Int64) error {
		if i == 1 {
			return failed
		}
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, failed) {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(failed)
	_, err = drive(ctx, Window{Count: time.Hour}, 1, func(ctx context.Context, _ int, _ *atomic.Int64) error {
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, failed) {
		t.Errorf("cancelled, the error is %v", err)
	}
}

func TestDriveWithoutAcknowledgement(t *testing.T) {
	t.Parallel()
	_, err := drive(t.Context(), Window{Count: time.Millisecond}, 1, func(ctx context.Context, _ int, _ *atomic.Int64) error {
		<-ctx.Done()
		return nil
	})
	if err == nil {
		t.Error("a rate of nothing is no error")
	}
}
