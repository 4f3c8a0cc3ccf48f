package mongo

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	driver "go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"holdmetrics/projection"
)

// Checkpoint says how far the partition is.
func (s *Store) Checkpoint(ctx context.Context, partition int) (projection.Checkpoint, bool, error) {
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return projection.Checkpoint{}, false, err
	}
	defer leave()
	return s.checkpoint(ctx, partition)
}

// checkpoint reads the checkpoint. Where a primary that has just been elected
// knows less than this store has been acknowledged, that counts.
func (s *Store) checkpoint(ctx context.Context, partition int) (c projection.Checkpoint, flushed bool, err error) {
	err = s.try(ctx, fmt.Sprintf("read the checkpoint of partition %d", partition), func(ctx context.Context) error {
		raw, err := s.settled.FindOne(ctx, bson.D{{Key: "_id", Value: int32(partition)}}).Raw() // Plan: IXSCAN of _id.
		if errors.Is(err, driver.ErrNoDocuments) {
			c, flushed = projection.Checkpoint{}, false
			return nil
		}
		if err != nil {
			return err
		}
		c, flushed, err = parseCheckpoint(raw)
		return err
	})
	if err != nil {
		return projection.Checkpoint{}, false, err
	}
	part := s.partition(partition)
	part.mu.Lock()
	defer part.mu.Unlock()
	if part.some && (c.Epoch < part.last.Epoch || c.Epoch == part.last.Epoch && c.Position < part.last.Position) {
		return part.last, true, nil
	}
	return c, flushed, nil
}

// owned is the checkpoint that the owner's reads are of: the one that this store
// has claimed or written (mine), else the one that is stored.
func (s *Store) owned(ctx context.Context, partition int) (where at, flushed, mine bool, err error) {
	part := s.partition(partition)
	part.mu.Lock()
	mine, base, some := part.mine, part.base, part.some
	part.mu.Unlock()
	if mine {
		return base, some, true, nil
	}
	c, flushed, err := s.checkpoint(ctx, partition)
	return atOf(c), flushed, false, err
}

func atOf(c projection.Checkpoint) at { return at{int64(c.Position), int64(c.Epoch)} }

// own notes what an owner of this store goes on from.
func (p *partition) own(c projection.Checkpoint, flushed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mine, p.base, p.last, p.some = true, atOf(c), c, flushed
}

// Claim makes the caller the partition's owner of that epoch, and says where to go
// on; see [projection.Store].
func (s *Store) Claim(ctx context.Context, partition int, epoch uint64) (projection.Checkpoint, bool, error) {
	none := projection.Checkpoint{}
	leave, err := s.enterPartition(ctx, partition)
	if err != nil {
		return none, false, err
	}
	defer leave()
	e, err := toInt64("epoch", epoch)
	if err != nil {
		return none, false, err
	}
	part := s.partition(partition)
	part.flush.Lock()
	defer part.flush.Unlock()
	var (
		c       projection.Checkpoint
		flushed bool
	)
	err = s.try(ctx, fmt.Sprintf("claim partition %d", partition), func(ctx context.Context) error {
		// Plan: IXSCAN of _id. The answer is that of a write which a majority has, so
		// nothing that stood before it can be rolled back.
		raw, err := s.checkpoints.FindOneAndUpdate(ctx,
			bson.D{{Key: "_id", Value: int32(partition)}, {Key: "epoch", Value: bson.D{{Key: "$lte", Value: e}}}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "epoch", Value: e}}}, {Key: "$setOnInsert", Value: bson.D{{Key: "position", Value: int64(-1)}}}},
			options.FindOneAndUpdate().SetUpsert(true).SetReturnDocument(options.After),
		).Raw()
		if driver.IsDuplicateKeyError(err) {
			return s.fencedOr(ctx, partition, e, errRaced)
		}
		if err != nil {
			return err
		}
		c, flushed, err = parseCheckpoint(raw)
		return err
	})
	if err != nil {
		return none, false, err
	}
	part.own(c, flushed)
	return c, flushed, nil
}

// errRaced: an upsert lost against another one, and is to be tried again.
var errRaced = errors.New("another write came in between")

// fencedOr is the error of an owner of an epoch where a newer one has written the
// checkpoint, else the one given.
func (s *Store) fencedOr(ctx context.Context, partition int, epoch int64, otherwise error) error {
	stored, _, err := s.peek(ctx, partition)
	if err == nil && stored.epoch > epoch {
		return fenced(partition, stored.epoch, epoch)
	}
	return errors.Join(err, otherwise)
}

// peek reads a checkpoint as the primary has it.
func (s *Store) peek(ctx context.Context, partition int) (at, bool, error) {
	raw, err := s.checkpoints.FindOne(ctx, bson.D{{Key: "_id", Value: int32(partition)}}).Raw() // Plan: IXSCAN of _id.
	if errors.Is(err, driver.ErrNoDocuments) {
		return at{}, false, nil
	}
	if err != nil {
		return at{}, false, err
	}
	c, flushed, err := parseCheckpoint(raw)
	return atOf(c), flushed, err
}

// mayFlush looks, before anything is written, for a newer owner, and whether what
// was acknowledged is still there: on top of an older state a flush would be wrong.
func (s *Store) mayFlush(ctx context.Context, part *partition, partition int, epoch int64) error {
	return s.try(ctx, fmt.Sprintf("look at the checkpoint of partition %d", partition), func(ctx context.Context) error {
		stored, flushed, err := s.peek(ctx, partition)
		if err != nil {
			return err
		}
		if stored.epoch > epoch {
			return fenced(partition, stored.epoch, epoch)
		}
		part.mu.Lock()
		defer part.mu.Unlock()
		if part.some && (!flushed || stored.position < part.base.position) {
			return fmt.Errorf("%w: partition %d: the database acknowledged position %d and now has %d; was it dropped, or restored from a backup? Start again, to go on from what is there",
				projection.ErrCorrupt, partition, part.base.position, stored.position)
		}
		return nil
	})
}

func fenced(partition int, stored, mine int64) error {
	return &projection.FencedError{Partition: partition, Stored: uint64(stored), Mine: uint64(mine)}
}

// writeCheckpoint is the end of a flush.
func (s *Store) writeCheckpoint(ctx context.Context, partition int, c *projection.Checkpoint) error {
	where := atOf(*c)
	// Pairs can be sealed without an event, so a checkpoint may say of the same
	// position that more of them are.
	passes := append(older("position", where), bson.D{
		{Key: "epoch", Value: where.epoch}, {Key: "position", Value: where.position}, {Key: "swept_ns", Value: bson.D{{Key: "$lt", Value: c.Swept}}},
	})
	filter := bson.D{{Key: "_id", Value: int32(partition)}, {Key: "$or", Value: passes}}
	update := bson.D{{Key: "$set", Value: bson.D{
		{Key: "epoch", Value: where.epoch},
		{Key: "position", Value: where.position},
		{Key: "log_id", Value: c.LogID},
		{Key: "log_time", Value: dateOf(c.LogTime)},
		{Key: "log_time_ns", Value: c.LogTime},
		{Key: "events", Value: int64(c.Events)},
		{Key: "rejected", Value: int64(c.Rejected)},
		{Key: "horizon_ns", Value: c.Horizon},
		{Key: "swept_ns", Value: c.Swept},
		{Key: "hash", Value: int64(c.Hash)},
		{Key: "messages", Value: int64(c.Messages)},
	}}}
	return s.try(ctx, fmt.Sprintf("write the checkpoint of partition %d", partition), func(ctx context.Context) error {
		// Plan: IXSCAN of _id.
		_, err := s.checkpoints.UpdateOne(ctx, filter, update, options.UpdateOne().SetUpsert(true))
		if !driver.IsDuplicateKeyError(err) {
			return err
		}
		raw, err := s.checkpoints.FindOne(ctx, bson.D{{Key: "_id", Value: int32(partition)}}).Raw()
		if err != nil {
			return err
		}
		stored, _, err := parseCheckpoint(raw)
		switch {
		case err != nil:
			return err
		case stored.Epoch > c.Epoch:
			return fenced(partition, int64(stored.Epoch), where.epoch)
		case stored.Epoch < c.Epoch || stored.Position < c.Position:
			return errRaced
		case stored.Position > c.Position:
			return fmt.Errorf("%w: partition %d: a checkpoint of position %d after one of %d, in one epoch",
				projection.ErrBatch, partition, c.Position, stored.Position)
		}
		return nil // written already: an answer was lost
	})
}
