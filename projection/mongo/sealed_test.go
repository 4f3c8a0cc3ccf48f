package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// removeSealed removes all that can be, and says of how many calls that took.
func removeSealed(t testing.TB, s *Store, partition int) (calls int) {
	t.Helper()
	for more := true; more; calls++ {
		var err error
		if more, err = s.RemoveSealed(context.Background(), partition); err != nil || calls > 1000 {
			t.Fatalf("remove: %v, after %d calls", err, calls)
		}
	}
	return calls
}

// count is how many documents a collection has.
func count(t testing.TB, s *Store, name string) (n int64) {
	t.Helper()
	inspect(t, s.config.Database, func(ctx context.Context, db *driver.Database) (err error) {
		n, err = db.Collection(name).CountDocuments(ctx, bson.D{})
		return err
	})
	return n
}

// sealedOwner has a pair whose document has all of its facts, one with more, one of
// hold_ids, and one that has nothing that can be sealed.
func sealedOwner(t testing.TB, s *Store) *owner {
	o := newOwner(1, 7)
	for i := range int64(3 * factsKept) {
		f := ended(10*i, 10*i+7)
		o.add("large", "t", f)
		if i < 10 {
			o.add("small", "t", f)
		}
		if i < 5 {
			f.HoldID, f.Revision = fmt.Sprint("lot-", i), 1
			o.add("small", "ids", f)
		}
	}
	o.add("open", "t", opening(5))
	o.flush(t, s)
	return o
}

// What was sealed counts, and the facts that it stands for are gone, where flushes that
// got no checkpoint have pushed out every version of the figures that count: the
// figures are folded again from what was sealed and the facts that are left. What those
// flushes sealed beyond the checkpoint does not count, until the checkpoint has come to
// it; from then on it does, from any writer.
func TestTornFlushesOfSealed(t *testing.T) {
	t.Parallel()
	for _, removed := range []bool{false, true} {
		t.Run(fmt.Sprint("removed=", removed), func(t *testing.T) {
			t.Parallel()
			s := open(t, database(t))
			defer s.Close()
			a := sealedOwner(t, s)
			a.raise(second(1000))
			a.seal()
			a.flush(t, s)
			if removed {
				removeSealed(t, s, 1)
			}
			compare(t, shown(t, s, 1), a.want())
			committed := a.follow(7)
			const horizonAt = 20
			events := func(o *owner, from, to int) {
				for i := from; i < to; i++ {
					if i == horizonAt {
						o.raise(second(1500))
						continue
					}
					o.add([]string{"large", "small", "open", "new"}[i%4], "t", ended(int64(10_000+10*i), int64(10_007+10*i)))
				}
			}
			for n := range versionsKept + 2 {
				dying := committed.follow(7)
				events(dying, 0, horizonAt+1+n)
				dying.seal()
				dying.torn(t, s, true)
				compare(t, shown(t, s, 1), committed.want())
				removeSealed(t, s, 1)
				compare(t, shown(t, s, 1), committed.want())
			}

			// The next owner has other flushes, and does not seal at first.
			if _, _, err := s.Claim(context.Background(), 1, 8); err != nil {
				t.Fatal(err)
			}
			b := committed.follow(8)
			for at := 0; at < 30; at += 3 {
				events(b, at, at+3)
				b.flush(t, s)
				removeSealed(t, s, 1)
				// Where the checkpoint has come to what the dying ones had sealed, that is
				// read in the place of facts that this owner still has.
				for key, f := range b.want().pairs {
					if got := shown(t, s, 1).pairs[key]; !sameFigures(got, f) {
						t.Fatalf("at %d: figures of %v are %+v, want %+v", at, key, got, f)
					}
				}
			}
			b.seal()
			b.flush(t, s)
			removeSealed(t, s, 1)
			compare(t, shown(t, s, 1), b.want())
			facts := 0
			for _, n := range b.want().facts {
				facts += n
			}
			if got := count(t, s, eventsName); got != int64(facts) {
				t.Errorf("%d facts are left, want %d", got, facts)
			}
			if n := count(t, s, sealedName); n != 0 {
				t.Errorf("%d notes are left", n)
			}
		})
	}
}

// A removal may end anywhere, and the next one ends it.
func TestRemovalInPieces(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := open(t, database(t))
	defer s.Close()
	o := sealedOwner(t, s)
	o.raise(second(1000))
	o.seal()
	o.flush(t, s)
	n, err := s.ownSnapshot(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	notes, keys, err := n.notes(ctx)
	if err != nil || len(notes) != 3 || len(keys) != 3 {
		t.Fatalf("notes %v, %v", notes, err)
	}
	removals, err := n.removals(ctx, keys)
	if err != nil || len(removals) != 3 {
		t.Fatalf("removals %v, %v", removals, err)
	}
	if done, err := n.removeFacts(ctx, removals); !done || err != nil {
		t.Fatal(done, err)
	}
	compare(t, shown(t, s, 1), o.want())

	// Another flush comes before the documents are trimmed: they are left as they are.
	o.add("small", "t", ended(5000, 5001))
	o.flush(t, s)
	if done, err := n.trimPairs(ctx, removals); done || err != nil {
		t.Fatalf("trimmed over a later flush: %v, %v", done, err)
	}
	compare(t, shown(t, s, 1), o.want())
	if n := count(t, s, sealedName); n != 3 {
		t.Errorf("%d notes, want 3", n)
	}

	// A flush of an owner that is long gone puts facts back.
	old := newOwner(1, 7)
	old.add("small", "t", ended(0, 7))
	if err := s.writeFacts(ctx, old.batch()); err != nil {
		t.Fatal(err)
	}
	compare(t, shown(t, s, 1), o.want())
	removeSealed(t, s, 1)
	compare(t, shown(t, s, 1), o.want())
	if got, want := count(t, s, eventsName), int64(3*factsKept-100+1+1); got != want {
		t.Errorf("%d facts are left, want %d", got, want)
	}
	if calls := removeSealed(t, s, 1); calls != 1 {
		t.Errorf("%d calls to remove nothing", calls)
	}
}

// A store of another process, whose owner was followed, learns so where facts that it
// needs are gone; so does a view.
func TestOutdated(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	name := database(t)
	old, next := open(t, name), open(t, name)
	defer old.Close()
	defer next.Close()
	a := sealedOwner(t, old)
	v, err := next.View(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if _, _, err := next.Claim(ctx, 1, 8); err != nil {
		t.Fatal(err)
	}
	b := a.follow(8)
	b.add("other", "t", ended(1, 2))
	b.raise(second(1000))
	b.seal()
	b.flush(t, next)
	removeSealed(t, next, 1)

	key := projection.PairKey{Holder: "small", Token: "t"}
	if _, err := old.Load(ctx, 1, []projection.PairKey{key}); !errors.Is(err, projection.ErrFenced) {
		t.Errorf("load of the older owner: %v, want ErrFenced", err)
	}
	for _, holder := range []string{"small", "large"} {
		err := v.Pairs(ctx, holder, func(*projection.PairRecord) error { return nil })
		if !errors.Is(err, projection.ErrOutdated) {
			t.Errorf("pairs of %s: %v, want ErrOutdated", holder, err)
		}
	}
	if err := v.Pairs(ctx, "open", func(r *projection.PairRecord) error { return nil }); err != nil {
		t.Errorf("a pair of which nothing was sealed: %v", err)
	}
	if h, err := v.Holder(ctx, "small"); err != nil || !sameFigures(h.Figures, a.holder("small").Figures) {
		t.Errorf("figures of a holder: %+v, %v", h, err)
	}
	compare(t, shown(t, next, 1), b.want())
	if more, err := old.RemoveSealed(ctx, 1); more || err != nil {
		t.Errorf("the older owner removes %v, %v", more, err)
	}
	compare(t, shown(t, next, 1), b.want())
}

// An older program does not open a database that would show it too little.
func TestFormatOfSealed(t *testing.T) {
	t.Parallel()
	name := database(t)
	s := open(t, name)
	o := sealedOwner(t, s)
	stored := func() (n int64) {
		inspect(t, name, func(ctx context.Context, db *driver.Database) error {
			raw, err := db.Collection(metaName).FindOne(ctx, bson.D{{Key: "_id", Value: formatID}}).Raw()
			n = raw.Lookup("format").AsInt64()
			return err
		})
		return n
	}
	if got := stored(); got != format {
		t.Errorf("format %d before anything was sealed", got)
	}
	o.raise(second(1000))
	o.seal()
	o.flush(t, s)
	if got := stored(); got != sealedFormat {
		t.Errorf("format %d of a database with something sealed", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, name)
	defer s.Close()
	compare(t, shown(t, s, 1), o.want())
}

// A batch whose sealed part is not one is refused before anything is written.
func TestBadSealed(t *testing.T) {
	t.Parallel()
	s := open(t, database(t))
	defer s.Close()
	o := newOwner(1, 7)
	o.add("x", "t", ended(1, 2))
	b := o.batch()
	b.Pairs = slices.Clone(b.Pairs)
	b.Pairs[0].Sealed = []byte("no")
	if err := s.Flush(context.Background(), b); !errors.Is(err, projection.ErrBatch) || !errors.Is(err, hold.ErrCorrupt) {
		t.Errorf("%v, want ErrBatch", err)
	}
}
