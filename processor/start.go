package processor

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"holdmetrics/projection"
)

// start finds out where to go on, and brings the bucket up to there.
func (p *partition) start(ctx context.Context) error {
	var (
		checkpoint projection.Checkpoint
		found      bool
	)
	err := p.retry(ctx, "read the checkpoint", func(ctx context.Context) (err error) {
		checkpoint, found, err = p.store.Checkpoint(ctx, p.id)
		return err
	})
	if err != nil {
		return p.fail("read the checkpoint", err)
	}
	if found && checkpoint.LogID != p.log.ID() {
		return &ForeignLogError{Partition: p.id, Checkpoint: checkpoint.LogID, ID: p.log.ID()}
	}
	p.loadedEpoch = checkpoint.Epoch
	if p.term == nil {
		p.epoch, err = p.cfg.Epoch(ctx, p.id, checkpoint.Epoch)
	} else {
		err = p.raiseFence(ctx)
	}
	if err != nil {
		return p.fail("take the partition's epoch", err)
	}
	claims := p.store.Capabilities().Claims
	if claims || p.term != nil {
		// An owner that does not know yet that it was followed may have written one
		// checkpoint more, but from here on none.
		err := p.retry(ctx, "claim the partition in the store", func(ctx context.Context) (err error) {
			if err := p.owned(); err != nil {
				return err
			}
			if claims {
				checkpoint, found, err = p.store.Claim(ctx, p.id, p.epoch)
			} else {
				checkpoint, found, err = p.claim(ctx)
			}
			return err
		})
		if err != nil {
			return p.fail("claim the partition in the store", err)
		}
	}
	end, has, err := p.end(ctx, checkpoint.Position)
	if err != nil {
		return p.fail("read the end of the log", err)
	}
	if !has {
		return &LogShorterError{Partition: p.id, Checkpoint: checkpoint.Position, End: end}
	}
	last, err := p.countStretch(ctx, &checkpoint)
	if err != nil {
		return err
	}
	p.mem.hash, p.mem.tail = checkpoint.Hash, max(end, last, checkpoint.Position)
	p.mem.position, p.flush.encoded, p.flush.stored, p.mem.clock = checkpoint.Position, checkpoint.Position, checkpoint.Position, checkpoint.LogTime
	p.flush.storedTime, p.flush.fresh = checkpoint.LogTime, checkpoint.Position == 0
	p.feed.goal = min(p.mem.tail, p.cfg.Goal)
	p.mem.unstored = !found
	p.mem.events, p.mem.rejected = checkpoint.Events, checkpoint.Rejected
	p.mem.horizon, p.mem.swept, p.flush.encodedSweep = checkpoint.Horizon, checkpoint.Swept, checkpoint.Swept
	if p.mem.horizon != 0 {
		p.seals.removable() // what was not removed when a former owner ended
	}
	if err := p.pub.startBucket(ctx); err != nil {
		return p.fail("bring the snapshot bucket up to the checkpoint", err)
	}
	p.board.set(func(s *PartitionStatus) {
		s.State, s.Checkpoint, s.Published = CatchingUp, p.flush.encoded, p.pub.published
	})
	p.note()
	level := zap.DebugLevel
	if p.term != nil { // it was another worker's, or nobody's
		level = zap.InfoLevel
	}
	if line := p.logger.Check(level, "partition taken"); line != nil {
		line.Write(zap.Uint64("position", p.mem.position), zap.Uint64("end", p.mem.tail), zap.Uint64("epoch", p.epoch))
	}
	return nil
}

// ownershipTerm is one owner's time with a partition; *lease.Lease is the one that counts.
type ownershipTerm interface {
	Revision() uint64                  // greater than that of every former owner
	Err() error                        // wraps lease.ErrLost as soon as it may be over
	Confirm(ctx context.Context) error // nil: nobody was the owner since the call before
}

// fencedSnapshots writes one partition's snapshots behind a fence; *projection.Fence
// is the one that counts.
type fencedSnapshots interface {
	snapshots
	Epoch() uint64
	Former() uint64
}

// fencer is a bucket that has fences.
type fencer interface {
	fence(ctx context.Context, partition int, epoch func(ctx context.Context, former uint64) (uint64, error)) (fencedSnapshots, error)
}

// fencedBucket is a bucket whose partitions have owners that follow one another.
type fencedBucket struct{ *projection.Snapshots }

func (b fencedBucket) fence(ctx context.Context, partition int, epoch func(context.Context, uint64) (uint64, error)) (fencedSnapshots, error) {
	f, err := b.Fence(ctx, partition, epoch)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// take puts up this owner's fence, and gives it its epoch.
//
// The epoch is greater than that of the lease, of the checkpoint and of the fence
// before. Two owners cannot come by the same one: the fence is put up only over
// the one that was looked at, and the lease is confirmed between the two. So
// an owner that slept anywhere in here finds out at the next step.
//
// Then the store learns the epoch, before anything is read from it. From there on it
// refuses the former owner's checkpoints and figures, so what is loaded stays as
// it was loaded. A store whose flushes are not atomic may still take some figures
// of a flush that was under way; those are of messages up to the end of the log,
// as it is read after this (tail), and up to there no figure of a holder is trusted.
func (p *partition) raiseFence(ctx context.Context) error {
	above := func(ctx context.Context, former uint64) (uint64, error) {
		if err := p.term.Confirm(ctx); err != nil {
			return 0, err
		}
		return max(p.term.Revision(), p.loadedEpoch+1, former+1), nil
	}
	bucket, ok := p.pub.bucket.(fencer)
	if !ok {
		return p.retry(ctx, "confirm the lease", func(ctx context.Context) (err error) {
			p.epoch, err = above(ctx, 0)
			return err
		})
	}
	return p.retry(ctx, "put up the fence", func(ctx context.Context) error {
		fence, err := bucket.fence(ctx, p.id, above)
		if err == nil {
			p.pub.bucket, p.epoch = fence, fence.Epoch()
		}
		return err
	})
}

// claim is Claim of a [projection.Store] that has none: its own checkpoint
// is written back under the new epoch.
func (p *partition) claim(ctx context.Context) (c projection.Checkpoint, found bool, err error) {
	c, found, err = p.store.Checkpoint(ctx, p.id)
	if err != nil {
		return c, false, err
	}
	if !found {
		c = projection.Checkpoint{LogID: p.log.ID()}
	}
	c.Epoch = p.epoch
	return c, found, p.store.Flush(ctx, &projection.Batch{Partition: p.id, Checkpoint: c})
}

// owned says why the partition is not to be written any more; nil: it is.
func (s *scope) owned() error {
	if s.term == nil {
		return nil
	}
	if err := s.term.Err(); err != nil {
		return fmt.Errorf("processor: partition %d is another worker's: %w", s.id, err)
	}
	return nil
}

// knowsFormer reports whether the store is the one to which the former owner of the
// bucket wrote. It is where it has the epoch of the former fence, or a later one: an
// owner publishes nothing before the store has his epoch. Then what the bucket has
// beyond the checkpoint follows from the log and this very store, and need not be
// published again.
func (p *publisher) knowsFormer() bool {
	f, ok := p.bucket.(fencedSnapshots)
	return ok && f.Former() > 0 && p.loadedEpoch >= f.Former()
}
