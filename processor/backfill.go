package processor

import (
	"context"

	"go.uber.org/zap"

	"holdmetrics/projection"
)

// startBucket brings the bucket and the checkpoint together.
//
// What the bucket says that it has all of may be less than what it has: the
// position comes after its snapshots, and a crash comes in between. No snapshot
// can be ahead of the log, though. So where the log holds more than the
// checkpoint, nothing is published until the partition has come to what was the
// end of the log at the start, so that no score steps back; then the store, which
// is as far, gives every holder that changed since the bucket's position.
//
// Where the bucket says more than the checkpoint, the crash came between a
// publish and its flush, or the store was deleted and is made again from the log.
// Then it is every holder that is published, once: one without new events would
// keep for ever what a former store said of it, which another version of this
// program, or another policy, may say differently. This is owed until it is done,
// over any number of starts. Where owners follow one another, the fence tells the
// two cases apart (knowsFormer), and a store that was kept owes nothing.
//
// No holder of the bucket can be missing in the new store: an event is decided by
// the log alone (its position, its time and the limits of that position), so
// one that was accepted is accepted in every replay. Only a bucket that
// belongs to another log may have others; nothing says which are whose, so the
// operator is asked to delete it.
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
		have = min(have, p.mem.tail) // behind the end there is nothing that it could have
	}
	if ahead {
		// Nothing that this log can say reaches it, and waiting would be for ever.
		p.logger.Warn("the snapshot bucket is ahead of the log, so it is from another one; its holders are published over"+
			" (hint: delete the bucket's stream and start again, and holders of the other log are gone too)",
			zap.Uint64("bucket", said), zap.Uint64("end", p.mem.tail))
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

// backlog is what the bucket is to be given from the store.
type backlog struct {
	has   uint64 // the position that the bucket has all of
	since uint64 // holders that changed behind it
	all   bool   // this is noted in the bucket
}

// backfill publishes the holders of the backlog, of the store, which is as far as to.
// It returns how many there were.
//
// Nothing else of the partition is published meanwhile, and the walk sees each
// holder as it was there or later. So what the bucket has of a holder is
// older than what it is given here, and newer ones follow.
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
			err := p.publish(ctx, chunk, projection.Reached{Position: has})
			chunk = chunk[:0]
			return err
		})
	})
	if err != nil {
		return count, err
	}
	return count, p.publish(ctx, chunk, to)
}
