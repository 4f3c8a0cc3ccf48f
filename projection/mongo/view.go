package mongo

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/internal/inuse"
	"holdmetrics/projection"
)

// view is a partition at one checkpoint. It pins nothing in the database.
type view struct {
	snapshot
	checkpoint projection.Checkpoint
	leave      func() // nil: closed
}

// View opens a view of one partition.
func (s *Store) View(ctx context.Context, partition int) (projection.PartitionView, error) {
	if err := checkPartition(partition); err != nil {
		return nil, err
	}
	leave, err := s.enterAs(ctx, (*inuse.Count).View)
	if err != nil {
		return nil, err
	}
	c, flushed, err := s.checkpoint(ctx, partition)
	if err != nil {
		leave()
		return nil, err
	}
	return &view{snapshot: s.snapshot(partition, atOf(c), flushed), checkpoint: c, leave: leave}, nil
}

func (v *view) Close() error {
	if v.leave != nil {
		v.leave()
		v.leave = nil
	}
	return nil
}

func (v *view) usable(ctx context.Context) error {
	if v.leave == nil {
		return errViewClosed
	}
	return ctx.Err()
}

func (v *view) Checkpoint() (projection.Checkpoint, bool) { return v.checkpoint, v.flushed }

func (v *view) Holder(ctx context.Context, holder string) (*projection.HolderRecord, error) {
	if err := v.usable(ctx); err != nil {
		return nil, err
	}
	return v.holder(ctx, holder)
}

func (v *view) Pairs(ctx context.Context, holder string, fn func(*projection.PairRecord) error) error {
	if err := v.usable(ctx); err != nil {
		return err
	}
	id := holderID(v.prefix, holder)
	return v.pairs(ctx, id+separator, id+afterPrefix, 0, func(l *loading) error { return stop(fn(&l.record)) })
}

func (v *view) AllPairs(ctx context.Context, fn func(*projection.PairRecord) error) error {
	if err := v.usable(ctx); err != nil {
		return err
	}
	return v.pairs(ctx, v.prefix+separator, v.prefix+afterPrefix, 0, func(l *loading) error { return stop(fn(&l.record)) })
}

func (v *view) PairsAfter(ctx context.Context, after projection.PairKey, most int, fn func(*projection.PairRecord) error) (more bool, err error) {
	if err := v.usable(ctx); err != nil {
		return false, err
	}
	from := v.prefix + separator
	if after != (projection.PairKey{}) {
		from = pairID(v.prefix, after) + separator // before every other id that begins with this one
	}
	given := 0
	// One more than the pairs that are wanted tells whether there are more.
	err = v.pairs(ctx, from, v.prefix+afterPrefix, most+1, func(l *loading) error {
		if given == most {
			return stop(errEnough)
		}
		given++
		return stop(fn(&l.record))
	})
	if err == errEnough {
		return true, nil
	}
	return false, err
}

// pairs walks the pairs whose _id is in a range, by holder, then token, each with its
// facts. batch is how many come at once; 0: scanBatch.
func (n *snapshot) pairs(ctx context.Context, from, to string, batch int, fn func(*loading) error) error {
	if !n.flushed {
		return nil
	}
	find := func() *options.FindOptionsBuilder {
		if batch == 0 {
			return options.Find()
		}
		return options.Find().SetBatchSize(int32(batch))
	}
	return n.store.walk(ctx, n.what("read pairs"), n.store.pairs, from, to, nil, find, func(id string, raw bson.Raw) error {
		l, err := n.parsePair(id, raw)
		if err != nil {
			return err
		}
		if err := n.complete(ctx, l); err != nil || !l.found {
			return err
		}
		return fn(l)
	})
}
