package processor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"holdmetrics/hold"
	"holdmetrics/internal/backoff"
	"holdmetrics/projection/storetest"
)

// weather decides about calls at random: most go well, some fail, some are slow,
// and some stall until the weather is over. It is safe for concurrent use.
type weather struct {
	mu      sync.Mutex
	random  *rand.Rand
	left    int           // failures that are still to come; each is a pause of the retries
	over    chan struct{} // closed when everything is to go well again
	stalled int
}

func newWeather(r *rand.Rand) *weather {
	return &weather{random: rand.New(rand.NewPCG(r.Uint64(), r.Uint64())), left: 1 + r.IntN(20), over: make(chan struct{})}
}

// clear makes everything go well from now on, also what stalls.
func (w *weather) clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = 0
	close(w.over)
}

// call is a call's fate: one of the errors, or nil, after a while or at once.
func (w *weather) call(ctx context.Context, often int, errs ...error) error {
	w.mu.Lock()
	var err error
	var wait time.Duration
	stall := false
	if w.left > 0 && w.random.IntN(often) == 0 {
		w.left--
		switch w.random.IntN(4) {
		case 0:
			wait = time.Duration(w.random.IntN(int(3 * time.Millisecond)))
		case 1:
			if stall = w.stalled < 2; stall {
				w.stalled++
			}
		default:
			err = errs[w.random.IntN(len(errs))]
		}
	}
	w.mu.Unlock()
	switch {
	case stall:
		select {
		case <-w.over:
		case <-ctx.Done():
			return ctx.Err()
		}
	case wait > 0:
		_ = backoff.Wait(ctx, wait)
	}
	return err
}

// Whatever log, store and bucket do on the way, in any order: errors, calls that are
// slow, that stall, or of which only the answer is lost; batches that are written in
// part; messages that come twice, readers that are cut off; dead letters that are refused.
// The state at the end is that of an undisturbed run, nothing hangs, and nothing is
// lost or stepped back.
func TestAnyFaultLeavesTheSameState(t *testing.T) {
	t.Parallel()
	for _, atomic := range []bool{true, false} {
		for seed := range seeds(t, 40) {
			t.Run(fmt.Sprintf("atomic=%v/%d", atomic, seed), func(t *testing.T) {
				t.Parallel()
				r := rand.New(rand.NewPCG(seed, 6))
				rules, mixed := hold.PlainRules(hold.Merge), seed%4 == 3
				if seed%2 == 1 {
					rules = randomRules(r, mixed)
				}
				whole := randomLogOf(r, 160, mixed)
				want := storetest.NewMemory()
				run(t, Config{Store: want, Rules: rules, FlushInterval: time.Hour}, whole, nil).finish(t, whole)
				deadLetters := maps.Clone(whole.deadLetters)
				if len(deadLetters) == 0 {
					t.Fatal("nothing is refused")
				}

				// The same log again, which grows while it is read.
				memory, log, growing := newMemBucket(), newMemLog(whole.partitions), whole.messages[everyPartition]
				log.slow = r.IntN(2) == 0
				grow := func(n int) {
					for ; n > 0 && len(growing) > 0; n-- {
						m := growing[0]
						growing = growing[1:]
						log.append(m.partition, m.at, m.json, m.data)
					}
				}
				grow(r.IntN(60))
				w := newWeather(r)
				inner := storetest.NewMemory()
				store := storetest.NewFaulty(inner)
				part := rand.New(rand.NewPCG(seed, 7))
				var parts sync.Mutex
				store.SetPart(func(records int) int {
					parts.Lock()
					defer parts.Unlock()
					return part.IntN(records + 1)
				})
				store.SetHook(func(ctx context.Context, op storetest.Op, _ int) error {
					if op == storetest.OpFlush && !atomic {
						return w.call(ctx, 4, errAway, storetest.ErrPart)
					}
					return w.call(ctx, 6, errAway)
				})
				faulty := &faultyLog{eventLog: log}
				faulty.setHook(func(ctx context.Context, op logOp, _ int) error {
					switch op {
					case opMessage:
						return w.call(ctx, 12, errRedeliver, errCut)
					case opEnd, opLook:
						return w.call(ctx, 6, errAway, errStale)
					}
					return w.call(ctx, 4, errAway)
				})
				bucket := &faultyBucket{snapshots: memory}
				bucket.setHook(func(ctx context.Context, op bucketOp, _ int) error {
					if op == opPublish {
						return w.call(ctx, 6, errAway, errSome)
					}
					return w.call(ctx, 6, errAway)
				})

				for range 1 + r.IntN(3) { // also across clean stops
					worker := run(t, Config{
						Store: asAtomic{store, atomic}, Rules: rules, FlushInterval: time.Duration(1 + r.IntN(2_000_000)),
						CacheBytes: 1 + r.IntN(20_000), FlushBytes: 1 + r.IntN(40_000), GCInterval: time.Millisecond,
						turn: 1 + r.IntN(12), lookEvery: time.Millisecond, StopTimeout: time.Duration(1+r.IntN(20)) * time.Millisecond,
					}, faulty, bucket)
					for range r.IntN(4) {
						grow(r.IntN(30))
						time.Sleep(time.Duration(r.IntN(5_000_000))) // somewhere in the middle of it
					}
					worker.stop()
					if err := <-worker.ended; err != nil && !errors.Is(err, ErrNotFlushed) {
						t.Fatal(err)
					}
				}
				last := run(t, Config{
					Store: asAtomic{store, atomic}, Rules: rules, FlushInterval: time.Millisecond, CacheBytes: 1 + r.IntN(20_000), GCInterval: time.Millisecond,
					lookEvery: time.Millisecond,
				}, faulty, bucket)
				grow(len(growing))
				w.clear()
				awaitReady(t, last, "")
				last.finish(t, log)

				if memory.backwards != nil {
					t.Fatal(memory.backwards)
				}
				compareStores(t, log, want, inner, atomic)
				compareWithRules(t, log, inner, rules)
				compareBucketBy(t, log, inner, memory, rules)
				if diff := cmp.Diff(deadLetters, log.deadLetters); diff != "" {
					t.Fatalf("dead letters (-undisturbed +got):\n%s", diff)
				}
			})
		}
	}
}

// A message that comes again changes nothing: no position steps back, no event is
// counted twice.
func TestRedeliveredMessagesChangeNothing(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	for i := range 50 {
		log.add(logBegin, held(holderOf(0, 1, i%5), "t", logBegin-3*minute, logBegin-2*minute+int64(i)))
	}
	want := storetest.NewMemory()
	run(t, Config{Store: want}, log, nil).finish(t, log)
	log.slow = true // batches of one, so that some are of nothing new
	faulty := &faultyLog{eventLog: log}
	faulty.setHook(func(_ context.Context, op logOp, _ int) error {
		if op == opMessage {
			return errRedeliver
		}
		return nil
	})
	store, bucket := storetest.NewMemory(), newMemBucket()
	r := run(t, Config{Store: store, FlushInterval: time.Nanosecond}, faulty, bucket)
	r.finish(t, log)
	compareStores(t, log, want, store, true)
	compareBucket(t, log, store, bucket)
	if bucket.backwards != nil {
		t.Error(bucket.backwards)
	}
}

// A broker that led the log once answers with an end before the checkpoint, or before
// what the bucket has. Nothing is made of it but that it is asked again: no partition
// fails, and nothing is published over.
func TestOldAnswersOfTheLogAreNotBelieved(t *testing.T) {
	t.Parallel()
	log := newMemLog(1)
	for i := range 20 {
		log.add(logBegin, held(holderOf(0, 1, i), "t", logBegin-3*minute, logBegin-2*minute))
	}
	for _, kept := range []bool{true, false} { // whether the store was kept
		store, bucket := storetest.NewMemory(), newMemBucket()
		run(t, Config{Store: store}, log, bucket).finish(t, log)
		if !kept {
			store = storetest.NewMemory()
		}
		faulty := &faultyLog{eventLog: log}
		asked := make(chan logOp, 1000)
		faulty.setHook(func(_ context.Context, op logOp, _ int) error {
			if op != opEnd && op != opLook {
				return nil
			}
			asked <- op
			return errStale
		})
		r := run(t, Config{Store: store, lookEvery: time.Millisecond}, faulty, bucket)
		<-asked
		<-asked
		awaitReady(t, r, "the log is shorter than the checkpoint")
		if s := r.Status()[0]; s.State == Failed {
			t.Fatalf("kept %t: %v", kept, s.Err)
		}
		faulty.setHook(nil)
		awaitReady(t, r, "")
		// It reads on. A look may be old at any time.
		faulty.setHook(func(_ context.Context, op logOp, _ int) error {
			if op == opLook {
				asked <- op
				return errStale
			}
			return nil
		})
		log.add(logBegin, held(holderOf(0, 1, 1), "t", logBegin-2*minute, logBegin-minute))
		for op := range asked {
			if op == opLook {
				break
			}
		}
		faulty.setHook(nil)
		r.finish(t, log)
		compareBucket(t, log, store, bucket)
		if bucket.backwards != nil {
			t.Error(bucket.backwards)
		}
	}
}

// What keeps a partition from starting, or from going on, is in its status.
func TestStatusSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log    logOp
		bucket bucketOp
		want   string
	}{
		"no end":      {log: opEnd, want: "read the end of the log: it is away"},
		"no reader":   {log: opRead, want: "read the log: it is away"},
		"no position": {bucket: opPosition, want: "read the bucket's position: it is away"},
		"no backlog":  {bucket: opOwed, want: "read the bucket's position: it is away"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newMemLog(1)
			log.add(logBegin, held(holderOf(0, 1, 1), "t", logBegin-3*minute, logBegin-2*minute))
			faulty, bucket := &faultyLog{eventLog: log}, &faultyBucket{snapshots: newMemBucket()}
			faulty.setHook(func(_ context.Context, op logOp, _ int) error {
				if op == c.log {
					return errAway
				}
				return nil
			})
			bucket.setHook(func(_ context.Context, op bucketOp, _ int) error {
				if op == c.bucket {
					return errAway
				}
				return nil
			})
			r := run(t, Config{Store: storetest.NewMemory()}, faulty, bucket)
			over := time.Now().Add(time.Minute)
			for {
				s := r.Status()[0]
				if s.LastError != nil && strings.Contains(s.LastError.Error(), c.want) && errors.Is(s.LastError, errAway) {
					break
				}
				if time.Now().After(over) {
					t.Fatalf("status %+v, want the error %q", s, c.want)
				}
				time.Sleep(time.Millisecond) // a look has no event to wait for
			}
			faulty.setHook(nil)
			bucket.setHook(nil)
			awaitReady(t, r, "")
			if s := r.Status()[0]; s.LastError != nil {
				t.Errorf("the error stays: %v", s.LastError)
			}
			r.finish(t, log)
		})
	}
}
