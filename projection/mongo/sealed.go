package mongo

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// What was sealed of a pair stands in its document, under sealed, as one flush or
// several have written it, each with its position.
//
// One of position Q holds at every checkpoint of position Q or later. It does not
// matter which owner wrote it, or whether its flush reached its checkpoint. The log up
// to Q alone decides what can be sealed, and what may still be said afterwards. A pair
// of which something is sealed goes on as one of which nothing is. Of those that
// hold at a checkpoint the one of the greatest count counts, which stands for all that
// the others do. So, unlike versions of figures, they need no epochs to distinguish them,
// and one need not be followed by another; and none is ever pushed out by a later one:
// only RemoveSealed takes away those that the durable checkpoint has no use for.
//
// The facts that they stand for are there for a while, or are not. They are left out
// where the pair is opened. A reader at an earlier checkpoint than Q has no use for
// what was sealed at Q, and needs the facts: see [snapshot.standing].

// sealedEntry is one of those.
type sealedEntry struct {
	position int64
	epoch    int64 // of who wrote it; it matters to nobody
	count    int64
	since    int64 // ns: the pair's last event was not later than that, nor anything in it
	removed  bool  // its facts do not stand in the document any more
	data     []byte
	raw      bson.RawValue
}

// sealedEntries reads them.
func (d *fields) sealedEntries() (entries []sealedEntry) {
	for _, value := range d.optionalArray("sealed") {
		raw, ok := value.DocumentOK()
		if !ok {
			d.fail("sealed", errType)
			return nil
		}
		v := fields{raw: raw}
		e := sealedEntry{position: v.int64("position"), epoch: v.int64("epoch"), count: v.int64("count"), since: v.int64("since_ns"), raw: value}
		e.removed, _ = raw.Lookup("removed").BooleanOK()
		if _, e.data, ok = raw.Lookup("data").BinaryOK(); !ok {
			v.fail("data", errType)
		}
		if v.err != nil {
			d.fail("sealed", v.err)
			return nil
		}
		entries = append(entries, e)
	}
	return entries
}

// hasSealed reports whether what a flush of a position has sealed stands there, or more.
func (d *fields) hasSealed(c *projection.PairChange, position int64) bool {
	s, _ := hold.ReadSealedFacts(c.Sealed)
	best := bestAt(d.sealedEntries(), position)
	if d.err != nil {
		return true // which the next look at it says
	}
	return best != nil && uint64(best.count) >= s.Count()
}

// bestAt is what counts at a position, or nil.
func bestAt(entries []sealedEntry, position int64) (best *sealedEntry) {
	for i := range entries {
		if e := &entries[i]; e.position <= position && (best == nil || e.count > best.count) {
			best = e
		}
	}
	return best
}

// sealedOf takes what was sealed into a pair that is loaded.
func (d *fields) sealedOf(l *loading, position int64) {
	entries := d.sealedEntries()
	if best := bestAt(entries, position); best != nil {
		var err error
		l.record.Sealed = bytes.Clone(best.data)
		l.sealedAt, l.since = uint64(best.position), best.since
		if l.sealed, err = hold.ReadSealedFacts(l.record.Sealed); err != nil {
			d.fail("sealed", err)
		}
	}
	for i := range entries {
		if e := &entries[i]; e.position > position {
			l.cut = l.cut || e.removed
			if l.beyond == 0 || e.position < l.beyond {
				l.beyond = e.position
			}
		}
	}
}

// standing reports whether the facts of pairs that were just read are all that they
// have at the snapshot's checkpoint.
//
// Facts that were sealed at a position Q are removed only when a checkpoint of Q or
// later is durable. A reader at an earlier checkpoint may then miss some. In the pair's
// own document, which is read at once, that shows (removed). Of facts that were read
// from hold_events it does not, so the pairs are looked at once more, and after that
// the checkpoint: if the removal had begun when the facts were read, then what it goes
// by stood there, or what it was replaced with, and the checkpoint had come to it.
//
// The owner's own reads do not have to look: it does not remove while it reads, and
// another one who removes is a newer owner. What the older one then makes of what it
// reads can do no harm: its figures, checkpoints and snapshots are refused, and what
// it takes for admitted though it is not is of a hold_id that was sealed, which is
// left out wherever the pair is opened.
func (n *snapshot) standing(ctx context.Context, pairs []*loading) error {
	var apart []*loading // of pairs whose facts were read from hold_events
	for _, l := range pairs {
		switch {
		case !l.found && !l.lost:
		case l.whole && l.cut:
			return n.outdated(ctx, l)
		case !l.whole && (!n.own || l.beyond > 0):
			apart = append(apart, l)
		}
	}
	if len(apart) == 0 {
		return nil
	}
	c, _, err := n.store.checkpoint(ctx, n.partition)
	if err != nil || c.Horizon == 0 || int64(c.Position) <= n.at.position {
		return err
	}
	if err := n.lookBeyond(ctx, apart); err != nil {
		return err
	}
	if c, _, err = n.store.checkpoint(ctx, n.partition); err != nil {
		return err
	}
	for _, l := range apart {
		if l.beyond > 0 && l.beyond <= int64(c.Position) {
			return n.outdated(ctx, l)
		}
	}
	return nil
}

// lookBeyond reads again what was sealed of pairs behind the snapshot.
func (n *snapshot) lookBeyond(ctx context.Context, pairs []*loading) error {
	byID, ids := map[string]*loading{}, make(bson.A, len(pairs))
	for i, l := range pairs {
		id := pairID(n.prefix, l.record.Key)
		byID[id], ids[i] = l, id
	}
	// Plan: IXSCAN of _id.
	filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}
	return n.store.try(ctx, n.what("look at what was sealed"), func(context.Context) error {
		return n.store.scan(ctx, n.store.pairs, filter, options.Find().SetProjection(bson.D{{Key: "sealed", Value: 1}}), func(raw bson.Raw) error {
			id, _ := raw.Lookup("_id").StringValueOK()
			d := fields{raw: raw}
			for _, e := range d.sealedEntries() {
				if l := byID[id]; l != nil && e.position > n.at.position && (l.beyond == 0 || e.position < l.beyond) {
					l.beyond = e.position
				}
			}
			if d.err != nil {
				return corrupt(pairsName, id, d.err)
			}
			return nil
		})
	})
}

// outdated is the error of a snapshot whose facts are gone.
func (n *snapshot) outdated(ctx context.Context, l *loading) error {
	err := fmt.Errorf("%w: partition %d at position %d: facts of holder %q and token %q were sealed since, and removed",
		projection.ErrOutdated, n.partition, n.at.position, l.record.Key.Holder, l.record.Key.Token)
	if n.own {
		return n.store.fencedOr(ctx, n.partition, n.at.epoch, err)
	}
	return err
}

// noteSealed notes, before anything of a flush can be seen, of which pairs there will
// be facts to remove: a document of hold_sealed for each, which is there until they
// are gone. One that is not needed after all is taken away like the others.
func (s *Store) noteSealed(ctx context.Context, b *projection.Batch, where at) error {
	prefix := partitionPrefix(b.Partition)
	var models []driver.WriteModel
	for i := range b.Pairs {
		if c := &b.Pairs[i]; c.Sealed != nil {
			if _, err := hold.ReadSealedFacts(c.Sealed); err != nil {
				return fmt.Errorf("%w: pair %v: %w", projection.ErrBatch, c.Key, err)
			}
			models = append(models, driver.NewInsertOneModel().SetDocument(noteDocument(prefix, b.Partition, where.position, c.Key)))
		}
	}
	if len(models) == 0 {
		return nil
	}
	if err := s.format.raise(ctx); err != nil {
		return err
	}
	what := fmt.Sprintf("note what was sealed of partition %d", b.Partition)
	bulks := startBulks(ctx, &s.inflight)
	for some := range slices.Chunk(models, bulkDocuments) {
		bulks.start(func(ctx context.Context) error {
			return s.try(ctx, what, func(ctx context.Context) error {
				_, err := splitDuplicates(s.bulk(ctx, s.sealed, some))
				return err
			})
		})
	}
	return bulks.wait()
}

// noteDocument is that of a pair of which something was sealed at a position.
func noteDocument(prefix string, partition int, position int64, k projection.PairKey) bson.D {
	return bson.D{
		{Key: "_id", Value: fmt.Sprintf("%s%s%016x", pairID(prefix, k), separator, position)},
		{Key: "holder_id", Value: k.Holder},
		{Key: "token_id", Value: k.Token},
		{Key: "partition", Value: int32(partition)},
		{Key: "position", Value: position},
	}
}

// sealedIDs is the most hold_ids of one pair of which something may be sealed. Each
// leaves 8 bytes in the pair's document, which has room for 16 MB, and for what several
// flushes that got no checkpoint have written.
const sealedIDs = 100_000
