package processor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection/storetest"
)

// A worker with an Until ends where another one is that never saw the rest, whether
// or not it was stopped on the way.
func TestUntil(t *testing.T) {
	t.Parallel()
	whole, part := newMemLog(2), newMemLog(2)
	var until uint64
	for i := range int64(60) {
		holder := holderOf(int(i%2), 2, int(i%7))
		d := held(holder, fmt.Sprintf("t%d", i%3), logBegin-minute-i*1e9, logBegin-i*1e9)
		at := whole.add(logBegin+i, d)
		if i < 41 {
			until = at
			part.add(logBegin+i, d)
		}
	}
	want := storetest.NewMemory()
	run(t, Config{Store: asAtomic{want, true}}, part, nil).finish(t, part)
	store := asAtomic{storetest.NewMemory(), true}
	bucket := newMemBucket()
	for range 2 { // the second one has nothing to do but to see that
		r := run(t, Config{Store: store, Until: until}, whole, bucket)
		for p := range 2 {
			end, _ := part.End(t.Context(), p)
			if err := r.WaitApplied(t.Context(), p, end); err != nil {
				t.Fatal(err)
			}
			for {
				s, moved := r.byID[p].board.snapshot()
				if s.Done && s.State == Running && s.Audited {
					if s.Position != end || s.Checkpoint != end {
						t.Errorf("partition %d is done at %d, stored %d, want %d", p, s.Position, s.Checkpoint, end)
					}
					break
				}
				<-moved
			}
			if err := r.WaitApplied(t.Context(), p, whole.last); !errors.Is(err, ErrUntil) {
				t.Errorf("a position beyond: %v", err)
			}
		}
		if err := r.Ready(t.Context(), 0); err != nil {
			t.Error(err)
		}
		r.stop()
		if err := <-r.ended; err != nil {
			t.Fatal(err)
		}
	}
	compareStores(t, part, want, store, true)
	compareBucket(t, part, want, bucket)
}

// A partition that stands takes nothing until it may go on, and is stored where it stands.
func TestStand(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	add := func(n int) (last uint64) {
		for i := range n {
			last = log.add(logBegin, held(fmt.Sprintf("h%d", i%5), "t", logBegin-minute, logBegin-int64(i)))
		}
		return last
	}
	store := storetest.NewMemory()
	add(20)
	r := run(t, Config{Store: store, FlushInterval: time.Hour}, log, nil)
	if err := r.WaitApplied(t.Context(), 0, 20); err != nil {
		t.Fatal(err)
	}
	at, err := r.Pause(t.Context(), 0, 7) // it is further already
	if err != nil {
		t.Fatal(err)
	}
	if c, _, _ := store.Checkpoint(t.Context(), 0); at != 20 || c.Position != at {
		t.Fatalf("stands at %d, checkpoint %d", at, c.Position)
	}
	last := add(20)
	within, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.WaitApplied(within, 0, last); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("it went on: %v", err)
	}
	if err := r.Ready(t.Context(), 0); err != nil {
		t.Error(err)
	}
	// From one place to another, message by message.
	for next := uint64(21); next < 35; next++ {
		at, err := r.Pause(t.Context(), 0, next)
		if c, _, _ := store.Checkpoint(t.Context(), 0); err != nil || at != next || c.Position != next {
			t.Fatalf("stands at %d, checkpoint %d, want %d, %v", at, c.Position, next, err)
		}
	}
	r.Resume(0)
	if err := r.WaitApplied(t.Context(), 0, last); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Pause(t.Context(), 1, 0); !errors.Is(err, ErrStopped) {
		t.Errorf("a partition of nobody: %v", err)
	}
	r.finish(t, log)
}

func TestPace(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	p := newPace(1000, 4)
	p.share(2) // so 500 a second
	if wait := p.after(100, now); wait != 0 {
		t.Errorf("the first tenth of a second waits %v", wait)
	}
	if wait := p.after(1000, now); wait.Round(time.Millisecond) != 2*time.Second {
		t.Errorf("1000 events more wait %v", wait)
	}
	if wait := p.after(50, now.Add(time.Second)); wait.Round(time.Millisecond) != 1100*time.Millisecond {
		t.Errorf("50 events a second later wait %v", wait)
	}
	if newPace(0, 4) != nil {
		t.Error("no bound is a bound")
	}
}

// A message of many events exceeds the rate limit, which delays the next one,
// whichever partition has it.
func TestRateLimitExceeded(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	p := newPace(1, 4)
	p.share(4)
	near := func(wait, want time.Duration) bool { return wait.Round(time.Millisecond) == want }
	if wait, ok := p.take(41, now); !ok || !near(wait, 40*time.Second) {
		t.Errorf("the first message: %v, wait %v", ok, wait)
	}
	if wait, ok := p.take(1, now.Add(10*time.Second)); ok || !near(wait, 30*time.Second) {
		t.Errorf("the next one: %v, wait %v", ok, wait)
	}
	if wait, ok := p.take(1, now.Add(40*time.Second+time.Microsecond)); !ok || !near(wait, time.Second) {
		t.Errorf("the next one later: %v, wait %v", ok, wait)
	}

	log := newMemLog(4)
	for partition := range 4 {
		var frame ingest.FrameWriter
		for range 100 {
			frame.Append([]byte{0xff})
		}
		log.append(partition, logBegin, false, frame.Bytes())
	}
	r := run(t, Config{Store: storetest.NewMemory(), MaxRate: 1, Goal: 4}, log, nil)
	testwait.Poll(t, "all partitions rest", func() error {
		for _, s := range r.Status() {
			if !s.Resting {
				return fmt.Errorf("partition %d does not", s.Partition)
			}
		}
		return nil
	})
	rejected := uint64(0)
	for _, s := range r.Status() {
		rejected += s.Rejected
	}
	if rejected != 100 {
		t.Errorf("%d events were applied at once, of which one message has 100", rejected)
	}
	r.stop()
	<-r.ended
}

// The pace holds up to the goal, and what is behind it is applied at once.
func TestPaceHoldsUpToTheGoal(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	log.slow = true
	for i := range int64(50) {
		log.add(logBegin, held("h", "t", logBegin-minute, logBegin-i))
	}
	end, _ := log.End(t.Context(), 0)
	store := storetest.NewMemory()
	began := time.Now()
	r := run(t, Config{Store: store, MaxRate: 100, Goal: end - 10}, log, nil)
	r.finish(t, log)
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("40 events at 100 a second, after a burst of 10, took %v", took)
	}
}

// Dead letters are written up to a position that may change.
func TestSetDeadLetters(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	for range 5 {
		log.append(0, logBegin, false, []byte{0xff})
	}
	r := run(t, Config{Store: storetest.NewMemory(), DiscardDeadLetters: true}, log, nil)
	if err := r.WaitApplied(t.Context(), 0, 5); err != nil {
		t.Fatal(err)
	}
	r.SetDeadLetters(7)
	for range 5 {
		log.append(0, logBegin, false, []byte{0xff})
	}
	if err := r.WaitApplied(t.Context(), 0, 10); err != nil {
		t.Fatal(err)
	}
	r.SetDeadLetters(math.MaxUint64)
	log.append(0, logBegin, false, []byte{0xff})
	r.finish(t, log)
	for i, want := range []bool{false, false, false, false, false, true, true, false, false, false, true} {
		if _, ok := log.deadLetters[fmt.Sprintf("hold.dlq.0.%d.0", i+1)]; ok != want {
			t.Errorf("position %d has a dead letter: %v", i+1, ok)
		}
	}
	if s := r.Status()[0]; s.Rejected != 11 {
		t.Errorf("%d rejected", s.Rejected)
	}
}

// Workers that share the bounds of memory have a part each.
func TestBeside(t *testing.T) {
	t.Parallel()
	w, err := newWorker(Config{Store: storetest.NewMemory(), CacheBytes: 1200, FlushBytes: 600}, newMemLog(2), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := w.byID[0]
	for beside, want := range map[int]int{1: 600, 3: 200, 0: 600} {
		w.SetBeside(beside)
		if p.share(); p.cacheBytes != want || p.flushBytes != want/2 {
			t.Errorf("one of %d: %d and %d", beside, p.cacheBytes, p.flushBytes)
		}
	}
}
