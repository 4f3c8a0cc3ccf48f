package processor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

// whaleLog is a history of one holder with two large pairs, one of them with many
// hold_ids, among some small ones. Events come in order, late and corrected.
func whaleLog(r *rand.Rand, messages int) *memLog {
	log := newMemLog(1)
	now := logBegin
	for i := range messages {
		now += minute
		var frame []hold.Draft
		for range 8 {
			start := now - 5*minute
			if r.IntN(3) == 0 {
				start = logBegin + r.Int64N(now-logBegin+1) - 10*minute
			}
			d := hold.Draft{Token: "t", Holder: "whale", Start: hold.StampOf(start), End: hold.StampOf(start + r.Int64N(2*minute)), Weight: float64(1 + r.IntN(2))}
			switch r.IntN(8) {
			case 0:
				d.Token, d.HoldID = "lots", fmt.Sprintf("lot%d", r.IntN(messages))
				d.Revision = uint64(r.IntN(3))
			case 1:
				d.End = hold.Stamp{}
				frame = append(frame, hold.Draft{Token: "t", Holder: "whale", End: hold.StampOf(start + r.Int64N(2*minute))})
			case 2:
				d.Retract = true
			case 3:
				d.Holder = fmt.Sprintf("minnow%d", r.IntN(50))
			}
			if ingest.Partition(d.Holder, 1) == 0 {
				frame = append(frame, d)
			}
		}
		log.add(now+int64(i), frame...)
	}
	return log
}

// TestLargePairsInASmallCache: a pair of which only a part fits the cache leaves
// the same store as one that is all in memory, whenever it was flushed, and
// whatever died meanwhile.
func TestLargePairsInASmallCache(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 9))
			log := whaleLog(r, 300)
			want := storetest.NewMemory()
			run(t, Config{Store: want, FlushInterval: time.Hour}, log, nil).finish(t, log)

			store := storetest.NewMemory()
			for range r.IntN(4) {
				w := run(t, Config{
					Store: newCrashing(store, true, 100+r.IntN(1000), r), FlushInterval: time.Duration(1 + r.IntN(1_000_000)),
					CacheBytes: 20_000 + r.IntN(40_000), FlushBytes: 1 + r.IntN(80_000), GCInterval: time.Millisecond,
				}, log, nil)
				if err := waitAll(w, log); err != nil && !errors.Is(err, projection.ErrClosed) {
					t.Fatal(err)
				}
				w.stop()
				if err := <-w.ended; err != nil && !errors.Is(err, projection.ErrClosed) {
					t.Fatal(err)
				}
				store = store.Reopen()
			}
			faulty := storetest.NewFaulty(store)
			run(t, Config{Store: faulty, FlushInterval: time.Millisecond, CacheBytes: 40_000, GCInterval: time.Millisecond}, log, nil).finish(t, log)
			compareStores(t, log, want, store, true)
			compareWithFacts(t, log, store)
		})
	}
}

// TestLargePairStaysInBounds: the cache holds as much of a large pair as it has
// room for, and reads single pages of it.
func TestLargePairStaysInBounds(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	at := func(i int) (start, end hold.Stamp) {
		return hold.StampOf(logBegin - int64(i)*minute), hold.StampOf(logBegin - int64(i)*minute + minute/2)
	}
	const holds = 20_000
	for i := 0; i < holds; i += 100 {
		var frame []hold.Draft
		for j := range 100 {
			d := hold.Draft{Token: "t", Holder: "whale", Weight: 1}
			d.Start, d.End = at(holds - i - j)
			frame = append(frame, d)
		}
		log.add(logBegin, frame...)
	}
	store := storetest.NewFaulty(storetest.NewMemory())
	run(t, Config{Store: store, FlushInterval: time.Hour}, log, nil).finish(t, log)

	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		var frame []hold.Draft
		for range 20 {
			d := hold.Draft{Token: "t", Holder: "whale", Weight: 2}
			d.Start, d.End = at(1 + r.IntN(holds))
			frame = append(frame, d)
		}
		log.add(logBegin+minute, frame...)
	}
	const bound = 200_000
	w := run(t, Config{Store: store, FlushInterval: time.Millisecond, CacheBytes: bound, GCInterval: time.Millisecond}, log, nil)
	w.finish(t, log)
	reads := store.Calls(storetest.OpPage)
	if reads < 200 || reads > 50*20*8 {
		t.Errorf("%d pages were read for 1000 events", reads)
	}
	if got := w.partitions[0].mem.cache.bytes; got > 2*bound {
		t.Errorf("%d bytes are in the cache, want about %d", got, bound)
	}
}

// TestDamagedPageEndsThePartition: it stops and says which pair it is, and stores
// nothing more.
func TestDamagedPageEndsThePartition(t *testing.T) {
	t.Parallel()
	log := whaleLog(rand.New(rand.NewPCG(3, 9)), 100)
	memory := storetest.NewMemory()
	run(t, Config{Store: memory, FlushInterval: time.Hour}, log, nil).finish(t, log)
	before := stateOf(t, memory, 0)

	store := storetest.NewFaulty(memory)
	store.FailNext(storetest.OpPage, 1_000_000, fmt.Errorf("%w: a page", hold.ErrCorrupt))
	log.add(logBegin+200*minute, hold.Draft{Token: "t", Holder: "whale", Start: hold.StampOf(logBegin + 3*minute), End: hold.StampOf(logBegin + 4*minute + 7)})
	w := run(t, Config{Store: store, FlushInterval: time.Millisecond}, log, nil)
	err := waitAll(w, log)
	w.stop()
	if ended := <-w.ended; !errors.Is(ended, projection.ErrCorrupt) || !errors.Is(err, projection.ErrCorrupt) {
		t.Errorf("the worker ended with %v, who waited got %v", ended, err)
	}
	after := stateOf(t, memory, 0)
	if len(after.pairs) != len(before.pairs) || after.holders["whale"] != before.holders["whale"] {
		t.Error("something was stored of a pair that was lost")
	}
}
