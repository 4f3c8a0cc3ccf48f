package processor

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

func clockAt(ns int64) *testClock {
	c := new(testClock)
	c.advance(time.Duration(ns - logBegin))
	return c
}

// set sets the clock and has the partitions look at it.
func (c *testClock) set(r *running, ns int64) {
	c.advance(time.Duration(ns - c.now().UnixNano()))
	for _, p := range r.running() {
		p.board.rouse()
	}
}

// await waits until the bucket is as wanted, which it looks at after each publish.
func (b *memBucket) await(t testing.TB, what string, wanted func() error) {
	t.Helper()
	over := time.After(time.Minute)
	for {
		b.mu.Lock()
		changed := b.changed
		b.mu.Unlock()
		err := wanted()
		if err == nil {
			return
		}
		select {
		case <-changed:
		case <-over:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// factsOf are the accepted facts of a log, by pair.
func factsOf(t testing.TB, log *memLog, rules hold.Rules) map[projection.PairKey][]hold.Fact {
	t.Helper()
	facts := map[projection.PairKey][]hold.Fact{}
	log.mu.Lock()
	defer log.mu.Unlock()
	for _, m := range log.messages[everyPartition] {
		for _, event := range eventsOf(m.data) {
			var d hold.Draft
			if err := ingest.DecodeEvent(event, &d); err != nil {
				t.Fatal(err)
			}
			e, err := checkBy(&d, rules, m.at+minute, hold.DefaultLimits())
			if err == nil && ingest.Partition(d.Holder, log.partitions) == m.partition && !rules.Excluded(e.Holder) {
				key := projection.PairKey{Holder: e.Holder, Token: e.Token}
				facts[key] = append(facts[key], e.Fact())
			}
		}
	}
	return facts
}

// linesAt reports whether every snapshot has the piece of its line that holds at
// now, by the facts alone.
func linesAt(bucket *memBucket, facts map[projection.PairKey][]hold.Fact, rules hold.Rules, now int64) error {
	want := map[string]hold.Figures{}
	for key, some := range facts {
		s := bucket.get(key.Holder)
		if s == nil {
			return fmt.Errorf("holder %s has no snapshot", key.Holder)
		}
		rule := rules.Of(key.Token)
		f := rule.Figures(hold.PairFromFacts(rule.Policy, slices.Values(some)), s.Since.AsTime().UnixNano())
		if sum, ok := want[key.Holder]; ok {
			f = f.Plus(sum)
		}
		want[key.Holder] = f
	}
	for name, f := range want {
		s := bucket.get(name)
		r := projection.HolderRecord{Holder: name, Figures: f, UpdatedAt: s.UpdatedAt.AsTime().UnixNano(), Position: s.Position}
		value, err := projection.EncodeSnapshot(&r, rules.Version(), "1")
		if err != nil {
			return err
		}
		wanted := new(holdpb.HoldStat)
		if err := proto.Unmarshal(value, wanted); err != nil {
			return err
		}
		if !proto.Equal(s, wanted) {
			return fmt.Errorf("holder %s: %v, want %v", name, s, wanted)
		}
		if f.Line.Until != 0 && f.Line.Until <= now {
			return fmt.Errorf("holder %s: the line ended at %d, it is %d", name, f.Line.Until, now)
		}
	}
	return nil
}

// Whatever the rules, the holds, the bounds and the restarts, every snapshot gets the
// piece of its line that holds now, at the same position; and what is in the bucket
// depends on the time alone, not on how it came there.
func TestLinesAreRefreshed(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 22))
			rules := hold.PlainRules(hold.Merge)
			if seed%4 > 0 {
				rules = randomRules(r, false)
			}
			log := randomLogOf(r, 60, false)
			end := log.messages[everyPartition][len(log.messages[everyPartition])-1].at
			facts := factsOf(t, log, rules)
			clock := clockAt(end - r.Int64N(10*minute))
			store, bucket := storetest.NewMemory(), newMemBucket()
			start := func(store *storetest.Memory, bucket *memBucket, clock *testClock) *running {
				return run(t, Config{
					Store: asAtomic{store, seed%2 == 0}, Rules: rules, FlushInterval: time.Millisecond, CacheBytes: 1 + r.IntN(20_000),
					turn: 1 + r.IntN(6), refreshMost: 2 + r.IntN(12), refreshWalk: 1 + r.IntN(5), Now: clock.now,
				}, log, bucket)
			}
			settled := func(w *running, bucket *memBucket, clock *testClock, what string) {
				t.Helper()
				for p := range log.partitions {
					if err := w.WaitApplied(t.Context(), p, log.last); err != nil {
						t.Fatal(err)
					}
				}
				now := clock.now().UnixNano()
				bucket.await(t, what, func() error { return linesAt(bucket, facts, rules, now) })
			}
			w := start(store, bucket, clock)
			for step := range 8 {
				settled(w, bucket, clock, fmt.Sprintf("step %d", step))
				if r.IntN(3) == 0 {
					w.stop()
					if err := <-w.ended; err != nil {
						t.Fatal(err)
					}
					store = store.Reopen()
					if r.IntN(2) == 0 {
						clock.advance(time.Duration(r.Int64N(20 * minute))) // while nobody is there
					}
					w = start(store, bucket, clock)
				}
				if r.IntN(2) == 0 {
					end += r.Int64N(2 * minute)
					d := randomDraft(r, end)
					log.add(end, d)
					facts = factsOf(t, log, rules)
				}
				clock.set(w, max(clock.now().UnixNano()+r.Int64N(6*minute), end))
			}
			settled(w, bucket, clock, "at the end")
			w.stop()
			if err := <-w.ended; err != nil {
				t.Fatal(err)
			}
			if bucket.backwards != nil {
				t.Fatal(bucket.backwards)
			}

			// From the log alone, without what came between: the same snapshots.
			fresh := newMemBucket()
			w = start(storetest.NewMemory(), fresh, clock)
			settled(w, fresh, clock, "from the log alone")
			w.stop()
			if err := <-w.ended; err != nil {
				t.Fatal(err)
			}
			for key, want := range bucket.stats {
				if got := fresh.stats[key]; !proto.Equal(got, want) {
					t.Fatalf("%s: %v at once, %v step by step", key, got, want)
				}
			}
		})
	}
}

// seasonOf are rules of which the token t has a season, so all its lines end at once.
func seasonOf(to int64) *someRules {
	rule := hold.PlainRule(hold.Merge)
	rule.SeasonFrom, rule.SeasonTo = logBegin-1000*minute, to
	return &someRules{Rules: hold.PlainRules(hold.Merge), version: "season", tokens: map[string]*hold.Rule{"t": rule}}
}

func openSince(holder string, start int64) hold.Draft {
	return hold.Draft{Holder: holder, Token: "t", Start: hold.StampOf(start)}
}

// Of many holders whose season ends in one instant, more than the index takes, each
// is published once, in batches of one turn. A restart publishes none again.
func TestManyLinesThatEndAtOnce(t *testing.T) {
	t.Parallel()
	const holders, turn, end = 3000, 64, logBegin + 10*minute
	log, rules := newMemLog(2), seasonOf(end)
	for i := range holders {
		log.add(logBegin, openSince(fmt.Sprint("h", i), logBegin-minute))
	}
	store, bucket, clock := storetest.NewMemory(), newMemBucket(), clockAt(logBegin)
	cfg := Config{Store: store, Rules: rules, FlushInterval: time.Millisecond, turn: turn, refreshMost: 200, refreshWalk: 500, Now: clock.now}
	w := run(t, cfg, log, bucket)
	facts := factsOf(t, log, rules)
	bucket.await(t, "before the end", func() error { return linesAt(bucket, facts, rules, logBegin) })
	for p := range log.partitions {
		if err := w.WaitApplied(t.Context(), p, log.last); err != nil {
			t.Fatal(err)
		}
	}
	bucket.mu.Lock()
	published := bucket.published
	bucket.largest = 0
	bucket.mu.Unlock()
	clock.set(w, end)
	bucket.await(t, "at the end", func() error { return linesAt(bucket, facts, rules, end) })
	w.finish(t, log)
	if bucket.published != published+holders || bucket.largest > turn {
		t.Errorf("%d snapshots published of %d, %d at once", bucket.published-published, holders, bucket.largest)
	}
	if s := bucket.get("h7"); s.Until != nil || s.Since.AsTime().UnixNano() != end || s.LiveRate != "0" || s.LiveBase != "660" {
		t.Errorf("%v", s)
	}
	for _, p := range w.partitions {
		if n := len(p.pub.refresh.ends.order); n != 0 {
			t.Errorf("%d entries are left of partition %d", n, p.id)
		}
	}

	cfg.Store = store.Reopen()
	again := bucket.copy()
	w = run(t, cfg, log, again)
	awaitReady(t, w, "")
	eventually(t, "the walk is over", func() error {
		for _, s := range w.Status() {
			if !s.refreshed {
				return fmt.Errorf("partition %d is at it", s.Partition)
			}
		}
		return nil
	})
	w.finish(t, log)
	if again.published != 0 {
		t.Errorf("%d snapshots published again", again.published)
	}
}

// An event that comes while a line is drawn wins, however long the store takes.
func TestEventsOvertakeRefreshedLines(t *testing.T) {
	t.Parallel()
	const end = logBegin + 10*minute
	log, rules := newMemLog(1), seasonOf(end)
	log.add(logBegin, openSince("a", logBegin-minute))
	log.add(logBegin, openSince("b", logBegin-minute))
	store := storetest.NewFaulty(storetest.NewMemory())
	bucket, clock := newMemBucket(), clockAt(logBegin)
	w := run(t, Config{Store: store, Rules: rules, FlushInterval: time.Millisecond, Now: clock.now}, log, bucket)
	facts := factsOf(t, log, rules)
	bucket.await(t, "before", func() error { return linesAt(bucket, facts, rules, logBegin) })
	entered, release := store.Stall(storetest.OpView)
	clock.set(w, end)
	<-entered
	position := log.add(end, hold.Draft{Holder: "a", Token: "t", End: hold.StampOf(end - 5*minute)})
	bucket.await(t, "the event, while the store stalls", func() error {
		if s := bucket.get("a"); s.Position != position {
			return fmt.Errorf("%v", s)
		}
		return nil
	})
	release()
	facts = factsOf(t, log, rules)
	bucket.await(t, "after", func() error { return linesAt(bucket, facts, rules, end) })
	w.finish(t, log)
	if bucket.backwards != nil {
		t.Error(bucket.backwards)
	}
}

// A store that fails keeps nothing from going on but the lines, which are drawn when
// it is back; meanwhile the status has the error.
func TestLinesWaitForTheStore(t *testing.T) {
	t.Parallel()
	for _, op := range []storetest.Op{storetest.OpView, storetest.OpHolders} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			const end = logBegin + 10*minute
			log, rules := newMemLog(1), seasonOf(end)
			log.add(logBegin, openSince("a", logBegin-minute))
			memory, bucket, clock := storetest.NewMemory(), newMemBucket(), clockAt(logBegin)
			run(t, Config{Store: memory, Rules: rules, Now: clock.now}, log, bucket).finish(t, log)
			store := storetest.NewFaulty(memory.Reopen())
			store.SetHook(func(_ context.Context, at storetest.Op, _ int) error {
				if at == op {
					return errAway
				}
				return nil
			})
			clock.advance(time.Duration(end - logBegin))
			w := run(t, Config{Store: store, Rules: rules, FlushInterval: time.Millisecond, Now: clock.now}, log, bucket)
			eventually(t, "the error is in the status", func() error {
				if err := w.Status()[0].LastError; err == nil || !strings.Contains(err.Error(), "refresh the lines of snapshots: it is away") {
					return fmt.Errorf("%v", err)
				}
				return nil
			})
			position := log.add(end, openSince("b", logBegin-minute))
			bucket.await(t, "another holder", func() error {
				if s := bucket.get("b"); s == nil || s.Position != position {
					return fmt.Errorf("%v", s)
				}
				return nil
			})
			store.SetHook(nil)
			facts := factsOf(t, log, rules)
			bucket.await(t, "the store is back", func() error { return linesAt(bucket, facts, rules, end) })
			eventually(t, "the error is gone", func() error { return w.Status()[0].LastError })
			w.finish(t, log)
		})
	}
}

// eventually polls what has no event to wait for.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	over := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(over) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(time.Millisecond)
	}
}

// On a real bucket, of one owner and of several: the next piece comes to who watches,
// and a restart asks the bucket and publishes nothing again.
func TestLinesAreRefreshedOnJetStream(t *testing.T) {
	t.Parallel()
	for _, async := range []bool{true, false} {
		t.Run(fmt.Sprint("async=", async), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			js := startServer(t)
			log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{Partitions: 2})
			if err != nil {
				t.Fatal(err)
			}
			store, err := embedded.Open(t.TempDir(), embedded.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			bucket, err := projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: "1", Async: async})
			if err != nil {
				t.Fatal(err)
			}
			defer bucket.Close()
			view, err := bucket.Watch(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer view.Close()
			producer := ingest.NewProducer(log, ingest.ProducerOptions{})
			defer producer.Close(context.Background())

			now := time.Now().UnixNano()
			end, clock := now/1e9*1e9+60*minute, clockAt(now)
			rules := seasonOf(end)
			start := func() *running {
				cfg := Config{Log: log, Store: store, Snapshots: bucket, Rules: rules, Now: clock.now}
				if !async {
					cfg.Ownership = &Ownership{Lease: lease.Config{Generation: "1", Worker: "w", Lease: time.Second}}
				}
				w, err := New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(context.Background())
				r := &running{Worker: w, stop: stop, ended: make(chan error, 1)}
				go func() { r.ended <- w.Run(ctx) }()
				t.Cleanup(stop)
				return r
			}
			until := func(want int64, ended bool) {
				t.Helper()
				eventually(t, "the snapshots", func() error {
					for i := range 20 {
						value, _ := view.Get(ingest.SubjectToken(fmt.Sprint("h", i)))
						var s holdpb.HoldStat
						if err := proto.Unmarshal(value, &s); err != nil || s.HolderId == "" || (s.Until == nil) != ended || ended && s.Since.AsTime().UnixNano() != want {
							return fmt.Errorf("h%d: %v, %w", i, &s, err)
						}
					}
					return nil
				})
			}
			w := start()
			for i := range 20 {
				d := openSince(fmt.Sprint("h", i), now-minute)
				if _, err := producer.Record(ctx, &d); err != nil {
					t.Fatal(err)
				}
			}
			until(0, false)
			clock.set(w, end+minute)
			until(end, true)
			stop := func() {
				w.stop()
				if err := <-w.ended; err != nil {
					t.Fatal(err)
				}
			}
			stop()
			stream, err := js.Stream(ctx, "KV_"+projection.BucketName("1"))
			if err != nil {
				t.Fatal(err)
			}
			sequences := func() (all []uint64) {
				for i := range 20 {
					m, err := stream.GetLastMsgForSubject(ctx, "$KV."+projection.BucketName("1")+"."+ingest.SubjectToken(fmt.Sprint("h", i)))
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, m.Sequence)
				}
				return all
			}
			before := sequences()
			w = start()
			eventually(t, "the walk is over", func() error {
				status := w.Status()
				for _, s := range status {
					if !s.refreshed {
						return fmt.Errorf("partition %d is at it", s.Partition)
					}
				}
				if len(status) < 2 {
					return fmt.Errorf("%d partitions are owned", len(status))
				}
				return nil
			})
			stop()
			if after := sequences(); !slices.Equal(before, after) {
				t.Errorf("published again: %v, then %v", before, after)
			}
		})
	}
}
