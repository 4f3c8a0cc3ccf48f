package processor

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

func TestAllFailedEndsRun(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	store := storetest.NewMemory()
	if err := store.Flush(context.Background(), &projection.Batch{Checkpoint: projection.Checkpoint{LogID: "x"}}); err != nil {
		t.Fatal(err)
	}
	r := run(t, Config{Store: store}, log, nil)
	if err := <-r.ended; !errors.Is(err, ErrAllFailed) || !errors.Is(err, ErrForeignLog) {
		t.Fatal(err)
	}
}

// Each failure is said once: in the log while other partitions go on, or by Run.
func TestFailuresAreSaidOnce(t *testing.T) {
	t.Parallel()
	const partitions = 3
	log := newMemLog(partitions)
	store := storetest.NewMemory()
	for p := range partitions {
		if err := store.Flush(context.Background(), &projection.Batch{Partition: p, Checkpoint: projection.Checkpoint{LogID: "x"}}); err != nil {
			t.Fatal(err)
		}
	}
	core, logs := observer.New(zap.ErrorLevel)
	r := run(t, Config{Store: store, Logger: zap.New(core)}, log, nil)
	err := <-r.ended
	var failed *AllFailedError
	if !errors.As(err, &failed) || len(failed.All) != partitions {
		t.Fatal(err)
	}
	said := err.Error()
	for _, l := range logs.All() {
		said += fmt.Sprint("\n", l.ContextMap()["error"])
	}
	for p := range partitions {
		if n := strings.Count(said, fmt.Sprintf("partition %d:", p)); n != 1 {
			t.Errorf("partition %d is named %d times:\n%s", p, n, said)
		}
		if s := r.Status()[p]; s.State != Failed || s.Err == nil {
			t.Errorf("status %+v", s)
		}
	}
}

// A store that stays away when the worker stops is an error that says so, and
// the next start applies the rest.
func TestStopWithoutTheStore(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	position := log.add(logBegin, held(holderOf(0, 1, 1), "t", logBegin-3*minute, logBegin-2*minute))
	memory := storetest.NewMemory()
	store := storetest.NewFaulty(memory)
	entered, _ := store.Stall(storetest.OpFlush)
	core, logs := observer.New(zap.ErrorLevel)
	r := run(t, Config{Store: store, StopTimeout: time.Millisecond, Logger: zap.New(core)}, log, nil)
	<-entered
	r.stop()
	if err := <-r.ended; !errors.Is(err, ErrNotFlushed) {
		t.Fatal(err)
	}
	if s := r.Status()[0]; s.State != Stopped || !errors.Is(s.Err, ErrNotFlushed) || logs.Len() != 0 {
		t.Errorf("status %+v, logged %v", s, logs.All())
	}
	next := run(t, Config{Store: memory}, log, nil)
	if err := next.WaitApplied(context.Background(), 0, position); err != nil {
		t.Fatal(err)
	}
	next.finish(t, log)
}
