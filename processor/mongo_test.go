package processor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
	"holdmetrics/projection/mongo"
	"holdmetrics/projection/mongo/mongotest"
	"holdmetrics/projection/storetest"
)

// dyingOverMongo is a store whose process dies in one of its flushes: what was
// sent of it may still be carried out, its answers are lost, and every later call
// fails.
type dyingOverMongo struct {
	*storetest.Faulty
	inner *mongo.Store

	mu      sync.Mutex
	flushes int // before the one that it dies in
	removes int // calls of RemoveSealed before the one that it dies in
	within  time.Duration
	dead    bool
}

func newDyingOverMongo(inner *mongo.Store, flushes int, within time.Duration) *dyingOverMongo {
	d := &dyingOverMongo{Faulty: storetest.NewFaulty(inner), inner: inner, flushes: flushes, removes: math.MaxInt, within: within}
	d.SetHook(func(context.Context, storetest.Op, int) error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.dead {
			return errCrash
		}
		return nil
	})
	return d
}

func (d *dyingOverMongo) Claim(ctx context.Context, partition int, epoch uint64) (projection.Checkpoint, bool, error) {
	return d.inner.Claim(ctx, partition, epoch)
}

func (d *dyingOverMongo) Flush(ctx context.Context, b *projection.Batch) error {
	if !d.dies(&d.flushes) {
		return d.Faulty.Flush(ctx, b)
	}
	ctx, cancel := context.WithTimeout(ctx, d.within)
	defer cancel()
	_ = d.Faulty.Flush(ctx, b)
	d.die()
	return errCrash
}

func (d *dyingOverMongo) RemoveSealed(ctx context.Context, partition int) (bool, error) {
	if !d.dies(&d.removes) {
		return d.Faulty.RemoveSealed(ctx, partition)
	}
	ctx, cancel := context.WithTimeout(ctx, d.within)
	defer cancel()
	_, _ = d.Faulty.RemoveSealed(ctx, partition)
	d.die()
	return false, errCrash
}

func (d *dyingOverMongo) dies(left *int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	*left--
	return *left < 0
}

func (d *dyingOverMongo) die() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// The state in MongoDB is that of a run that nothing disturbed, wherever in a
// flush the processes died.
func TestAnyCrashLeavesTheSameStateInMongo(t *testing.T) {
	t.Parallel()
	server, err := mongotest.New()
	if errors.Is(err, mongotest.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	t.Log("tested with", server.Name)
	prefix := fmt.Sprint("holdmetrics_processor_", time.Now().UnixNano())
	for seed := range seeds(t, 12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 5))
			rules := hold.PlainRules(hold.Merge)
			mixed := seed%4 == 3
			if seed%2 == 1 {
				rules = randomRules(r, mixed)
			}
			log := randomLogOf(r, 120, mixed)
			log.slow = r.IntN(3) > 0
			database := fmt.Sprint(prefix, "_", seed)
			if !server.Ours() {
				t.Cleanup(func() { _ = server.Drop(database) })
			}
			want := storetest.NewMemory()
			run(t, Config{Store: want, Rules: rules, FlushInterval: time.Hour}, log, nil).finish(t, log)

			open := func() *mongo.Store {
				s, err := mongo.Open(context.Background(), mongo.Config{
					URL: server.URL, Database: database, Patience: 2 * time.Minute, Rules: rules,
				})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			bucket := newMemBucket()
			for range 1 + r.IntN(5) {
				store := open()
				w := run(t, Config{
					Store:         newDyingOverMongo(store, r.IntN(10), time.Duration(r.IntN(15))*time.Millisecond),
					Rules:         rules,
					FlushInterval: time.Duration(1 + r.IntN(3_000_000)),
					CacheBytes:    1 + r.IntN(20_000), FlushBytes: 1 + r.IntN(40_000), GCInterval: time.Millisecond,
				}, log, bucket)
				if err := waitAll(w, log); err != nil && !errors.Is(err, projection.ErrClosed) {
					t.Fatal(err)
				}
				w.stop()
				if err := <-w.ended; err != nil && !errors.Is(err, projection.ErrClosed) {
					t.Fatal(err)
				}
				if bucket.backwards != nil {
					t.Fatal(bucket.backwards)
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
			}
			store := open()
			defer store.Close()
			run(t, Config{Store: store, Rules: rules, FlushInterval: time.Millisecond}, log, bucket).finish(t, log)
			if bucket.backwards != nil {
				t.Fatal(bucket.backwards)
			}
			compareStores(t, log, want, store, false)
			compareWithRules(t, log, store, rules)
			compareBucketBy(t, log, store, bucket, rules)
		})
	}
}
