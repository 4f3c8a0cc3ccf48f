package storetest_test

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func TestMemory(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) storetest.Harness {
		var last *storetest.Memory
		return storetest.Harness{Open: func(*testing.T) projection.Store {
			if last == nil {
				last = storetest.NewMemory()
			} else {
				last = last.Reopen()
			}
			return last
		}}
	})
}

func TestFaultyPasses(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(*testing.T) storetest.Harness {
		m := storetest.NewMemory()
		return storetest.Harness{Open: func(*testing.T) projection.Store {
			m = m.Reopen()
			return storetest.NewFaulty(m)
		}}
	})
}

func TestFaultyFails(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	f := storetest.NewFaulty(storetest.NewMemory())
	defer f.Close()
	broken := errors.New("broken")
	b := &projection.Batch{Checkpoint: projection.Checkpoint{Position: 1}}

	f.FailNext(storetest.OpFlush, 2, broken)
	for i, want := range []error{broken, broken, nil} {
		if err := f.Flush(ctx, b); !errors.Is(err, want) {
			t.Errorf("flush %d: %v, want %v", i, err, want)
		}
		if _, flushed, _ := f.Checkpoint(ctx, 0); flushed != (want == nil) {
			t.Errorf("after flush %d: flushed is %v", i, flushed)
		}
	}
	b.Checkpoint.Position = 2
	f.FailNext(storetest.OpAfterFlush, 1, broken)
	if err := f.Flush(ctx, b); !errors.Is(err, broken) {
		t.Errorf("flush whose answer is lost: %v", err)
	}
	if c, _, _ := f.Checkpoint(ctx, 0); c.Position != 2 {
		t.Errorf("flush whose answer is lost was not written: %+v", c)
	}
	if n := f.Calls(storetest.OpFlush); n != 4 {
		t.Errorf("%d flushes counted, want 4", n)
	}
}

func TestFaultyStalls(t *testing.T) {
	t.Parallel()
	f := storetest.NewFaulty(storetest.NewMemory())
	defer f.Close()
	entered, release := f.Stall(storetest.OpPing)
	done := make(chan error, 1)
	go func() { done <- f.Ping(context.Background()) }()
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Ping(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stalled call whose context ended: %v", err)
	}
	release()
	if err := <-done; err != nil {
		t.Errorf("call after release: %v", err)
	}
}
