package processor

import (
	"context"

	"go.uber.org/zap"

	"holdmetrics/projection"
)

// startBucket reconciles the bucket with the checkpoint.
//
// The bucket may have more than its position states: the position is written after the
// snapshots, and a crash may come in between. But no snapshot is ahead of the log. So
// if the log is ahead of the checkpoint, nothing is published until the partition has
// reached the end that the log had at the start. Then no score steps back. After that,
// every holder that changed since the bucket's position is published from the store.
//
// The bucket's position may be greater than the checkpoint. Then a crash came between a
// publish and its flush, or the store was deleted and is rebuilt from the log. In this
// case every holder is published once. A holder without new events would otherwise keep
// the snapshot of the former store, which another version or policy may have computed.
// The backfill stays recorded until it is done, over any number of starts. With several
// owners, the fence tells the two cases apart (knowsFormer), and a store that was kept
// needs no backfill.
//
// No holder of the bucket can be missing in the new store. The log alone decides about
// an event (its position, its time and the limits of that position), so every replay
// accepts it. Only a bucket of another log may have other holders. Nothing shows which
// holders those are, so the operator is asked to delete the bucket. A bucket that was
// always kept with its log (Config.KeptWithLog) is of no other: if it is ahead, the log
// has lost its end.
func (p *publisher) startBucket(ctx context.Context) error {
	if p.bucket == nil {
		return nil
	}
	var have uint64
	var owed, ahead bool
	err := p.retry(ctx, "read the bucket's position", func(ctx context.Context) (err error) {
		have, err = p.bucket.Position(ctx, p.id)
		if err == nil {
			owed, err = p.bucket.Owed(ctx, p.id)
		}
		return err
	})
	if err != nil {
		return err
	}
	said := have
	if have > p.mem.tail {
		// The bucket may know better how far the log is: see sureAfter.
		end, has, err := p.end(ctx, have)
		if err != nil {
			return err
		}
		p.mem.tail, ahead = max(end, p.mem.position), !has
		have = min(have, p.mem.tail) // nothing exists after the end of the log
	}
	if ahead && p.cfg.KeptWithLog && !p.log.Accepted() {
		return &LogShorterError{Partition: p.id, Checkpoint: said, End: p.mem.tail, Bucket: projection.BucketName(p.bucket.Generation())}
	}
	if ahead {
		// This log never reaches that position, so waiting would never end.
		p.logger.Warn("the snapshot bucket is ahead of the log, so it is from another one; its holders are published over",
			zap.Uint64("bucket_position", said), zap.Uint64("end", p.mem.tail))
		have = 0
	}
	if have > p.mem.position && !owed && !p.knowsFormer() {
		owed = true
		if err := p.setBacklog(ctx, true); err != nil {
			return err
		}
	}
	p.published, p.publishedTime, p.floor = p.mem.position, p.mem.clock, p.mem.tail
	p.backlog = &backlog{has: have, since: have, all: owed}
	if owed {
		p.backlog.since = 0
	}
	if p.mem.position < p.mem.tail {
		return nil // the loop publishes it, at the floor
	}
	if have < p.mem.position || owed {
		if _, err = p.backfill(ctx, p.backlog, p.mem.reached()); err != nil {
			return err
		}
	}
	p.backlog = nil
	return nil
}

// backlog is what the bucket needs from the store.
type backlog struct {
	has   uint64 // the bucket is complete up to this position
	since uint64 // publish holders that changed after it
	all   bool   // publish all holders; recorded in the bucket
}

// backfill publishes the holders of the backlog from the store, which has reached to. It
// returns the number of holders.
//
// Nothing else of the partition is published meanwhile, and the walk sees each holder
// as of to or later. So every snapshot of the bucket is older than the one that
// replaces it, and newer ones follow.
func (p *publisher) backfill(ctx context.Context, b *backlog, to projection.Reached) (count int, err error) {
	count, err = p.publishSince(ctx, b.since, b.has, to)
	if err != nil || !b.all {
		return count, err
	}
	return count, p.setBacklog(ctx, false)
}

func (p *publisher) setBacklog(ctx context.Context, owed bool) error {
	return p.retry(ctx, "note the backlog in the bucket", func(ctx context.Context) error {
		return p.bucket.SetOwed(ctx, p.id, owed)
	})
}

// publishSince publishes, in chunks, the holders of the store that changed since
// a position. The bucket has all of has meanwhile, and all up to there then.
func (p *publisher) publishSince(ctx context.Context, since, has uint64, to projection.Reached) (count int, err error) {
	var chunk []projection.HolderRecord
	err = p.retry(ctx, "read the holders that changed", func(ctx context.Context) error {
		chunk, count = chunk[:0], 0
		return p.store.ChangedSince(ctx, p.id, since, func(r *projection.HolderRecord) error {
			chunk = append(chunk, *r)
			count++
			if len(chunk) < publishChunk {
				return nil
			}
			err := p.publish(ctx, chunk, nil, nil, projection.Reached{Position: has})
			chunk = chunk[:0]
			return err
		})
	})
	if err != nil {
		return count, err
	}
	return count, p.publish(ctx, chunk, nil, nil, to)
}
