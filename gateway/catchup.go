package gateway

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// prepare waits until b is as far as active is now.
func (b *backend) prepare(ctx context.Context, active *backend) error {
	if err := b.Snapshots.Wait(ctx); err != nil {
		return err
	}
	if err := b.Reader.Ping(ctx); err != nil {
		return err
	}
	seen := b.s.reachedBy(active)
	if err := b.reach(ctx, seen); err != nil {
		return err
	}
	for p, position := range seen {
		position, err := b.within(ctx, p, position)
		if err == nil {
			err = b.WaitApplied(ctx, p, position)
		}
		if errors.Is(err, ErrNoStore) {
			break
		}
		if err != nil {
			return fmt.Errorf("%w: partition %d of the store has not applied position %d: %w", ErrBehind, p, position, err)
		}
	}
	if active.relining.begun() {
		if err := b.reline(ctx); err != nil {
			return err
		}
	}
	// Whoever asks for rankings is not to wait for them to be made.
	if active.ranks.begun() {
		return b.ranks.begin(ctx)
	}
	return nil
}

// reline has the lines of the snapshots hold now, and go on from now on.
func (b *backend) reline(ctx context.Context) error {
	b.relining.begin()
	if err := b.relining.await(ctx, b.s.now()); err != nil {
		return fmt.Errorf("lines of snapshots are over, and cannot be drawn anew: %w", err)
	}
	return nil
}

// reachedBy is how far the snapshots of each partition are.
func (s *reads) reachedBy(b *backend) []uint64 {
	positions := make([]uint64, s.cfg.Log.Partitions())
	for p := range positions {
		positions[p] = b.Snapshots.Reached(p).Position
	}
	return positions
}

// seenPositions are the greatest positions that readers can have seen of each
// partition: those that its snapshots have reached, and those of the snapshots
// themselves, which come earlier. Of these it looks at what changed after a point.
func (b *backend) seenPositions(after uint64) []uint64 {
	positions := b.s.reachedBy(b)
	var changes []projection.Change
	for {
		var next uint64
		changes, next = b.Snapshots.AppendChanges(changes[:0], after, positionsChunk)
		if next == after {
			return positions
		}
		for i := range changes {
			holder, err := holderOf(&changes[i])
			if err != nil {
				continue
			}
			p := ingest.Partition(holder, len(positions))
			positions[p] = max(positions[p], snapshotPosition(changes[i].Value))
		}
		after = next
	}
}

// within is a position, but no further than a partition of the generation ever
// comes: by other rules it may have had events of other partitions.
func (b *backend) within(ctx context.Context, partition int, position uint64) (uint64, error) {
	end, err := b.end(ctx, partition)
	return min(position, end), err
}

// reach returns when the snapshots have a position of each partition.
func (b *backend) reach(ctx context.Context, positions []uint64) error {
	group, ctx := errgroup.WithContext(ctx)
	for p, position := range positions {
		if b.Snapshots.Reached(p).Position >= position {
			continue
		}
		group.Go(func() error {
			position, err := b.within(ctx, p, position)
			if err == nil {
				err = b.Snapshots.WaitPosition(ctx, p, position)
			}
			if err == nil || errors.Is(err, context.Canceled) {
				return err
			}
			return fmt.Errorf("%w: partition %d of generation %s is at position %d, to be at %d: %w",
				ErrBehind, p, b.Generation, b.Snapshots.Reached(p).Position, position, err)
		})
	}
	return group.Wait()
}
