package processor

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

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
		{"nearly at the end", func(p *partition) { p.mem.pending, p.flush.due, p.flush.behind = 1, true, true }, false, true},
		{"at the end after that", func(p *partition) { p.mem.pending, p.flush.due, p.flush.behind = 0, true, true }, true, true},
		{"nearly at the end for an interval", func(p *partition) { p.mem.pending, p.flush.behind = 1, true; p.flush.expired() }, true, true},
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

// Flushes that take long are rarer, up to a bound, and come in time where a line waits.
func TestFlushesThatTakeLongAreRarer(t *testing.T) {
	t.Parallel()
	w, err := newWorker(Config{Store: storetest.NewMemory(), FlushInterval: time.Hour}, newMemLog(1), newMemBucket())
	if err != nil {
		t.Fatal(err)
	}
	f := w.partitions[0].flush
	for took, want := range map[time.Duration]time.Duration{0: time.Hour, time.Minute: time.Hour, 12 * time.Minute: 2 * time.Hour, time.Hour: 8 * time.Hour} {
		if f.took = took; f.interval() != want {
			t.Errorf("after a flush of %v the next one waits %v, want %v", took, f.interval(), want)
		}
	}
	f.cfg.FlushInterval, f.took = time.Millisecond, time.Hour
	f.changed()
	if !f.armed || !f.stretched {
		t.Fatal("no flush is on its way, or too soon")
	}
	f.cfg.FlushInterval = 0
	f.hasten()
	<-f.timer.C
	if f.stretched {
		t.Error("a flush that a line waits for is as late as others")
	}
	f.armed, f.cfg.FlushInterval, f.took = false, time.Hour, 0
	f.changed()
	if f.stretched {
		t.Error("a short flush makes the next one wait")
	}
	f.hasten() // does nothing
	f.timer.Stop()
}

// What a partition far behind the log has gathered takes long to flush, but the next
// flush has only what comes then.
func TestAFlushOfAReplayMakesNoneWait(t *testing.T) {
	t.Parallel()
	w, err := newWorker(Config{Store: storetest.NewMemory(), FlushInterval: time.Hour}, newMemLog(1), newMemBucket())
	if err != nil {
		t.Fatal(err)
	}
	f := w.partitions[0].flush
	defer f.timer.Stop()
	for i, c := range []struct {
		pending uint64
		want    time.Duration
	}{{behindMessages, 0}, {0, time.Minute}} {
		f.mem.position, f.mem.pending = uint64(i+1), c.pending
		f.changed()
		f.mem.pending = 0
		if err := f.start(); err != nil {
			t.Fatal(err)
		}
		job := <-f.jobs
		if err := f.finish(flushDone{job, time.Minute, nil}); err != nil {
			t.Fatal(err)
		}
		if f.took != c.want {
			t.Errorf("%d messages behind: the next flush counts %v of the last, want %v", c.pending, f.took, c.want)
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
