package processor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/projection/storetest"
)

// A log that is created again, or loses its tail, while a partition reads it stops the
// partition, also one that has nothing to do, and nothing more is stored.
func TestLogChangesUnderneath(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		now  func() (string, uint64, error)
		want error
	}{
		"created again": {func() (string, uint64, error) { return "another", 99, nil }, ErrForeignLog},
		"deleted":       {func() (string, uint64, error) { return "", 0, nil }, ErrForeignLog},
		"shorter":       {func() (string, uint64, error) { return "log-1", 0, nil }, ErrLogShorter},
	} {
		for _, busy := range []bool{false, true} {
			log := newMemLog(1)
			log.add(logBegin, held(holderOf(0, 1, 1), "t", logBegin-3*minute, logBegin-2*minute))
			store := storetest.NewMemory()
			every := time.Hour // busy: the flush notices
			if !busy {
				every = time.Millisecond
			}
			r := run(t, Config{Store: store, lookEvery: every, sureAfter: 2 * time.Millisecond, FlushInterval: time.Millisecond}, log, nil)
			if err := r.WaitApplied(t.Context(), 0, 1); err != nil {
				t.Fatal(err)
			}
			before, _, _ := store.Checkpoint(t.Context(), 0)
			log.mu.Lock()
			log.now = c.now
			log.mu.Unlock()
			if busy {
				log.add(logBegin, held(holderOf(0, 1, 2), "t", logBegin-3*minute, logBegin-2*minute))
			}
			if err := <-r.ended; !errors.Is(err, c.want) || !strings.Contains(err.Error(), "hint") {
				t.Errorf("%s, busy %t: %v", name, busy, err)
			}
			if after, _, _ := store.Checkpoint(t.Context(), 0); after != before {
				t.Errorf("%s, busy %t: the checkpoint went on from %+v to %+v", name, busy, before, after)
			}
		}
	}
}

// A log that does not answer says nothing about itself.
func TestLogThatIsAwayStopsNobody(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	log.now = func() (string, uint64, error) { return "", 0, errors.New("away") }
	log.add(logBegin, held(holderOf(0, 1, 1), "t", logBegin-3*minute, logBegin-2*minute))
	run(t, Config{Store: storetest.NewMemory(), lookEvery: time.Microsecond}, log, nil).finish(t, log)
}

func TestLogCreatedAgainOnJetStream(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	js := startServer(t)
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Config{Log: log, Store: storetest.NewMemory(), lookEvery: 10 * time.Millisecond, sureAfter: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() { ended <- w.Run(running) }()
	if err := js.DeleteStream(ctx, ingest.StreamName); err != nil {
		t.Fatal(err)
	}
	if _, err := ingest.OpenLog(ctx, js, ingest.LogConfig{Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrForeignLog) {
		t.Error(err)
	}
}
