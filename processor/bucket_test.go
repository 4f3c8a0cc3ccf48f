package processor

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

// keptBucket is a log of two partitions, and the bucket of a store that is gone.
// The store was of another policy, so none of its figures is right any more.
func keptBucket(t *testing.T, holders int) (*memLog, *memBucket) {
	t.Helper()
	log, bucket := newMemLog(2), newMemBucket()
	for i := range holders {
		for range 2 {
			at := logBegin + int64(len(log.messages[0])+len(log.messages[1]))
			log.add(at, held(fmt.Sprintf("h%d", i), "t", logBegin-3*minute, logBegin-2*minute-at%7*1e9))
		}
	}
	run(t, Config{Store: storetest.NewMemory(), Policy: hold.Sum}, log, bucket).finish(t, log)
	bucket.published = 0
	return log, bucket
}

// The store is made again beside a bucket that was kept: every holder is
// published, though none has new events.
func TestStoreIsMadeAgain(t *testing.T) {
	t.Parallel()
	log, bucket := keptBucket(t, 3000)
	store := storetest.NewMemory()
	r := run(t, Config{Store: store}, log, bucket)
	awaitAudits(t, r, 2)
	r.finish(t, log)
	compareBucket(t, log, store, bucket)
	if bucket.backwards != nil {
		t.Error(bucket.backwards)
	}
	if bucket.published != 3000 || bucket.owed[0] || bucket.owed[1] {
		t.Errorf("%d snapshots published, owed: %v", bucket.published, bucket.owed)
	}
	if bucket.asked != 0 {
		t.Errorf("%d snapshots were compared with what had just been published", bucket.asked)
	}
	// It was done once.
	again := bucket.copy()
	r = run(t, Config{Store: store}, log, again)
	awaitAudits(t, r, 2)
	r.finish(t, log)
	if again.published != 0 {
		t.Errorf("%d snapshots published again", again.published)
	}
	if again.asked != 3000 {
		t.Errorf("the second start compared %d snapshots", again.asked)
	}
}

// awaitAudits waits until the first walk of each of so many partitions is over.
func awaitAudits(t *testing.T, r *running, partitions int) {
	t.Helper()
	testwait.Poll(t, "all snapshots are compared", func() error {
		all := r.Status()
		if len(all) != partitions {
			return fmt.Errorf("%d partitions run", len(all))
		}
		for _, s := range all {
			if !s.Audited {
				return fmt.Errorf("partition %d: applied up to %d, not compared", s.Partition, s.Position)
			}
		}
		return nil
	})
}

// The process dies while the backfill of the bucket is not complete: before the store is as
// far, and after, when the bucket has some of them.
func TestStoreIsMadeAgainInPieces(t *testing.T) {
	t.Parallel()
	log, bucket := keptBucket(t, 3000)
	gone := fmt.Errorf("the process died: %w", projection.ErrClosed)
	memory := storetest.NewMemory()
	const many = 1 << 30
	for _, c := range []struct {
		name               string
		flushes, publishes int64
	}{{"in the replay", 1, many}, {"in the middle", many, 1}} {
		name := c.name
		store := storetest.NewFaulty(memory)
		var flushes, publishes atomic.Int64
		store.SetHook(func(_ context.Context, op storetest.Op, _ int) error {
			if op == storetest.OpFlush && flushes.Add(1) > c.flushes {
				return gone
			}
			return nil
		})
		bucket.hook = func() error {
			if publishes.Add(1) > c.publishes {
				return gone
			}
			return nil
		}
		// One message at a time and little room: a replay takes many flushes.
		log.slow = true
		r := run(t, Config{Store: store, FlushBytes: 32 << 10}, log, bucket)
		if err := <-r.ended; !errors.Is(err, ErrAllFailed) {
			t.Fatalf("%s: %v", name, err)
		}
		bucket.hook = nil
		if !bucket.owed[0] || !bucket.owed[1] {
			t.Errorf("%s: owed %v", name, bucket.owed)
		}
		memory = memory.Reopen()
		log.slow = false
	}
	run(t, Config{Store: memory}, log, bucket).finish(t, log)
	compareBucket(t, log, memory, bucket)
	if bucket.backwards != nil {
		t.Error(bucket.backwards)
	}
}

// New events come while all holders are published again; what they change comes
// after, and the reader waits no longer than that.
func TestEventsDuringABackfill(t *testing.T) {
	t.Parallel()
	log, bucket := keptBucket(t, 50)
	entered, release := make(chan struct{}, 1), make(chan struct{})
	bucket.hook = func() error {
		select {
		case entered <- struct{}{}:
			<-release
		default:
		}
		return nil
	}
	store := storetest.NewMemory()
	r := run(t, Config{Store: store, FlushInterval: time.Nanosecond}, log, bucket)
	<-entered
	var last [2]uint64
	for i := range 50 {
		d := held(fmt.Sprintf("h%d", i), "t", logBegin-2*minute, logBegin-minute)
		last[ingest.Partition(d.Holder, 2)] = log.add(logBegin+minute, d)
	}
	for p, position := range last {
		if err := r.WaitApplied(context.Background(), p, position); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	r.finish(t, log)
	compareBucket(t, log, store, bucket)
	if bucket.backwards != nil {
		t.Error(bucket.backwards)
	}
}

// The process dies in the middle of a publish: the bucket has newer snapshots than
// its position says, and than the store has. None of them steps back.
func TestCrashInAPublish(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{"the position", "the position and one more"} {
		t.Run(lost, func(t *testing.T) {
			t.Parallel()
			log, bucket, store := newMemLog(2), newMemBucket(), storetest.NewMemory()
			send := func(n int) {
				for i := range n {
					at := logBegin + int64(len(log.messages[0])+len(log.messages[1]))
					log.add(at, held(fmt.Sprintf("h%d", i%20), "t", logBegin-3*minute+at%5, logBegin-2*minute+at%7))
				}
			}
			send(40)
			first := bucket.copy() // of which nothing is published
			run(t, Config{Store: store}, log, bucket).finish(t, log)
			if lost == "the position" {
				first = bucket.copy()
			}
			store = store.Reopen()
			send(200)
			newer := bucket.copy()
			run(t, Config{Store: storetest.NewMemory()}, log, newer).finish(t, log)

			newer.positions, newer.owed = first.positions, first.owed
			log.slow = true // what comes in between would be published
			run(t, Config{Store: store, FlushInterval: time.Nanosecond}, log, newer).finish(t, log)
			compareBucket(t, log, store, newer)
			if newer.backwards != nil {
				t.Error(newer.backwards)
			}
		})
	}
}

// A walk passes over a holder that the store has already, and whose snapshot is still on
// its way: nothing is missing, nothing differs, and the bucket is not emptied.
func TestStoredBeforePublished(t *testing.T) {
	t.Parallel()
	log, bucket, store := newMemLog(1), newMemBucket(), storetest.NewMemory()
	log.add(logBegin, held("h0", "t", logBegin-3*minute, logBegin-2*minute))
	core, logged := observer.New(zap.WarnLevel)
	r := run(t, Config{Store: store, auditEvery: time.Millisecond, Logger: zap.New(core)}, log, bucket)
	awaitAudits(t, r, 1)
	entered, release := make(chan struct{}, 1), make(chan struct{})
	bucket.setHook(func() error {
		select {
		case entered <- struct{}{}:
		default:
		}
		<-release
		return nil
	})
	at := log.add(logBegin+minute, held("h1", "t", logBegin-2*minute, logBegin-minute))
	if err := r.WaitApplied(t.Context(), 0, at); err != nil {
		t.Fatal(err)
	}
	<-entered
	before := bucket.askedFor()
	testwait.Poll(t, "two walks have compared both holders", func() error {
		if n := bucket.askedFor() - before; n < 5 { // the walk under way may have begun before
			return fmt.Errorf("%d snapshots were asked for", n)
		}
		return nil
	})
	close(release)
	r.finish(t, log)
	if entries := logged.FilterMessageSnippet("snapshots").All(); len(entries) > 0 || bucket.renewed != 0 {
		t.Errorf("the bucket was to be emptied %d times; logged: %v", bucket.renewed, entries)
	}
	compareBucket(t, log, store, bucket)
}
