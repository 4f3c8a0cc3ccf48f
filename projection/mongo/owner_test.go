package mongo

import (
	"context"
	"maps"
	"slices"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// owner makes batches as a processor does, of the changes since the last one.
type owner struct {
	partition int
	at        projection.Checkpoint
	pairs     map[projection.PairKey]*hold.Pair
	fresh     map[projection.PairKey][]projection.LoggedFact
	sealed    map[projection.PairKey][]byte // what was sealed of pairs, as it was last given
	unsent    map[projection.PairKey][]byte // of that, what is not flushed
}

func newOwner(partition int, epoch uint64) *owner {
	return &owner{
		partition: partition,
		// The log begins after all that is held, so that no line breaks.
		at:     projection.Checkpoint{LogID: "log", Epoch: epoch, LogTime: second(1_000_000)},
		pairs:  map[projection.PairKey]*hold.Pair{},
		fresh:  map[projection.PairKey][]projection.LoggedFact{},
		sealed: map[projection.PairKey][]byte{},
		unsent: map[projection.PairKey][]byte{},
	}
}

// follow is the next owner, who goes on where the pairs are those of a checkpoint.
func (o *owner) follow(epoch uint64) *owner {
	next := newOwner(o.partition, epoch)
	next.at = o.at
	next.at.Epoch = epoch
	for key, p := range o.pairs {
		sealed, err := hold.ReadSealedFacts(o.sealed[key])
		if err != nil {
			panic(err)
		}
		next.pairs[key] = sealed.Pair(p.Policy(), p.Facts())
		next.sealed[key] = o.sealed[key]
	}
	return next
}

// raise takes up the log's message that names a horizon.
func (o *owner) raise(horizon int64) {
	o.at.Position++
	o.at.Horizon = horizon
}

// seal seals the pairs up to the horizon.
func (o *owner) seal() {
	horizon := o.at.Horizon
	for key, p := range o.pairs {
		if p.Seal(horizon, o.at.LogTime) {
			o.fresh[key] = append(o.fresh[key], nil...)
			o.sealed[key] = p.DirtySealed()
			o.unsent[key] = o.sealed[key]
		}
	}
}

// add takes up the next event of the log.
func (o *owner) add(holder, token string, f hold.Fact) {
	key := projection.PairKey{Holder: holder, Token: token}
	if o.pairs[key] == nil {
		o.pairs[key] = hold.NewPair(hold.Sum)
	}
	o.at.Position++
	o.at.Events++
	o.at.LogTime += 1e9
	facts := o.fresh[key]
	if o.pairs[key].Add(f) {
		facts = append(facts, projection.LoggedFact{Fact: f, Position: o.at.Position, LogTime: o.at.LogTime})
	}
	o.fresh[key] = facts
}

func (o *owner) figures(key projection.PairKey) hold.Figures {
	return o.pairs[key].Figures(o.at.LogTime)
}

func (o *owner) holder(name string) projection.HolderRecord {
	h := projection.HolderRecord{Holder: name, UpdatedAt: o.at.LogTime, Position: o.at.Position}
	first := true
	for _, key := range slices.SortedFunc(maps.Keys(o.pairs), projection.PairKey.Compare) {
		switch {
		case key.Holder != name:
		case first:
			h.Figures, first = o.figures(key), false
		default:
			h.Figures = h.Figures.Plus(o.figures(key))
		}
	}
	return h
}

// batch is what is not flushed yet.
func (o *owner) batch() *projection.Batch {
	b := &projection.Batch{Partition: o.partition, Checkpoint: o.at}
	holders := map[string]bool{}
	for _, key := range slices.SortedFunc(maps.Keys(o.fresh), projection.PairKey.Compare) {
		holders[key.Holder] = true
		b.Pairs = append(b.Pairs, projection.PairChange{Key: key, Policy: hold.Sum, Figures: o.figures(key), Facts: o.fresh[key], Sealed: o.unsent[key]})
	}
	for _, name := range slices.Sorted(maps.Keys(holders)) {
		b.Holders = append(b.Holders, o.holder(name))
	}
	return b
}

func (o *owner) flush(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Flush(context.Background(), o.batch()); err != nil {
		t.Fatalf("flush of position %d: %v", o.at.Position, err)
	}
	clear(o.fresh)
	clear(o.unsent)
}

// torn writes a flush that fails before its checkpoint.
func (o *owner) torn(t testing.TB, s *Store, figures bool) {
	t.Helper()
	ctx, b := context.Background(), o.batch()
	if err := s.writeFacts(ctx, b); err != nil {
		t.Fatal(err)
	}
	if err := s.noteSealed(ctx, b, atOf(b.Checkpoint)); err != nil {
		t.Fatal(err)
	}
	if !figures {
		return
	}
	if err := s.writeFigures(ctx, b, atOf(b.Checkpoint)); err != nil {
		t.Fatal(err)
	}
}

// content is what a partition shows.
type content struct {
	checkpoint projection.Checkpoint
	pairs      map[projection.PairKey]hold.Figures
	facts      map[projection.PairKey]int
	holders    map[string]projection.HolderRecord
}

// want is what the partition must show: all pairs as they are.
func (o *owner) want() content {
	c := content{o.at, map[projection.PairKey]hold.Figures{}, map[projection.PairKey]int{}, map[string]projection.HolderRecord{}}
	for key, p := range o.pairs {
		c.pairs[key], c.facts[key] = p.Figures(o.at.LogTime), p.Len()
		c.holders[key.Holder] = o.holder(key.Holder)
	}
	return c
}

// shown reads a partition by all ways, and requires that they say the same.
func shown(t testing.TB, s *Store, partition int) content {
	t.Helper()
	ctx := context.Background()
	v, err := s.View(ctx, partition)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	return shownBy(t, s, partition, v)
}

func shownBy(t testing.TB, s *Store, partition int, v projection.PartitionView) content {
	t.Helper()
	ctx := context.Background()
	c := content{pairs: map[projection.PairKey]hold.Figures{}, facts: map[projection.PairKey]int{}, holders: map[string]projection.HolderRecord{}}
	c.checkpoint, _ = v.Checkpoint()
	err := v.AllPairs(ctx, func(r *projection.PairRecord) error {
		p, err := r.Open()
		if err != nil {
			return err
		}
		c.pairs[r.Key], c.facts[r.Key] = r.Figures, p.Len()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range c.pairs {
		if _, ok := c.holders[key.Holder]; ok {
			continue
		}
		h, err := v.Holder(ctx, key.Holder)
		if err != nil {
			t.Fatalf("holder %q: %v", key.Holder, err)
		}
		c.holders[key.Holder] = *h
	}
	return c
}

// compare compares lines by what they say after both have begun, which is what
// readers may ask for.
func compare(t testing.TB, got, want content) {
	t.Helper()
	if got.checkpoint != want.checkpoint {
		t.Fatalf("checkpoint is %+v, want %+v", got.checkpoint, want.checkpoint)
	}
	if !maps.Equal(got.facts, want.facts) {
		t.Fatalf("facts of pairs are %v, want %v", got.facts, want.facts)
	}
	for key, f := range want.pairs {
		if g := got.pairs[key]; !sameFigures(g, f) {
			t.Errorf("figures of %v are %+v, want %+v", key, g, f)
		}
	}
	for name, h := range want.holders {
		if g := got.holders[name]; !sameFigures(g.Figures, h.Figures) {
			t.Errorf("figures of holder %q are %+v, want %+v", name, g.Figures, h.Figures)
		}
	}
	if len(got.holders) != len(want.holders) {
		t.Errorf("%d holders, want %d", len(got.holders), len(want.holders))
	}
}

func sameFigures(a, b hold.Figures) bool {
	late := max(a.Line.Since, b.Line.Since) + 1e9
	return a.Settled == b.Settled && a.Waiting == b.Waiting && a.Line.At(late) == b.Line.At(late) && a.Line.Rate == b.Line.Rate
}

// second is a time of the tests.
func second(n int64) int64 { return (1_600_000_000 + n) * 1e9 }

func ended(from, to int64) hold.Fact {
	return hold.Fact{Kind: hold.KindHold, Start: second(from), End: second(to)}
}

func opening(from int64) hold.Fact { return hold.Fact{Kind: hold.KindHold, Start: second(from)} }
