package processor

import (
	"context"

	"go.uber.org/zap"

	"holdmetrics/projection"
)

// startBucket brings the bucket and the checkpoint together.
//
// Where the bucket is behind, a crash took from it what came last: every holder
// that changed since its position is published again, now.
//
// Where it is ahead, the crash came between a publish and its flush, or the store
// was deleted and is made again from the log. Nothing is published until the
// partition has come as far again, so that no score steps back; and then every
// holder is, once (publishAnew): one without new events would keep for ever what
// a former store said of it, which another version of this program, or another
// policy, may say differently. This is owed until it is done, over any number
// of starts.
//
// No holder of the bucket can be missing in the new store: an event is decided by
// the log alone (its position, its time and the limits of that position), so
// whoever had one accepted has it accepted in every replay. Only a bucket that
// belongs to another log may have others; nothing says which are whose, so the
// operator is told to delete it.
func (p *partition) startBucket(ctx context.Context) error {
	if p.bucket == nil {
		return nil
	}
	var have uint64
	err := p.retry(ctx, "read the bucket's position", func(ctx context.Context) (err error) {
		have, err = p.bucket.Position(ctx, p.id)
		if err == nil {
			p.anew, err = p.bucket.Owed(ctx, p.id)
		}
		return err
	})
	if err != nil {
		return err
	}
	p.published = p.position
	if have > p.tail {
		// Nothing that this log can say reaches it, and waiting would be for ever.
		p.logger.Warn("the snapshot bucket is ahead of the log, so it is from another one; its holders are published over"+
			" (hint: delete the bucket's stream and start again, and holders of the other log are gone too)",
			zap.Uint64("bucket", have), zap.Uint64("end", p.tail))
		have = 0
	}
	switch {
	case have > p.position:
		p.publishFloor, p.published = have, have
		if p.anew {
			return nil
		}
		p.anew = true
		return p.setOwed(ctx, true)
	case p.anew:
		p.publishFloor = p.position
		if _, err = p.publishAnew(ctx, have, p.reached()); err == nil {
			p.anew = false
		}
		return err
	case have == p.position:
		p.publishFloor = have
		return nil
	}
	p.publishFloor = p.position
	_, err = p.publishSince(ctx, have, have, p.reached())
	return err
}

// reached is how far the partition is applied.
func (p *partition) reached() projection.Reached {
	return projection.Reached{Position: p.position, LogTime: p.clock}
}

// publishAnew publishes every holder that the store has, which is as far as
// to, while the bucket has all of floor. It says how many there were.
//
// Nothing else of the partition is published meanwhile, and the walk sees each
// holder as it was there or later. So what the bucket has of a holder is
// older than what it is given here, and newer ones follow.
func (p *partition) publishAnew(ctx context.Context, floor uint64, to projection.Reached) (count int, err error) {
	if count, err = p.publishSince(ctx, 0, floor, to); err != nil {
		return count, err
	}
	return count, p.setOwed(ctx, false)
}

func (p *partition) setOwed(ctx context.Context, owed bool) error {
	return p.retry(ctx, "note in the bucket what is owed to it", func(ctx context.Context) error {
		return p.bucket.SetOwed(ctx, p.id, owed)
	})
}

// publishSince publishes, in chunks, the holders of the store that changed since
// a position. The bucket has all of floor meanwhile, and all up to there then.
func (p *partition) publishSince(ctx context.Context, since, floor uint64, to projection.Reached) (count int, err error) {
	var chunk []projection.HolderRecord
	err = p.retry(ctx, "read the holders that changed", func(ctx context.Context) error {
		chunk, count = chunk[:0], 0
		return p.store.ChangedSince(ctx, p.id, since, func(r *projection.HolderRecord) error {
			chunk = append(chunk, *r)
			count++
			if len(chunk) < publishChunk {
				return nil
			}
			err := p.publish(ctx, chunk, projection.Reached{Position: floor})
			chunk = chunk[:0]
			return err
		})
	})
	if err != nil {
		return count, err
	}
	return count, p.publish(ctx, chunk, to)
}
