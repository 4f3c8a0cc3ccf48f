package processor

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
)

const (
	logBegin = 1_700_000_000 * int64(time.Second)
	minute   = int64(time.Minute)
)

// randomLog is a history of few holders, tokens and instants, so that events
// meet; ends ahead of the log's clock, so that lines break; duplicates; and a
// clock that steps back now and then.
func randomLog(r *rand.Rand, messages int) *memLog { return randomLogOf(r, messages, false) }

// randomLogOf is randomLog, with ids in any case where they are mixed: of two
// partitions, between which case moves no holder, or of seven, between which it does.
func randomLogOf(r *rand.Rand, messages int, mixed bool) *memLog {
	log := newMemLog(2)
	if mixed && r.IntN(2) == 0 {
		log = newMemLog(7)
	}
	now := logBegin
	var all []hold.Draft
	for range messages {
		now += r.Int64N(3*minute) - minute/2
		partition := r.IntN(log.partitions)
		var frame []hold.Draft
		for range 1 + r.IntN(4) {
			d := randomDraft(r, now)
			if len(all) > 0 && r.IntN(5) == 0 {
				d = all[r.IntN(len(all))]
			}
			for ingest.Partition(d.Holder, log.partitions) != partition {
				d.Holder = fmt.Sprintf("h%d", r.IntN(12))
				if mixed && r.IntN(2) == 0 {
					d.Holder, d.Token = strings.ToUpper(d.Holder), strings.ToUpper(d.Token)
				}
			}
			all = append(all, d)
			frame = append(frame, d)
		}
		log.add(now, frame...)
	}
	return log
}

func randomDraft(r *rand.Rand, now int64) hold.Draft {
	at := func() hold.Stamp { return hold.StampOf(now/minute*minute + (r.Int64N(16)-11)*minute) }
	d := hold.Draft{
		Token:  fmt.Sprintf("t%d", r.IntN(4)),
		Holder: fmt.Sprintf("h%d", r.IntN(12)),
		Weight: float64(r.IntN(3)),
	}
	if r.IntN(3) == 0 {
		d.HoldID, d.Revision = fmt.Sprintf("id%d", r.IntN(3)), uint64(r.IntN(3))
	}
	switch r.IntN(6) {
	case 0:
		d.End = at()
	case 1, 2:
		d.Start = at()
	default: // sometimes with an end before the start, which is refused
		d.Start, d.End = at(), at()
	}
	d.Retract = r.IntN(8) == 0
	return d
}

// crashing is a store whose process dies at the n-th call: the call fails and so
// does every later one. A flush that it dies in was written in part, in the order
// that a store without transactions has to keep.
type crashing struct {
	*storetest.Faulty
	atomic bool
	paged  bool
}

var errCrash = fmt.Errorf("the process died: %w", projection.ErrClosed)

func newCrashing(inner *storetest.Memory, atomic bool, calls int, r *rand.Rand) *crashing {
	c := &crashing{Faulty: storetest.NewFaulty(inner), atomic: atomic, paged: r.IntN(2) == 0}
	left := make(chan struct{}, calls)
	for range calls {
		left <- struct{}{}
	}
	c.SetHook(func(_ context.Context, op storetest.Op, _ int) error {
		if op == storetest.OpSetMeta {
			return nil
		}
		select {
		case <-left:
			return nil
		default:
		}
		if op == storetest.OpFlush && !atomic {
			return storetest.ErrPart
		}
		return errCrash
	})
	c.SetPart(func(records int) int { return int(rand.N(int64(records + 1))) })
	return c
}

func (c *crashing) Capabilities() projection.Capabilities {
	return projection.Capabilities{AtomicFlush: c.atomic, ReadsPages: true, IgnoresFacts: c.paged}
}

func (c *crashing) Flush(ctx context.Context, b *projection.Batch) error {
	err := c.Faulty.Flush(ctx, b)
	if errors.Is(err, storetest.ErrPart) {
		return errCrash
	}
	return err
}

func TestAnyCrashLeavesTheSameState(t *testing.T) {
	t.Parallel()
	for _, atomic := range []bool{true, false} {
		for seed := range seeds(t, 60) {
			t.Run(fmt.Sprintf("atomic=%v/%d", atomic, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 4))
				rules := hold.PlainRules(hold.Merge)
				mixed := seed%4 == 3
				if seed%2 == 1 {
					rules = randomRules(r, mixed)
				}
				log := randomLogOf(r, 120, mixed)
				log.slow = r.IntN(3) > 0
				want := storetest.NewMemory()
				run(t, Config{Store: want, Rules: rules, FlushInterval: time.Hour}, log, nil).finish(t, log)

				store, bucket := storetest.NewMemory(), newMemBucket()
				lost := bucket.copy()
				crashes := 1 + r.IntN(6)
				for range crashes {
					fed := newFedBucket(bucket)
					var to snapshots = bucket
					if seed%3 == 2 { // readers in the process are shown all, too
						to = fed
						fed.open()
					}
					w := run(t, Config{
						Store: newCrashing(store, atomic, 4+r.IntN(50), r), Rules: rules, FlushInterval: time.Duration(1 + r.IntN(300_000)),
						CacheBytes: 1 + r.IntN(20_000), FlushBytes: 1 + r.IntN(40_000), GCInterval: time.Millisecond, turn: 1 + r.IntN(12),
					}, log, to)
					if err := waitAll(w, log); err != nil && !errors.Is(err, projection.ErrClosed) {
						t.Fatal(err)
					}
					w.stop()
					if err := <-w.ended; err != nil && !errors.Is(err, projection.ErrClosed) {
						t.Fatal(err)
					}
					if bucket.backwards != nil || fed.wrong != nil {
						t.Fatal(bucket.backwards, fed.wrong)
					}
					if r.IntN(2) == 0 { // what an asynchronous bucket loses
						bucket = lost
					}
					lost = bucket.copy()
					store = store.Reopen()
				}
				run(t, Config{Store: asAtomic{store, atomic}, Rules: rules, FlushInterval: time.Millisecond}, log, bucket).finish(t, log)
				if bucket.backwards != nil {
					t.Fatal(bucket.backwards)
				}
				compareStores(t, log, want, store, atomic)
				compareWithRules(t, log, store, rules)
				compareBucketBy(t, log, store, bucket, rules)
			})
		}
	}
}

type asAtomic struct {
	projection.Store
	atomic bool
}

func (s asAtomic) Capabilities() projection.Capabilities {
	return projection.Capabilities{AtomicFlush: s.atomic}
}

// waitAll waits for all partitions of the log; the first error ends it.
func waitAll(w *running, log *memLog) error {
	for p := range log.partitions {
		if err := w.WaitApplied(context.Background(), p, log.last); err != nil {
			return err
		}
	}
	return nil
}

// state is what a store has of a partition.
type state struct {
	pairs   map[projection.PairKey]projection.PairRecord
	holders map[string]projection.HolderRecord
}

func stateOf(t testing.TB, s projection.Store, partition int) state {
	t.Helper()
	ctx := context.Background()
	st := state{map[projection.PairKey]projection.PairRecord{}, map[string]projection.HolderRecord{}}
	view, err := s.View(ctx, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	if err := view.AllPairs(ctx, func(r *projection.PairRecord) error {
		whole := *r.Clone()
		if whole.IsLarge() {
			for _, prefix := range []string{"i", "n", "s"} {
				if err := r.More.Scan([]byte(prefix), func(page hold.Page) bool {
					whole.Pages = append(whole.Pages, hold.Page{Key: slices.Clone(page.Key), Data: slices.Clone(page.Data)})
					return true
				}); err != nil {
					return err
				}
			}
		}
		whole.More = nil // it has all pages
		st.pairs[r.Key] = whole
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.ChangedSince(ctx, partition, 0, func(h *projection.HolderRecord) error {
		st.holders[h.Holder] = *h
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return st
}

// compareStores requires the same records; byte for byte where no flush was
// ever written in part, else the same facts.
func compareStores(t testing.TB, log *memLog, want, got projection.Store, bytes bool) {
	t.Helper()
	for partition := range log.partitions {
		w, g := stateOf(t, want, partition), stateOf(t, got, partition)
		if !bytes {
			for _, s := range []state{w, g} {
				for key, r := range s.pairs {
					p, err := r.Open()
					if err != nil {
						t.Fatal(err)
					}
					r.Facts, r.Pages = slices.Collect(p.Facts()), nil
					s.pairs[key] = r
				}
			}
		}
		if diff := cmp.Diff(w.pairs, g.pairs); diff != "" {
			t.Fatalf("partition %d: pairs (-undisturbed +got):\n%s", partition, diff)
		}
		if diff := cmp.Diff(w.holders, g.holders); diff != "" {
			t.Fatalf("partition %d: holders (-undisturbed +got):\n%s", partition, diff)
		}
		a, _, _ := want.Checkpoint(context.Background(), partition)
		b, _, _ := got.Checkpoint(context.Background(), partition)
		if a.Epoch = b.Epoch; !reflect.DeepEqual(a, b) {
			t.Fatalf("partition %d: checkpoint %+v, undisturbed %+v", partition, b, a)
		}
	}
}

// compareWithFacts requires what follows from the log's events alone, folded
// from scratch and added up pair by pair.
func compareWithFacts(t testing.TB, log *memLog, store projection.Store) {
	t.Helper()
	compareWithRules(t, log, store, hold.PlainRules(hold.Merge))
}

// compareWithRules is compareWithFacts of a store that counts by rules.
func compareWithRules(t testing.TB, log *memLog, store projection.Store, rules hold.Rules) {
	t.Helper()
	for partition := range log.partitions {
		messages := log.messages[partition]
		if readsWhole(rules, log.partitions) {
			messages = log.messages[everyPartition]
		}
		facts, holders := map[projection.PairKey][]hold.Fact{}, map[string]int64{}
		pairs := map[projection.PairKey]int64{}
		clock := int64(0)
		for _, m := range messages {
			clock = max(clock, m.at)
			for _, event := range eventsOf(m.data) {
				var d hold.Draft
				if err := ingest.DecodeEvent(event, &d); err != nil {
					t.Fatal(err)
				}
				e, err := checkBy(&d, rules, m.at+minute, hold.DefaultLimits())
				if err != nil || ingest.Partition(d.Holder, log.partitions) != m.partition ||
					ingest.Partition(e.Holder, log.partitions) != partition || rules.Excluded(e.Holder) {
					continue
				}
				key := projection.PairKey{Holder: e.Holder, Token: e.Token}
				facts[key] = append(facts[key], e.Fact())
				pairs[key], holders[e.Holder] = clock, clock
			}
		}
		st := stateOf(t, store, partition)
		if len(st.pairs) != len(facts) || len(st.holders) != len(holders) {
			t.Fatalf("partition %d: %d pairs of %d holders, want %d of %d", partition, len(st.pairs), len(st.holders), len(facts), len(holders))
		}
		sums := map[string]hold.Figures{}
		for key, f := range facts {
			rule := rules.Of(key.Token)
			p := hold.PairFromFacts(rule.Policy, slices.Values(f))
			if got, want := st.pairs[key].Figures, rule.Figures(p, pairs[key]); got != want {
				t.Fatalf("pair %v: figures %+v, want %+v", key, got, want)
			}
			at := rule.Figures(p, holders[key.Holder])
			if sum, ok := sums[key.Holder]; ok {
				at = at.Plus(sum)
			}
			sums[key.Holder] = at
		}
		for name, want := range sums {
			if got := st.holders[name]; got.Figures != want || got.UpdatedAt != holders[name] {
				t.Fatalf("holder %s: %+v at %d, want %+v at %d", name, got.Figures, got.UpdatedAt, want, holders[name])
			}
		}
	}
}

// checkBy checks a draft and applies the rules by which the event counts: it refuses what
// they refuse, and returns the event with normalized ids (S8.3).
func checkBy(d *hold.Draft, rules hold.Rules, now int64, lim hold.Limits) (hold.Event, error) {
	e, err := d.Check(now, lim)
	if err != nil {
		return hold.Event{}, err
	}
	e.Token, e.Holder = rules.Token(e.Token), rules.Holder(e.Holder)
	return e, rules.Of(e.Token).Accepts(e.HoldID)
}

// eventsOf is the wire form of a message's events.
func eventsOf(data []byte) (events [][]byte) {
	if !ingest.IsFrame(data) {
		return [][]byte{data}
	}
	frame := ingest.ReadFrame(data)
	for event, ok := frame.Next(); ok; event, ok = frame.Next() {
		events = append(events, event)
	}
	return events
}

// compareBucket requires the snapshots to be those of the store's holders.
func compareBucket(t testing.TB, log *memLog, store projection.Store, bucket *memBucket) {
	t.Helper()
	compareBucketBy(t, log, store, bucket, hold.PlainRules(hold.Merge))
}

// compareBucketBy is compareBucket of a store that counts by rules.
func compareBucketBy(t testing.TB, log *memLog, store projection.Store, bucket *memBucket, rules hold.Rules) {
	t.Helper()
	holders := 0
	for partition := range log.partitions {
		for name, h := range stateOf(t, store, partition).holders {
			holders++
			s := bucket.get(name)
			if s == nil {
				t.Fatalf("holder %s has no snapshot", name)
			}
			if s.ScoreExact != h.Figures.Settled.Score.String() || s.LiveBase != h.Figures.Line.Base.Score.String() ||
				s.Rules != rules.Version() || s.Position != h.Position || s.UpdatedAt.AsTime().UnixNano() != h.UpdatedAt || s.Waiting != h.Figures.Waiting {
				t.Fatalf("holder %s: snapshot %v of record %+v", name, s, h)
			}
		}
		end, _ := log.End(context.Background(), partition)
		if readsWhole(rules, log.partitions) {
			end = log.last
		}
		if bucket.positions[partition] != end {
			t.Fatalf("partition %d: bucket is at %d of %d", partition, bucket.positions[partition], end)
		}
	}
	if holders != len(bucket.stats) {
		t.Fatalf("%d snapshots of %d holders", len(bucket.stats), holders)
	}
}
