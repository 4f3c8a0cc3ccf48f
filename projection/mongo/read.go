package mongo

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// snapshot reads a partition as it is at a checkpoint.
type snapshot struct {
	store     *Store
	partition int
	prefix    string
	at        at
	flushed   bool
	own       bool // it is its owner who reads
}

func (s *Store) snapshot(partition int, where at, flushed bool) snapshot {
	return snapshot{store: s, partition: partition, prefix: partitionPrefix(partition), at: where, flushed: flushed}
}

// ownSnapshot is the partition as its owner goes on from it.
func (s *Store) ownSnapshot(ctx context.Context, partition int) (snapshot, error) {
	where, flushed, mine, err := s.owned(ctx, partition)
	n := s.snapshot(partition, where, flushed)
	n.own = mine
	return n, err
}

// Holder reads one holder.
func (s *Store) Holder(ctx context.Context, partition int, holder string) (*projection.HolderRecord, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	c, flushed, err := s.checkpoint(ctx, partition)
	if err != nil {
		return nil, err
	}
	n := s.snapshot(partition, atOf(c), flushed)
	return n.holder(ctx, holder)
}

// Load reads pairs as the owner goes on from them. Pairs of few facts take one
// look-up for all of them, those of many one query for every 32.
func (s *Store) Load(ctx context.Context, partition int, keys []projection.PairKey) ([]*projection.PairRecord, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	n, err := s.ownSnapshot(ctx, partition)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = pairID(n.prefix, k)
	}
	byID := map[string]*loading{}
	err = n.lookUp(ctx, pairsName, ids, func(id string, raw bson.Raw) error {
		l, err := n.parsePair(id, raw)
		byID[id] = l
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := n.complete(ctx, slices.Collect(maps.Values(byID))...); err != nil {
		return nil, err
	}
	records := make([]*projection.PairRecord, len(keys))
	given := map[string]bool{}
	for i, id := range ids {
		l := byID[id]
		switch {
		case l == nil || !l.found:
		case given[id]: // asked for twice
			records[i] = l.record.Clone()
		default:
			given[id] = true
			records[i] = &l.record
		}
	}
	return records, nil
}

// LoadHolders reads holders as the owner goes on from them.
func (s *Store) LoadHolders(ctx context.Context, partition int, holders []string) ([]*projection.HolderRecord, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return nil, err
	}
	defer leave()
	n, err := s.ownSnapshot(ctx, partition)
	if err != nil {
		return nil, err
	}
	return n.holders(ctx, holders)
}

// HolderPairs walks the figures of a holder's pairs.
func (s *Store) HolderPairs(ctx context.Context, partition int, holder string, fn func(projection.PairKey, hold.Figures) error) error {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return err
	}
	defer leave()
	n, err := s.ownSnapshot(ctx, partition)
	if err != nil || !n.flushed {
		return err
	}
	find := func() *options.FindOptionsBuilder {
		return options.Find().SetProjection(bson.D{{Key: "facts", Value: 0}, {Key: "sealed", Value: 0}})
	}
	id := holderID(n.prefix, holder)
	return s.walk(ctx, n.what("read figures of pairs"), s.pairs, id+separator, id+afterPrefix, nil, find, func(id string, raw bson.Raw) error {
		l, err := n.parsePair(id, raw)
		if err != nil {
			return err
		}
		if l.lost { // and its facts were left out
			if l, err = n.pair(ctx, id); err != nil {
				return err
			}
		}
		if !l.found {
			return nil
		}
		return stop(fn(l.record.Key, l.record.Figures))
	})
}

// pair reads a pair that is known to be there, with its facts.
func (n *snapshot) pair(ctx context.Context, id string) (l *loading, err error) {
	err = n.lookUp(ctx, pairsName, []string{id}, func(id string, raw bson.Raw) error {
		l, err = n.parsePair(id, raw)
		return err
	})
	if err == nil && l == nil {
		err = corrupt(pairsName, id, errGone)
	}
	if err != nil {
		return nil, err
	}
	return l, n.complete(ctx, l)
}

// stop marks the error of a callback.
func stop(err error) error {
	if err == nil {
		return nil
	}
	return &stopped{err}
}

// ChangedSince walks the holders that have changed.
func (s *Store) ChangedSince(ctx context.Context, partition int, position uint64, fn func(*projection.HolderRecord) error) error {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return err
	}
	defer leave()
	n, err := s.ownSnapshot(ctx, partition)
	if err != nil || !n.flushed || position >= uint64(n.at.position) {
		return err
	}
	find := func() *options.FindOptionsBuilder { return options.Find() }
	var further bson.D
	if position > 0 {
		// The present position of a document is not below that of any of its
		// versions which counts, so the index leaves out none. What it finds is
		// sorted by _id, on disk where that takes more than the server's 100 MB.
		further = bson.D{{Key: "partition", Value: int32(partition)}, {Key: "position", Value: bson.D{{Key: "$gt", Value: int64(position)}}}}
		find = func() *options.FindOptionsBuilder {
			return options.Find().SetHint(byPosition).SetAllowDiskUse(true)
		}
	}
	from, to := n.prefix+separator, n.prefix+afterPrefix
	return s.walk(ctx, n.what("read changed holders"), s.stats, from, to, further, find, func(id string, raw bson.Raw) error {
		h, err := n.parseHolder(ctx, id, raw)
		if err != nil || h == nil || h.Position <= position {
			return err
		}
		return stop(fn(h))
	})
}

// Holders walks the holders of a partition behind one.
func (s *Store) Holders(ctx context.Context, partition int, after string, fn func(*projection.HolderRecord) error) error {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return err
	}
	defer leave()
	c, flushed, err := s.checkpoint(ctx, partition)
	if err != nil || !flushed {
		return err
	}
	n := s.snapshot(partition, atOf(c), flushed)
	from := n.prefix + separator
	if after != "" {
		from = holderID(n.prefix, after) + afterPrefix // no other id begins with a whole one and what ends it
	}
	find := func() *options.FindOptionsBuilder { return options.Find() }
	return s.walk(ctx, n.what("read holders"), s.stats, from, n.prefix+afterPrefix, nil, find, func(id string, raw bson.Raw) error {
		h, err := n.parseHolder(ctx, id, raw)
		if err != nil || h == nil {
			return err
		}
		return stop(fn(h))
	})
}

func (n *snapshot) what(doing string) string {
	return fmt.Sprintf("%s of partition %d", doing, n.partition)
}

// lookUp reads documents by _id.
func (n *snapshot) lookUp(ctx context.Context, collection string, ids []string, fn func(id string, raw bson.Raw) error) error {
	if !n.flushed {
		return nil
	}
	c, what := n.store.pairs, "read pairs"
	if collection == statsName {
		c, what = n.store.stats, "read holders"
	}
	for some := range slices.Chunk(ids, scanBatch) {
		// Plan: IXSCAN of _id.
		filter := bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: some}}}}
		err := n.store.try(ctx, n.what(what), func(context.Context) error {
			return n.store.scan(ctx, c, filter, options.Find(), func(raw bson.Raw) error {
				id, ok := raw.Lookup("_id").StringValueOK()
				if !ok {
					return corrupt(collection, raw.Lookup("_id"), errID)
				}
				return fn(id, raw)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
