package processor

import (
	"context"
	"errors"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

// partsOf is a partition that is not run, to try its parts one by one.
func partsOf(t *testing.T, cfg Config, bucket snapshots) *partition {
	t.Helper()
	cfg.Store = storetest.NewMemory()
	cfg.Now = time.Now
	w, err := newWorker(cfg, newMemLog(1), bucket)
	if err != nil {
		t.Fatal(err)
	}
	p := w.partitions[0]
	p.background = t.Context()
	return p
}

// enterNew puts a pair into memory, as load does with one that the store has not.
func (m *memory) enterNew(holder, token string) *pair {
	h := m.cache.holders[holder]
	if h == nil {
		h = m.cache.addHolder(holder)
	}
	pr := m.cache.addPair(h, m.cache.tokenOf(token))
	pr.state = hold.NewPair(pr.token.rule.Policy)
	return pr
}

// A pair is gathered once for a flush, with its holder, whatever marks it; a reset
// begins with nothing.
func TestChanges(t *testing.T) {
	t.Parallel()
	p := partsOf(t, Config{}, nil)
	a, b := p.mem.enterNew("h", "a"), p.mem.enterNew("h", "b")
	for range 2 {
		p.changes.markDirty(a)
		p.changes.markDirty(b)
	}
	p.changes.addFact(a, projection.LoggedFact{Position: 1})
	if len(p.changes.pairs) != 2 || len(p.changes.holders) != 1 || p.changes.bytes != 2*dirtyPairBytes+dirtyHolderBytes || len(p.changes.facts[a]) != 1 {
		t.Fatalf("%+v", p.changes)
	}
	p.changes.sealed = []projection.PairChange{{Key: projection.PairKey{Holder: "a"}}}
	all := p.changes.takeSealed([]projection.PairChange{{Key: projection.PairKey{Holder: "b"}}})
	if len(all) != 2 || all[0].Key.Holder != "a" || p.changes.sealed != nil {
		t.Fatalf("%+v", all)
	}
	deadLetters := p.changes.deadLetters
	p.changes.reset()
	if len(p.changes.pairs)+len(p.changes.holders)+p.changes.bytes != 0 || p.changes.deadLetters == deadLetters {
		t.Fatalf("%+v", p.changes)
	}
	paged := &changes{paged: true}
	paged.addFact(a, projection.LoggedFact{})
	if paged.facts != nil {
		t.Fatal("a store of pages is given facts")
	}
}

// The flusher has one flush under way, and its end makes the checkpoint public.
func TestFlusher(t *testing.T) {
	t.Parallel()
	p := partsOf(t, Config{}, nil)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.flush.run(t.Context())
	}()
	if p.flush.wants(true) {
		t.Fatal("it flushes nothing")
	}
	pr := p.mem.enterNew("h", "t")
	pr.state.Add(hold.Fact{Kind: hold.KindHold, Start: 1, End: 3})
	p.changes.markDirty(pr)
	p.mem.position, p.log.(*memLog).last = 7, 7
	if p.flush.wants(false) || !p.flush.wants(true) {
		t.Fatal("a change that is not due is flushed when it is urgent")
	}
	if err := p.startFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p.flush.wants(true) || p.flush.unencoded() || !p.flush.busy {
		t.Fatal("one flush at a time")
	}
	if err := p.finishFlush(<-p.flush.done); err != nil {
		t.Fatal(err)
	}
	if s, _ := p.board.snapshot(); s.Checkpoint != 7 || p.flush.stored != 7 || p.flush.busy {
		t.Fatalf("%+v", s)
	}
	close(p.flush.jobs)
	<-ended
}

// The feeder gives nothing while it is to wait, nothing beyond the position at which
// the partition pauses, and the rest after that.
func TestFeeder(t *testing.T) {
	t.Parallel()
	p := partsOf(t, Config{}, nil)
	f := p.feed
	for i := range uint64(5) {
		f.in.put(message{position: i + 1})
	}
	if f.ready(true) != nil {
		t.Fatal("it feeds a partition that is full")
	}
	p.board.pauseAt, p.board.pausedUntil = 3, time.Now().Add(time.Hour)
	<-f.ready(false)
	if got := f.take(); len(got) != 3 || f.nextPosition() != 4 || f.ready(false) != nil || f.atEnd() {
		t.Fatalf("%v", got)
	}
	p.board.pausedUntil = time.Time{}
	<-f.ready(false)
	if got := f.take(); len(got) != 2 || f.nextPosition() != 0 || !f.atEnd() {
		t.Fatalf("%v", got)
	}
}

// A wait that ends says which partition, what was wanted, what was reached and what
// was last heard.
func TestWaitsSayWhatTheyWaitedFor(t *testing.T) {
	t.Parallel()
	p := partsOf(t, Config{}, nil)
	p.board.set(func(s *PartitionStatus) { s.State, s.Position, s.Checkpoint = Running, 6, 5 })
	p.board.lastError("flush", errAway)
	within, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := p.board.waitStored(within, 9)
	var wait *WaitError
	if !errors.As(err, &wait) || wait.Partition != 0 || wait.Wanted != 9 || wait.Reached != 5 ||
		!errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errAway) {
		t.Fatal(err)
	}
	const want = "processor: partition 0: position 9 is not stored, it is at 5: context deadline exceeded; last heard: it is running, applied up to position 6, with 0 messages to come: flush: it is away"
	if err.Error() != want {
		t.Fatalf("%v\nwant %s", err, want)
	}
}

// What the reader waits for is shown as long as nothing else is wrong.
func TestWhatTheReaderWaitsForIsShown(t *testing.T) {
	t.Parallel()
	p := partsOf(t, Config{}, nil)
	p.board.in.awaits(ingest.ErrUnfinishedImport)
	p.note()
	if s, _ := p.board.snapshot(); !errors.Is(s.LastError, ingest.ErrUnfinishedImport) {
		t.Errorf("%v", s.LastError)
	}
	p.board.lastError("flush", errAway)
	if s, _ := p.board.snapshot(); !errors.Is(s.LastError, errAway) {
		t.Errorf("%v", s.LastError)
	}
	p.board.lastError("flush", nil)
	p.board.in.awaits(nil)
	if s, _ := p.board.snapshot(); s.LastError != nil {
		t.Errorf("%v", s.LastError)
	}
}
