package backoff

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

const ms = time.Millisecond

// pauses returns the next n pauses.
func pauses(b *Backoff, n int) []time.Duration {
	var all []time.Duration
	for range n {
		all = append(all, b.Next())
	}
	return all
}

func TestPausesDoubleUpToTheLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		b    Backoff
		want []time.Duration
	}{
		{Backoff{First: 50 * ms, Most: 5000 * ms}, []time.Duration{50 * ms, 100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms}},
		{Backoff{First: 5 * ms, Most: 20 * ms}, []time.Duration{5 * ms, 10 * ms, 20 * ms, 20 * ms}},
		{Backoff{First: 5 * ms, Most: 5 * ms}, []time.Duration{5 * ms, 5 * ms, 5 * ms}},
		{Backoff{First: 3 * ms, Most: 2 * ms}, []time.Duration{3 * ms, 2 * ms, 2 * ms}}, // the first is as asked for
		{Backoff{First: math.MaxInt64/2 + 1, Most: math.MaxInt64}, []time.Duration{math.MaxInt64/2 + 1, math.MaxInt64, math.MaxInt64}},
	} {
		b := c.b
		if got := pauses(&b, len(c.want)); !slices.Equal(got, c.want) {
			t.Errorf("%v to %v: %v, want %v", c.b.First, c.b.Most, got, c.want)
		}
		b.Reset()
		if got := pauses(&b, len(c.want)); !slices.Equal(got, c.want) {
			t.Errorf("%v to %v after a reset: %v, want %v", c.b.First, c.b.Most, got, c.want)
		}
	}
}

func TestWaitLastsAsLongAsThePauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{First: 50 * ms, Most: 150 * ms}
		for _, want := range []time.Duration{50 * ms, 100 * ms, 150 * ms, 150 * ms} {
			began := time.Now()
			if err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("waited for %v, want %v", took, want)
			}
		}
	})
}

func TestWaitEndsWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*ms)
		defer cancel()
		began := time.Now()
		if err := Wait(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, want the error of the context", err)
		}
		if took := time.Since(began); took != 20*ms {
			t.Errorf("waited for %v, want 20ms", took)
		}
	})
}

func TestNoPauseIsNoWait(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	for _, d := range []time.Duration{0, -time.Second} {
		if err := Wait(ctx, d); err != nil {
			t.Error(err)
		}
	}
	cancel()
	if err := Wait(ctx, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the error of the context", err)
	}
}
