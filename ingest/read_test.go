package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"holdmetrics/internal/natstest"

	"github.com/nats-io/nats.go/jetstream"
)

func positions(t *testing.T, l *Log, r Range) []uint64 {
	t.Helper()
	var got []uint64
	for m, err := range l.Read(t.Context(), r) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprint(m.Position); string(m.Data) != want {
			t.Errorf("position %d has %q", m.Position, m.Data)
		}
		got = append(got, m.Position)
	}
	return got
}

func TestReadRanges(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	if got := positions(t, l, Range{}); got != nil {
		t.Errorf("an empty log gave %v", got)
	}
	for i, p := range []int{3, 3, 0, 15, 3, 0} {
		if _, err := l.js.Publish(t.Context(), LogSubject(p), []byte(fmt.Sprint(i+1))); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		r    Range
		want []uint64
	}{
		{Range{}, []uint64{1, 2, 3, 4, 5, 6}},
		{Range{From: 3}, []uint64{3, 4, 5, 6}},
		{Range{From: 2, To: 4}, []uint64{2, 3, 4}},
		{Range{To: 99}, []uint64{1, 2, 3, 4, 5, 6}},
		{Range{Partitions: []int{3}}, []uint64{1, 2, 5}},
		{Range{Partitions: []int{3}, To: 4}, []uint64{1, 2}},
		{Range{Partitions: []int{3}, From: 3, To: 4}, nil},
		{Range{Partitions: []int{3, 0}, From: 2, To: 5}, []uint64{2, 3, 5}},
		{Range{Partitions: []int{7}}, nil},
		{Range{From: 7}, nil},
	} {
		if got := positions(t, l, c.r); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.r, got, c.want)
		}
	}
	for range l.Read(t.Context(), Range{}) {
		break // leaves nothing running, as the end of the tests finds out
	}
}

func TestReadFollows(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	publish := func(n int) {
		if _, err := l.js.Publish(t.Context(), LogSubject(1), []byte(fmt.Sprint(n))); err != nil {
			t.Error(err)
		}
	}
	publish(1)
	n := 0
	for m, err := range l.Read(ctx, Range{Follow: true}) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			break
		}
		if n++; m.Position != uint64(n) {
			t.Errorf("position %d, want %d", m.Position, n)
		}
		if n == 3 {
			cancel()
			continue
		}
		publish(n + 1)
	}
	if n != 3 {
		t.Errorf("%d messages", n)
	}
}

func TestFindLog(t *testing.T) {
	t.Parallel()
	js := connect(t, natstest.Start(t))
	if _, err := FindLog(t.Context(), js); !errors.Is(err, ErrNoLog) {
		t.Errorf("no log: %v", err)
	}
	made, err := OpenLog(t.Context(), js, LogConfig{Partitions: 5})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := FindLog(t.Context(), js); err != nil || found.ID() != made.ID() || found.Partitions() != 5 {
		t.Errorf("found %+v, %v", found, err)
	}
}

func TestPositionAt(t *testing.T) {
	t.Parallel()
	l := openLog(t)
	if got, err := l.PositionAt(t.Context(), 0); err != nil || got != 1 {
		t.Errorf("an empty log: %d, %v", got, err)
	}
	var times []int64
	for i := range 9 {
		if _, err := l.js.Publish(t.Context(), LogSubject(i), []byte("x")); err != nil {
			t.Fatal(err)
		}
		m, err := l.Message(t.Context(), uint64(i+1))
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, m.Time)
	}
	for _, at := range append([]int64{0, times[0] - 1, times[8] + 1, time.Now().Add(time.Hour).UnixNano(), times[4] + 1}, times...) {
		want := uint64(1 + len(slices.Collect(func(yield func(int64) bool) {
			for _, t := range times {
				if t < at && !yield(t) {
					return
				}
			}
		})))
		if got, err := l.PositionAt(t.Context(), at); err != nil || got != want {
			t.Errorf("at %d: %d, %v, want %d", at, got, err, want)
		}
	}
	if _, err := l.Message(t.Context(), 99); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Errorf("position 99: %v", err)
	}
}
