package mongo

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestInflight(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r := inflight{limit: 4}
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	takeAll := func(n int) {
		t.Helper()
		for range n {
			if err := r.take(ctx); err != nil {
				t.Fatal(err)
			}
		}
	}
	takeAll(4)
	short, cancel := context.WithCancel(ctx)
	got := make(chan error)
	go func() { got <- r.take(short) }()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("a fifth place: %v", err)
	}

	// Four writes that began together and came too late halve it once; what was
	// refused for another reason does not.
	for range 4 {
		r.answered(at(1), at(31), context.DeadlineExceeded)
	}
	r.answered(at(32), at(33), errors.New("refused"))
	if r.limit != 2 {
		t.Errorf("a limit of %v, want 2", r.limit)
	}
	go func() { got <- r.take(ctx) }()
	for range 3 {
		select {
		case <-got:
			t.Error("a place beyond the limit")
		default:
		}
		r.leave()
	}
	if err := <-got; err != nil { // the third one that left made a place
		t.Error(err)
	}
	for range 10 {
		r.answered(at(100), at(130), context.DeadlineExceeded)
		r.answered(at(200), at(230), context.DeadlineExceeded)
		r.slowed = time.Time{}
	}
	if r.limit != 1 {
		t.Errorf("a limit of %v, want 1", r.limit)
	}
	for range 100000 {
		r.answered(at(300), at(301), nil)
	}
	if r.limit != inflightMost {
		t.Errorf("a limit of %v, want %v", r.limit, inflightMost)
	}
	takeAll(inflightMost - 2)
	if r.taken != inflightMost {
		t.Errorf("%d are taken", r.taken)
	}
}
