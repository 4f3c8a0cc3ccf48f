package mongo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// Bounds of one call of RemoveSealed, so that its caller is soon back.
const (
	removedPairs = 64
	removedFacts = 10_000
)

// removal is a pair whose facts are being removed.
type removal struct {
	key     projection.PairKey
	written at // its document as it was read
	sealed  hold.SealedFacts
	entries bson.A // of sealed, as they are to be
	whole   bool   // the document has all facts
	facts   []bson.Binary
	upTo    int64 // position behind which no fact matters here
}

// RemoveSealed removes facts that what was sealed stands for; see [projection.Store].
//
// It goes by what was sealed at the durable checkpoint or before. The facts behind that
// are no longer needed: every owner begins at that checkpoint or a later one, where what
// was sealed holds. So a superseded owner may call it too, and two owners may at once.
// Their successor does not need what they remove, since its checkpoint is later still.
// They write a document only if it is as they read it. What was sealed by a flush
// without a checkpoint is left alone, since the next owner may begin before it.
//
// The facts go first and the note of them last, so that after a crash the next call
// does it again. A flush of a former owner which had lain somewhere may put one back
// afterwards: it is left out where the pair is opened, and goes when the pair is sealed
// again.
func (s *Store) RemoveSealed(ctx context.Context, partition int) (more bool, err error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return false, err
	}
	defer leave()
	// A flush that comes between would only make the documents be read again.
	part := s.partition(partition)
	part.flush.Lock()
	defer part.flush.Unlock()
	n, err := s.ownSnapshot(ctx, partition)
	if err != nil || !n.flushed {
		return false, err
	}
	notes, keys, err := n.notes(ctx)
	if err != nil || len(notes) == 0 {
		return false, err
	}
	removals, err := n.removals(ctx, keys)
	if err != nil {
		return false, err
	}
	if err := s.inflight.take(ctx); err != nil { // one of those who write to the database
		return false, err
	}
	defer s.inflight.leave()
	if done, err := n.removeFacts(ctx, removals); err != nil || !done {
		return true, err
	}
	if done, err := n.trimPairs(ctx, removals); err != nil || !done {
		return true, err
	}
	err = n.delete(ctx, s.sealed, notes)
	return true, err
}

// notes are the first that the checkpoint has come to, and their pairs.
func (n *snapshot) notes(ctx context.Context) (ids bson.A, keys []projection.PairKey, err error) {
	// Plan: IXSCAN of _id over the partition, FETCH; there are no more documents than
	// what is to be removed.
	filter := bson.D{
		{Key: "_id", Value: bson.D{{Key: "$gte", Value: n.prefix + separator}, {Key: "$lt", Value: n.prefix + afterPrefix}}},
		{Key: "position", Value: bson.D{{Key: "$lte", Value: n.at.position}}},
	}
	err = n.store.try(ctx, n.what("read what is to be removed"), func(context.Context) error {
		ids, keys = nil, nil
		find := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(removedPairs)
		return n.store.scan(ctx, n.store.sealed, filter, find, func(raw bson.Raw) error {
			d := fields{raw: raw}
			key := projection.PairKey{Holder: d.string("holder_id"), Token: d.string("token_id")}
			if d.err != nil {
				return corrupt(sealedName, raw.Lookup("_id"), d.err)
			}
			ids = append(ids, d.string("_id"))
			if len(keys) == 0 || keys[len(keys)-1] != key {
				keys = append(keys, key)
			}
			return nil
		})
	})
	return ids, keys, err
}

// removals reads the documents of pairs.
func (n *snapshot) removals(ctx context.Context, keys []projection.PairKey) (removals []*removal, err error) {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = pairID(n.prefix, k)
	}
	err = n.lookUp(ctx, pairsName, ids, func(id string, raw bson.Raw) error {
		key, err := pairKeyOf(id)
		if err != nil {
			return corrupt(pairsName, id, err)
		}
		d := fields{raw: raw}
		r := &removal{key: key, written: at{d.int64("written"), d.int64("epoch")}, upTo: math.MaxInt64}
		entries := d.sealedEntries()
		best := bestAt(entries, n.at.position)
		if d.err != nil {
			return corrupt(pairsName, id, d.err)
		}
		if best == nil {
			return nil // noted by a flush that ended before it wrote the pair
		}
		if r.sealed, err = hold.ReadSealedFacts(best.data); err != nil {
			return corrupt(pairsName, id, err)
		}
		r.entries = bson.A{bson.D{
			{Key: "position", Value: best.position},
			{Key: "epoch", Value: best.epoch},
			{Key: "count", Value: best.count},
			{Key: "since_ns", Value: best.since},
			{Key: "removed", Value: true},
			{Key: "data", Value: bson.Binary{Data: slices.Clone(best.data)}},
		}}
		for i := range entries {
			if e := &entries[i]; e.position > n.at.position {
				r.entries = append(r.entries, bson.RawValue{Type: e.raw.Type, Value: slices.Clone(e.raw.Value)})
			}
		}
		var carriedFacts []projection.LoggedFact
		if carriedFacts, r.whole = d.carriedFacts(nil, math.MaxInt64); r.whole {
			r.upTo = best.position
			for i := range carriedFacts {
				if f := &carriedFacts[i]; !r.sealed.Covers(&f.Fact) {
					r.facts = append(r.facts, carried(f))
				}
			}
		}
		if d.err != nil {
			return corrupt(pairsName, id, d.err)
		}
		removals = append(removals, r)
		return nil
	})
	return removals, err
}

var errEnough = errors.New("as many as one call removes")

// removeFacts removes from hold_events what the removals stand for, and reports whether
// it removed all of it. Pairs too large for their documents also have other facts there;
// those are noted, up to the size that a document may have.
func (n *snapshot) removeFacts(ctx context.Context, removals []*removal) (done bool, err error) {
	budget := removedFacts
	for some := range slices.Chunk(removals, pairsAtOnce) {
		byKey := map[projection.PairKey]*removal{}
		clauses := make(bson.A, len(some))
		for i, r := range some {
			byKey[r.key] = r
			clauses[i] = bson.D{
				{Key: "holder_id", Value: r.key.Holder},
				{Key: "token_id", Value: r.key.Token},
				{Key: "position", Value: bson.D{{Key: "$lte", Value: r.upTo}}},
				{Key: "partition", Value: int32(n.partition)},
			}
		}
		var gone bson.A
		enough := false
		// Plan: for each clause an IXSCAN of by_pair over the pair's facts up to the
		// position, then FETCH.
		err := n.store.try(ctx, n.what("read facts that were sealed"), func(context.Context) error {
			gone, enough = nil, false
			for _, r := range some {
				if !r.whole {
					r.facts = nil
				}
			}
			err := n.store.scan(ctx, n.store.events, bson.D{{Key: "$or", Value: clauses}}, options.Find(), func(raw bson.Raw) error {
				key, f, err := parseFactDocument(raw, n.partition)
				if err != nil {
					return err
				}
				switch r := byKey[key]; {
				case r.sealed.Covers(&f.Fact):
					if len(gone) == budget {
						return errEnough
					}
					gone = append(gone, factID(n.partition, key, &f.Fact))
				case !r.whole && len(r.facts) < factsKept:
					r.facts = append(r.facts, carried(&f))
				}
				return nil
			})
			if enough = errors.Is(err, errEnough); enough {
				return nil
			}
			return err
		})
		if err != nil {
			return false, err
		}
		if err := n.delete(ctx, n.store.events, gone); err != nil || enough {
			return false, err
		}
		budget -= len(gone)
	}
	return true, nil
}

// delete deletes documents by _id.
func (n *snapshot) delete(ctx context.Context, c *driver.Collection, ids bson.A) error {
	for some := range slices.Chunk(ids, bulkDocuments) {
		err := n.store.try(ctx, fmt.Sprintf("remove from %s of partition %d", c.Name(), n.partition), func(ctx context.Context) error {
			// Plan: IXSCAN of _id.
			_, err := c.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: some}}}})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// trimPairs takes out of the documents what is of no use any more, and reports whether
// all were as they had been read.
func (n *snapshot) trimPairs(ctx context.Context, removals []*removal) (done bool, err error) {
	if len(removals) == 0 {
		return true, nil
	}
	models := make([]driver.WriteModel, len(removals))
	for i, r := range removals {
		facts := make(bson.A, len(r.facts))
		for j := range r.facts {
			facts[j] = r.facts[j]
		}
		// Plan: IXSCAN of _id.
		models[i] = driver.NewUpdateOneModel().
			SetFilter(bson.D{{Key: "_id", Value: pairID(n.prefix, r.key)}, {Key: "epoch", Value: r.written.epoch}, {Key: "written", Value: r.written.position}}).
			SetUpdate(bson.D{{Key: "$set", Value: bson.D{{Key: "sealed", Value: r.entries}, {Key: "facts", Value: facts}}}})
	}
	err = n.store.try(ctx, n.what("trim pairs"), func(ctx context.Context) error {
		result, err := n.store.pairs.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
		done = err == nil && result.MatchedCount == int64(len(models))
		return err
	})
	return done, err
}

// KeysAfter gives the keys of pairs behind one. Pairs that only a flush without a
// checkpoint has written may be among them.
func (s *Store) KeysAfter(ctx context.Context, partition int, after projection.PairKey, most int) (keys []projection.PairKey, err error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	if most <= 0 {
		return nil, nil
	}
	prefix := partitionPrefix(partition)
	from := prefix + separator
	if after != (projection.PairKey{}) {
		from = pairID(prefix, after) + separator // behind it, and before all that begin with it
	}
	err = s.try(ctx, fmt.Sprintf("read keys of partition %d", partition), func(context.Context) error {
		keys = nil
		// Plan: IXSCAN of _id, in its order, which covers the query.
		filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: from}, {Key: "$lt", Value: prefix + afterPrefix}}}}
		find := options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(most)).SetProjection(bson.D{{Key: "_id", Value: 1}})
		return s.scan(ctx, s.pairs, filter, find, func(raw bson.Raw) error {
			id, _ := raw.Lookup("_id").StringValueOK()
			key, err := pairKeyOf(id)
			if err != nil {
				return corrupt(pairsName, raw.Lookup("_id"), err)
			}
			keys = append(keys, key)
			return nil
		})
	})
	return keys, err
}
