package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// A flush that gets no checkpoint cannot be seen, by nobody; the owner that
// follows, whose flushes end elsewhere in the log, makes of it what is right.
func TestTornFlushes(t *testing.T) {
	t.Parallel()
	for _, sameEpoch := range []bool{false, true} {
		for _, figures := range []bool{false, true} {
			t.Run(fmt.Sprintf("sameEpoch=%v,figures=%v", sameEpoch, figures), func(t *testing.T) {
				t.Parallel()
				s := open(t, database(t))
				defer s.Close()
				a := newOwner(1, 7)
				a.add("x", "t", opening(1))
				a.add("y", "t", ended(1, 5))
				a.flush(t, s)
				committed := a.follow(7)

				// The log goes on: a writes up to its end, and dies before the checkpoint.
				events := func(o *owner, from, to int) {
					for i := from; i < to; i++ {
						o.add([]string{"x", "y", "z"}[i%3], "t", ended(int64(10*i), int64(10*i+7)))
					}
				}
				for n := range 4 { // more often than versions are kept
					dying := committed.follow(7)
					events(dying, 0, 20+n)
					dying.torn(t, s, figures)
					compare(t, shown(t, s, 1), committed.want())
				}

				epoch := uint64(7)
				if !sameEpoch {
					epoch = 8
				}
				b := committed.follow(epoch)
				loaded, err := s.Load(context.Background(), 1, []projection.PairKey{{Holder: "x", Token: "t"}, {Holder: "z", Token: "t"}})
				if err != nil || loaded[0] == nil || len(loaded[0].Facts) != 1 || loaded[1] != nil {
					t.Fatalf("loaded %+v, %v, want x as it was and no z", loaded, err)
				}
				for at := 0; at < 30; at += 3 {
					events(b, at, at+3)
					b.flush(t, s)
					compare(t, shown(t, s, 1), b.want())
				}
				// Single events, so that flushes touch single pairs.
				for at := 30; at < 40; at++ {
					events(b, at, at+1)
					b.flush(t, s)
					compare(t, shown(t, s, 1), b.want())
				}
			})
		}
	}
}

// Once a newer owner has claimed the partition, an older one changes nothing that
// can be seen, also where it was in the middle of a flush.
func TestClaim(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	name := database(t)
	old, next := open(t, name), open(t, name)
	defer old.Close()
	defer next.Close()

	if c, flushed, err := old.Claim(ctx, 3, 5); err != nil || flushed || c.Epoch != 5 || c.Position != 0 {
		t.Fatalf("claim of a new partition: %+v, %v, %v", c, flushed, err)
	}
	if _, flushed, err := next.Checkpoint(ctx, 3); err != nil || flushed {
		t.Fatalf("a claimed partition is flushed: %v, %v", flushed, err)
	}
	a := newOwner(3, 5)
	a.add("x", "t", opening(1))
	a.flush(t, old)
	a.add("x", "t", opening(2))
	late := a.batch()

	c, flushed, err := next.Claim(ctx, 3, 6)
	want := a.at
	want.Epoch, want.Position, want.Events, want.LogTime = 6, 1, 1, a.at.LogTime-1e9
	if err != nil || !flushed || c != want {
		t.Fatalf("claim: %+v, %v, %v, want %+v", c, flushed, err, want)
	}
	before := shown(t, next, 3)
	var fencedErr *projection.FencedError
	if err := old.Flush(ctx, late); !errors.As(err, &fencedErr) || fencedErr.Stored != 6 || fencedErr.Mine != 5 || fencedErr.Partition != 3 {
		t.Fatalf("flush of the older owner: %v", err)
	}
	// It had looked for a newer owner just before there was one.
	if err := old.writeFacts(ctx, late); err != nil {
		t.Fatal(err)
	}
	if err := old.writeFigures(ctx, late, atOf(late.Checkpoint)); err != nil {
		t.Fatal(err)
	}
	if err := old.writeCheckpoint(ctx, 3, &late.Checkpoint); !errors.Is(err, projection.ErrFenced) {
		t.Fatalf("checkpoint of the older owner: %v", err)
	}
	compare(t, shown(t, next, 3), before)
	if _, _, err := old.Claim(ctx, 3, 5); !errors.Is(err, projection.ErrFenced) {
		t.Fatalf("claim of an older epoch: %v", err)
	}

	// The newer one goes on, and its flushes end elsewhere.
	b := newOwner(3, 6)
	b.add("x", "t", opening(1))
	clear(b.fresh)
	b.add("x", "t", opening(2))
	b.add("y", "t", opening(2))
	b.flush(t, next)
	compare(t, shown(t, next, 3), b.want())
	if err := old.writeFigures(ctx, &projection.Batch{Partition: 3, Holders: []projection.HolderRecord{{Holder: "y"}}}, at{9, 5}); !errors.Is(err, projection.ErrFenced) {
		t.Fatalf("figures of the older owner over the newer one's: %v", err)
	}
}

// Owners of all epochs write at once. The greatest one's is what remains, and
// an owner whose flush succeeded had no successor by then.
func TestRacingOwners(t *testing.T) {
	t.Parallel()
	name := database(t)
	const owners = 12
	var wg sync.WaitGroup
	for i := range owners {
		s := open(t, name)
		defer s.Close()
		wg.Go(func() {
			o := newOwner(0, uint64(i+1))
			for n := range int64(6) {
				for h := range int64(5) {
					o.add(fmt.Sprint("holder-", h), "t", ended(10*n, 10*n+h+1))
				}
				err := s.Flush(context.Background(), o.batch())
				if errors.Is(err, projection.ErrFenced) && i < owners-1 {
					return
				}
				if err != nil {
					t.Errorf("epoch %d: %v", i+1, err)
					return
				}
				clear(o.fresh)
			}
			if i == owners-1 {
				compare(t, shown(t, s, 0), o.want())
			}
		})
	}
	wg.Wait()
}

// What a server had taken in before its connection broke may be carried out after
// the next flush. It must not step back.
func TestWriteThatComesLate(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	defer s.Close()
	o := newOwner(0, 1)
	o.add("x", "t", opening(1))
	first := o.batch()
	o.flush(t, s)
	o.add("x", "t", opening(5))
	o.flush(t, s)

	late := pairDocument(partitionPrefix(0), 0, atOf(first.Checkpoint), &first.Pairs[0])
	_, err := s.pairs.UpdateOne(context.Background(), guard(late.id, atOf(first.Checkpoint)), late.update(atOf(first.Checkpoint)))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, shown(t, s, 0), o.want())
	inspect(t, s.config.Database, func(ctx context.Context, db *driver.Database) error {
		raw, err := db.Collection(pairsName).FindOne(ctx, bson.D{}).Raw()
		if n := raw.Lookup("written").AsInt64(); n != int64(o.at.Position) {
			t.Errorf("the document is of position %d, want %d", n, o.at.Position)
		}
		return err
	})
	if err := s.Flush(context.Background(), first); !errors.Is(err, projection.ErrBatch) {
		t.Errorf("an older batch in the same epoch: %v", err)
	}
}

// A view outlives the versions of what it has to show.
func TestViewOutlivesVersions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, database(t))
	defer s.Close()
	o := newOwner(2, 1)
	step := func(i int64) {
		for h := range int64(4) {
			f := ended(10*i, 10*i+h)
			if h == 3 {
				f = opening(10 * i)
			}
			o.add(fmt.Sprint("holder-", h), fmt.Sprint("token-", i%2), f)
		}
		if i == 2 {
			for n := range int64(2 * factsKept) { // a pair too large for its document
				o.add("whale", "t", hold.Fact{Kind: hold.KindHold, HoldID: fmt.Sprint(n), Revision: 1, Start: second(n), End: second(n + 5)})
			}
		}
		if i > 5 {
			o.add("whale", "t", ended(i, i+3))
		}
		o.flush(t, s)
	}
	for i := range int64(4) {
		step(i)
	}
	v, err := s.View(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	then := o.follow(1)
	want := then.want()
	for i := int64(4); i < 10+versionsKept; i++ {
		step(i)
		compare(t, shownBy(t, s, 2, v), want)
	}
	compare(t, shown(t, s, 2), o.want())
}

// The database was dropped, or put back to an older state: to flush on top of it
// would lose what lies between.
func TestDatabaseThatForgot(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	defer s.Close()
	o := newOwner(0, 1)
	o.add("x", "t", opening(1))
	o.flush(t, s)
	o.add("x", "t", opening(2))
	inspect(t, s.config.Database, func(ctx context.Context, db *driver.Database) error { return db.Drop(ctx) })
	if err := s.Flush(context.Background(), o.batch()); !errors.Is(err, projection.ErrCorrupt) {
		t.Errorf("flush: %v, want ErrCorrupt", err)
	}
	if err := s.Ping(context.Background()); !errors.Is(err, projection.ErrCorrupt) {
		t.Errorf("ping: %v, want ErrCorrupt", err)
	}
}

// Somebody edited a fact in mongosh.
func TestEditedFact(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, database(t))
	defer s.Close()
	o := newOwner(0, 1)
	for i := range int64(factsKept) { // so that they are read from hold_events
		o.add("x", "t", ended(i, i+1))
	}
	o.flush(t, s)
	load := func() error {
		_, err := s.Load(ctx, 0, []projection.PairKey{{Holder: "x", Token: "t"}})
		return err
	}
	if err := load(); err != nil {
		t.Fatal(err)
	}
	inspect(t, s.config.Database, func(ctx context.Context, db *driver.Database) error {
		_, err := db.Collection(eventsName).UpdateOne(ctx, bson.D{{Key: "start_ns", Value: second(7)}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "weight_exact", Value: "5"}}}})
		return err
	})
	if err := load(); !errors.Is(err, projection.ErrCorrupt) {
		t.Errorf("load: %v, want ErrCorrupt", err)
	}
}

// The facts of a flush are one document each, whatever is written again.
func TestFactsAreInsertedOnce(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	defer s.Close()
	o := newOwner(0, 1)
	for i := range int64(3 * bulkDocuments / 2) {
		o.add(fmt.Sprint(i%7), "t", ended(i, i+1))
	}
	b := o.batch()
	before := slices.Clone(b.Pairs)
	for range 2 {
		if err := s.writeFacts(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	o.flush(t, s)
	inspect(t, s.config.Database, func(ctx context.Context, db *driver.Database) error {
		n, err := db.Collection(eventsName).CountDocuments(ctx, bson.D{})
		want := 0
		for i := range before {
			want += len(before[i].Facts)
		}
		if n != int64(want) {
			t.Errorf("%d documents, want %d", n, want)
		}
		return err
	})
}
