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
	return v.pairs(ctx, holderID(v.prefix, holder), func(l *loading) error { return stop(fn(&l.record)) })
}

func (v *view) AllPairs(ctx context.Context, fn func(*projection.PairRecord) error) error {
	if err := v.usable(ctx); err != nil {
		return err
	}
	return v.pairs(ctx, v.prefix, func(l *loading) error { return stop(fn(&l.record)) })
}

// pairs walks the pairs under an _id's prefix, by holder, then token, each with
// its facts.
func (n *snapshot) pairs(ctx context.Context, prefix string, fn func(*loading) error) error {
	if !n.flushed {
		return nil
	}
	find := func() *options.FindOptionsBuilder { return options.Find() }
	return n.store.walk(ctx, n.what("read pairs"), n.store.pairs, prefix+separator, prefix+afterPrefix, nil, find, func(id string, raw bson.Raw) error {
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
