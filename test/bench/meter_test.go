package main

import (
	"context"
	"errors"
	"math"
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
	r, err := drive(t.Context(), window{Warm: time.Millisecond, Count: time.Millisecond}, 3,
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
	_, err := drive(t.Context(), window{Count: time.Hour}, 2, func(ctx context.Context, i int, _ *atomic.Int64) error {
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
	_, err = drive(ctx, window{Count: time.Hour}, 1, func(ctx context.Context, _ int, _ *atomic.Int64) error {
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, failed) {
		t.Errorf("cancelled, the error is %v", err)
	}
}

func TestDriveWithoutAcknowledgement(t *testing.T) {
	t.Parallel()
	_, err := drive(t.Context(), window{Count: time.Millisecond}, 1, func(ctx context.Context, _ int, _ *atomic.Int64) error {
		<-ctx.Done()
		return nil
	})
	if err == nil {
		t.Error("a rate of nothing is no error")
	}
}

func TestPercentile(t *testing.T) {
	t.Parallel()
	var took []time.Duration
	for i := 100; i > 0; i-- {
		took = append(took, time.Duration(i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 100, 0: 1} {
		if got := percentile(took, q); got != want {
			t.Errorf("percentile %v is %v, want %v", q, got, want)
		}
	}
	if got := percentile(nil, 0.5); !math.IsInf(got, 1) {
		t.Errorf("of nothing it is %v", got)
	}
}

func TestPickRows(t *testing.T) {
	t.Parallel()
	all := allRows()
	names := map[string]bool{}
	for _, r := range all {
		if names[r.name()] || r.about() == "" || r.repeats(3) < 1 {
			t.Errorf("row %q: its name is taken, or it says nothing", r.name())
		}
		names[r.name()] = true
	}
	got, err := pickRows(all, "pair, ingest")
	if err != nil || len(got) != 2 || got[0].name() != "pair" || got[1].name() != "ingest" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := pickRows(all, ""); err != nil || len(got) != len(all) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := pickRows(all, "nothing"); err == nil {
		t.Error("an unknown row is no error")
	}
}
