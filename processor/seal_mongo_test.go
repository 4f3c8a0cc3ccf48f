package processor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/hold"
	"holdmetrics/projection"
	"holdmetrics/projection/mongo"
	"holdmetrics/projection/mongo/mongotest"
)

// mongoServer is a database server for one test.
func mongoServer(t *testing.T) *mongotest.Server {
	t.Helper()
	server, err := mongotest.New()
	if errors.Is(err, mongotest.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	t.Log("tested with", server.Name)
	return server
}

// documentsLeft reads what a database has of facts, and of facts that are to be removed.
func documentsLeft(t *testing.T, server *mongotest.Server, database string) (facts, notes int64) {
	t.Helper()
	client, err := driver.Connect(options.Client().ApplyURI(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Disconnect(context.Background()) }()
	count := func(name string) int64 {
		n, err := client.Database(database).Collection(name).CountDocuments(t.Context(), bson.D{})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return count("hold_events"), count("hold_sealed")
}

// removed reports whether facts were removed often enough, or all is over.
func (d *dyingOverMongo) removed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dead || d.removes < math.MaxInt-5
}

// A log that was sealed comes to the same in MongoDB wherever the processes died: in a
// flush, between a checkpoint and the removal of facts, or in the middle of that. Every
// event is decided as by pairs that are never sealed, figures are theirs, and in the end
// no fact is left that was sealed.
func TestSealedLogInMongo(t *testing.T) {
	t.Parallel()
	server := mongoServer(t)
	prefix := fmt.Sprint("holdmetrics_sealed_", time.Now().UnixNano())
	for seed := range seeds(t, 8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 23))
			log := sealedLog(r, 120, false)
			rules := hold.PlainRules(hold.Policy(r.IntN(2)))
			database := fmt.Sprint(prefix, "_", seed)
			if !server.Ours() {
				t.Cleanup(func() { _ = server.Drop(database) })
			}
			open := func() *mongo.Store {
				s, err := mongo.Open(context.Background(), mongo.Config{URL: server.URL, Database: database, Patience: 2 * time.Minute, Rules: rules})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			for range 1 + r.IntN(4) {
				store := open()
				dying := newDyingOverMongo(store, r.IntN(20), time.Duration(r.IntN(15))*time.Millisecond)
				if r.IntN(2) == 0 {
					dying.flushes, dying.removes = dying.removes, r.IntN(6)
				}
				w := run(t, Config{
					Store: dying, Rules: rules, FlushInterval: time.Duration(1 + r.IntN(3_000_000)),
					CacheBytes: 1 + r.IntN(20_000), FlushBytes: 1 + r.IntN(40_000), GCInterval: time.Millisecond,
				}, log, nil)
				err := waitAll(w, log)
				if err != nil && !errors.Is(err, projection.ErrClosed) {
					t.Fatal(err)
				}
				for over := time.Now().Add(time.Minute); err == nil && r.IntN(3) > 0 && !dying.removed() && time.Now().Before(over); {
					time.Sleep(time.Millisecond) // it sweeps meanwhile, and sends no event
				}
				w.stop()
				if err := <-w.ended; err != nil && !errors.Is(err, projection.ErrClosed) {
					t.Fatal(err)
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
			}
			store := open()
			defer store.Close()
			run(t, Config{Store: store, Rules: rules, FlushInterval: time.Millisecond}, log, nil).swept(t, log, store)
			compareWithJudged(t, log, store, rules)

			for partition := range log.partitions {
				for more := true; more; {
					var err error
					if more, err = store.RemoveSealed(t.Context(), partition); err != nil {
						t.Fatal(err)
					}
				}
			}
			compareWithJudged(t, log, store, rules)
			kept, sealed := 0, uint64(0)
			for partition := range log.partitions {
				for _, record := range stateOf(t, store, partition).pairs {
					pair, err := record.Open()
					if err != nil {
						t.Fatal(err)
					}
					if len(record.Facts) != pair.Len() {
						t.Errorf("%v is read with %d facts, of which it keeps %d", record.Key, len(record.Facts), pair.Len())
					}
					kept += pair.Len()
					sealed += pair.Sealed().Facts
				}
			}
			facts, notes := documentsLeft(t, server, database)
			if facts != int64(kept) || notes != 0 {
				t.Errorf("%d facts and %d notes are left, want %d and none", facts, notes, kept)
			}
			t.Logf("%d facts kept, %d sealed", kept, sealed)
		})
	}
}
