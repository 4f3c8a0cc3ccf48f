package processor

import (
	"context"

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
		return fail(p, "read the checkpoint", err)
	}
	if found && checkpoint.LogID != p.log.ID() {
		return &ForeignLogError{Partition: p.id, Checkpoint: checkpoint.LogID, ID: p.log.ID()}
	}
	p.found = checkpoint.Epoch
	if p.tenure == nil {
		p.epoch, err = p.cfg.Epoch(ctx, p.id, checkpoint.Epoch)
	} else {
		err = p.take(ctx)
	}
	if err != nil {
		return fail(p, "take the partition's epoch", err)
	}
	claimer, claims := p.store.(projection.Claimer)
	if claims || p.tenure != nil {
		// An owner that does not know yet that it was followed may have written one
		// checkpoint more, but from here on none.
		err := p.retry(ctx, "claim the partition in the store", func(ctx context.Context) (err error) {
			if err := p.owned(); err != nil {
				return err
			}
			if claims {
				checkpoint, found, err = claimer.Claim(ctx, p.id, p.epoch)
			} else {
				checkpoint, found, err = p.claim(ctx)
			}
			return err
		})
		if err != nil {
			return fail(p, "claim the partition in the store", err)
		}
	}
	end, has, err := p.end(ctx, checkpoint.Position)
	if err != nil {
		return fail(p, "read the end of the log", err)
	}
	if !has {
		return &LogShorterError{Partition: p.id, Checkpoint: checkpoint.Position, End: end}
	}
	p.tail = max(end, checkpoint.Position)
	p.position, p.encoded, p.stored, p.clock = checkpoint.Position, checkpoint.Position, checkpoint.Position, checkpoint.LogTime
	p.storedTime = checkpoint.LogTime
	p.goal = min(p.tail, p.cfg.Goal)
	p.unstored = !found
	p.events, p.rejected = checkpoint.Events, checkpoint.Rejected
	p.horizon, p.sweep.done, p.sweep.encoded = checkpoint.Horizon, checkpoint.Swept, checkpoint.Swept
	if p.horizon != 0 {
		p.removable() // what was not removed when a former owner ended
	}
	if err := p.startBucket(ctx); err != nil {
		return fail(p, "bring the snapshot bucket up to the checkpoint", err)
	}
	p.set(func(s *PartitionStatus) { s.State, s.Checkpoint, s.Published = CatchingUp, p.encoded, p.published })
	p.note()
	p.logger.Debug("partition started",
		zap.Uint64("position", p.position), zap.Uint64("end", p.tail), zap.Uint64("epoch", p.epoch))
	return nil
}
