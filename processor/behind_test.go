package processor

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"holdmetrics/projection/storetest"
)

// A partition that is far behind waits with flushes and publishes, but not for ever.
func TestFarBehindIsInNoHurry(t *testing.T) {
	t.Parallel()
	changed := &pair{}
	for _, c := range []struct {
		name           string
		set            func(p *partition)
		flush, publish bool
	}{
		{"at the end of the log", func(p *partition) { p.mem.pending, p.flush.due = 0, true }, true, true},
		{"not yet due", func(p *partition) {}, false, true},
		{"far behind", func(p *partition) { p.mem.pending, p.flush.due = 100, true }, false, false},
		{"for the first time", func(p *partition) { p.mem.pending, p.flush.due, p.flush.waits = 100, true, 1 }, true, false},
		{"for the second time", func(p *partition) { p.mem.pending, p.flush.due, p.flush.waits, p.flush.number = 100, true, 1, 1 }, false, false},
		{"for the second time, and twice as long", func(p *partition) { p.mem.pending, p.flush.due, p.flush.waits, p.flush.number = 100, true, 2, 1 }, true, false},
		{"for the tenth time", func(p *partition) {
			p.mem.pending, p.flush.due, p.flush.waits, p.flush.number = 100, true, flushBehind-1, 9
		}, false, false},
		{"for long", func(p *partition) {
			p.mem.pending, p.flush.due, p.flush.waits, p.flush.number = 100, true, flushBehind, 1000
		}, true, false},
		{"after a flush", func(p *partition) { p.mem.pending, p.flush.encoded = 100, 6 }, false, true},
		{"asked for", func(p *partition) { p.mem.pending = 100; p.board.wanted.Store(6) }, true, false},
		{"with enough to flush", func(p *partition) { p.mem.pending, p.changes.bytes = 100, p.flushBytes }, true, false},
		{"with a cache that is full", func(p *partition) { p.mem.pending, p.mem.cache.stuck, p.changes.pairs = 100, true, []*pair{changed} }, true, false},
		{"with enough to publish", func(p *partition) { p.mem.pending, p.pub.queue.waiting = 100, publishMost }, false, true},
	} {
		w, err := newWorker(Config{Store: storetest.NewMemory()}, newMemLog(1), newMemBucket())
		if err != nil {
			t.Fatal(err)
		}
		p := w.partitions[0]
		p.mem.position, p.flush.encoded, p.pub.published = 7, 5, 5
		c.set(p)
		if got := p.wantsFlush(); got != c.flush {
			t.Errorf("%s: wants to flush: %v", c.name, got)
		}
		if got := p.pub.next() != nil; got != c.publish {
			t.Errorf("%s: wants to publish: %v", c.name, got)
		}
	}
}

// A store that had nothing of a partition is asked for nothing until something left the cache.
func TestAnEmptyStoreIsAskedForNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cacheBytes int
		loads      bool
	}{{1 << 30, false}, {1 << 10, true}} {
		log, at := newMemLog(1), logBegin
		add := func(n int) {
			for i := range n {
				at += minute
				log.add(at, held(fmt.Sprintf("h%d", i%40), fmt.Sprintf("t%d", i%3), at-2*minute, at-minute))
			}
		}
		var loads atomic.Int64
		memory := storetest.NewMemory()
		store := storetest.NewFaulty(memory)
		store.SetHook(func(_ context.Context, op storetest.Op, _ int) error {
			if op == storetest.OpLoad || op == storetest.OpLoadHolders {
				loads.Add(1)
			}
			return nil
		})
		r := run(t, Config{Store: asAtomic{store, true}, CacheBytes: c.cacheBytes}, log, nil)
		add(200)
		if err := waitAll(r, log); err != nil { // so what is over the bound can leave
			t.Fatal(err)
		}
		add(200)
		r.finish(t, log)
		if got := loads.Load() > 0; got != c.loads {
			t.Errorf("a cache of %d bytes: loads %v", c.cacheBytes, got)
		}
		want := storetest.NewMemory()
		run(t, Config{Store: want}, log, nil).finish(t, log)
		compareStores(t, log, want, memory, true)
	}
}
