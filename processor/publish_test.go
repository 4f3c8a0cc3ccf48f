package processor

import (
	"context"
	"errors"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

// A partition that stops publishes without taking a turn. Where a page of a large
// pair cannot be read then, it passes none on either: one too many would have no
// room where no other partition publishes, and it would wait for ever.
func TestPublishLastPassesNoTurnOn(t *testing.T) {
	t.Parallel()
	store := storetest.NewFaulty(storetest.NewMemory())
	w, err := newWorker(Config{Store: store}, newMemLog(1), newMemBucket())
	if err != nil {
		t.Fatal(err)
	}
	p := w.partitions[0]
	p.background = context.Background()
	state := hold.NewPair(hold.Merge)
	for i := range int64(5000) {
		state.Add(hold.Fact{Kind: hold.KindHold, Start: logBegin + i*minute, End: logBegin + i*minute + minute/2})
	}
	for range state.DirtyPages() {
	}
	state.ClearDirty()
	h := p.mem.cache.addHolder("whale")
	pr := p.mem.cache.addPair(h, p.mem.cache.tokenOf("t"))
	pr.state = state
	p.mem.cache.count(pr)
	state.Trim(1<<30, true)
	store.FailNext(storetest.OpPage, 1000, hold.ErrCorrupt)
	h.updatedAt = logBegin + 2000*minute + 1
	p.mem.position = 5
	p.pub.queue.change(h, projection.Reached{})

	<-w.turn // another partition has it, so there is room for one too many
	if err := p.pub.rest(context.Background()); err == nil || !errors.Is(err, p.lost) {
		t.Fatalf("it ended with %v, and the partition with %v", err, p.lost)
	}
	if len(w.turn) != publishTurns-1 {
		t.Errorf("%d turns, want %d", len(w.turn), publishTurns-1)
	}
}
