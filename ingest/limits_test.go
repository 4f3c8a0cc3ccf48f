package ingest

import (
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
)

func limitsOf(skew, end time.Duration) hold.Limits {
	return hold.Limits{MaxClockSkew: int64(skew), MaxFutureEnd: int64(end)}
}

// Limits hold for the positions that were stored under them, now and in every
// process that opens the log later.
func TestLimitsByPosition(t *testing.T) {
	t.Parallel()
	js := connect(t, natstest.Start(t))
	first := limitsOf(time.Minute, 100*time.Hour)
	l, err := OpenLog(t.Context(), js, LogConfig{Limits: first})
	if err != nil {
		t.Fatal(err)
	}
	store := func(n int) {
		t.Helper()
		for range n {
			if _, err := js.Publish(t.Context(), LogSubject(0), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	set := func(limits hold.Limits) {
		t.Helper()
		if err := l.SetLimits(t.Context(), limits); err != nil {
			t.Fatal(err)
		}
	}
	before := l.events.CachedInfo().Config
	set(first) // changes nothing
	store(3)
	second, third := hold.DefaultLimits(), limitsOf(1, 1500*time.Millisecond+1)
	set(hold.Limits{}) // the default: lower
	set(second)
	store(2)
	set(third)
	set(second) // nothing was stored under the third
	store(1)
	set(third)

	again, err := OpenLog(t.Context(), js, LogConfig{Limits: first})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Log{l, again} {
		for position, want := range map[uint64]hold.Limits{0: first, 1: first, 3: first, 4: second, 5: second, 6: second, 7: third, 1 << 60: third} {
			if got := l.LimitsAt(position); got != want {
				t.Errorf("position %d: %+v, want %+v", position, got, want)
			}
		}
		if n := len(*l.limits.Load()); n != 3 {
			t.Errorf("history of %d entries, want 3", n)
		}
	}

	// All else of the stream is as it was.
	info, err := again.events.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	after := info.Config
	if after.Metadata[metaLimits] == before.Metadata[metaLimits] {
		t.Error("the history is not in the stream")
	}
	after.Metadata[metaLimits] = before.Metadata[metaLimits]
	if !reflect.DeepEqual(before, after) {
		t.Errorf("stream config\n%+v, was\n%+v", after, before)
	}
}

// Limits of an empty log are those that it was made with only by chance.
func TestLimitsOfAnEmptyLog(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	want := limitsOf(time.Hour, time.Hour)
	if err := l.SetLimits(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if got := *l.limits.Load(); len(got) != 1 || l.LimitsAt(0) != want || l.LimitsAt(1) != want {
		t.Errorf("history %+v", got)
	}
}

// A log of an earlier version has no history: it had the default limits.
func TestLimitsOfAnOlderLog(t *testing.T) {
	t.Parallel()
	js := connect(t, natstest.Start(t))
	cfg := eventsConfig(LogConfig{Partitions: 4, Replicas: 1}, "id")
	delete(cfg.Metadata, metaLimits)
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	high := limitsOf(time.Hour, time.Hour)
	l, err := OpenLog(t.Context(), js, LogConfig{Limits: high})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.LimitsAt(9); got != hold.DefaultLimits() {
		t.Errorf("limits %+v", got)
	}
	if _, err := js.Publish(t.Context(), LogSubject(0), []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := l.SetLimits(t.Context(), high); err != nil {
		t.Fatal(err)
	}
	if l.LimitsAt(1) != hold.DefaultLimits() || l.LimitsAt(2) != high {
		t.Errorf("limits %+v, then %+v", l.LimitsAt(1), l.LimitsAt(2))
	}
}

func TestLimitsWhileReading(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					l.LimitsAt(1)
				}
			}
		})
	}
	for i := range 5 {
		if err := l.SetLimits(t.Context(), limitsOf(time.Duration(i+1), 0)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	readers.Wait()
}

func TestDamagedLimits(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no JSON":       "5m",
		"none":          "[]",
		"no beginning":  `[{"from":1,"max_clock_skew":"5m0s","max_future_end":"5m0s"}]`,
		"no duration":   `[{"from":0,"max_clock_skew":"5","max_future_end":"5m0s"}]`,
		"below zero":    `[{"from":0,"max_clock_skew":"5m0s","max_future_end":"-1s"}]`,
		"out of order":  `[{"from":0,"max_clock_skew":"1s","max_future_end":"1s"},{"from":0,"max_clock_skew":"2s","max_future_end":"1s"}]`,
		"another thing": `{"from":0}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := parseLimits(map[string]string{metaLimits: text}); !errors.Is(err, ErrLogSettings) {
				t.Errorf("error %v", err)
			}
		})
	}
}
