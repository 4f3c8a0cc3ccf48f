package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"holdmetrics/ingest"
	"holdmetrics/internal/stall"
	"holdmetrics/projection"
)

// positionsChunk is how many changes are read at once for their positions.
const positionsChunk = 1024

// ErrBehind says that a generation is behind what readers have seen. Trying again
// helps once its workers have caught up.
var ErrBehind = errors.New("gateway: the generation is behind what readers have seen")

// Prepare waits until b has caught up with where active is now. Each of its waits may
// last for as long as something moves, and ends when nothing has for PrepareStall.
func (b *Generation) Prepare(ctx context.Context, active *Generation) error {
	limit := b.S.cfg.PrepareStall
	if err := stall.Wait(ctx, limit, b.Snapshots.Last, b.Snapshots.Wait); err != nil {
		return b.explained(ctx, fmt.Errorf("loading snapshots, %d holders so far: %w", b.Snapshots.Len(), err))
	}
	if err := stall.Wait(ctx, limit, stall.Never, b.Reader.Ping); err != nil {
		return fmt.Errorf("asking the store: %w", err)
	}
	seen := b.S.reachedBy(active)
	if err := b.Reach(ctx, seen); err != nil {
		return err
	}
	for p, position := range seen {
		position, err := b.within(ctx, p, position)
		if err == nil {
			err = stall.Wait(ctx, limit, stall.Never, func(ctx context.Context) error { return b.WaitApplied(ctx, p, position) })
		}
		if errors.Is(err, ErrNoStore) {
			break
		}
		if err != nil {
			return b.explained(ctx, fmt.Errorf("%w: generation %s, partition %d: the store has not applied position %d: %w", ErrBehind, b.Generation, p, position, err))
		}
	}
	// No request for a ranking is to wait for it to be built.
	if active.ranks.begun() {
		return b.ranks.begin(ctx)
	}
	return nil
}

// explainWithin bounds the question why something stands still.
const explainWithin = 2 * time.Second

// explained adds to the error of a wait that stalled what was last heard of the
// generation: why it is not ready.
func (b *Generation) explained(ctx context.Context, err error) error {
	if !errors.Is(err, stall.ErrStalled) || b.Ready == nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, explainWithin)
	defer cancel()
	if why := b.Ready(within); why != nil {
		return fmt.Errorf("%w: last heard: %w", err, why)
	}
	return err
}

// reachedBy is how far the snapshots of each partition are.
func (s *Service) reachedBy(b *Generation) []uint64 {
	positions := make([]uint64, s.cfg.Log.Partitions())
	for p := range positions {
		positions[p] = b.Snapshots.Reached(p).Position
	}
	return positions
}

// SeenPositions are the greatest positions that readers can have seen of each
// partition: those that its snapshots have reached, and those of the snapshots
// themselves, which come earlier. Of these it looks at what changed after a point.
func (b *Generation) SeenPositions(after uint64) []uint64 {
	positions := b.S.reachedBy(b)
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
			positions[p] = max(positions[p], projection.SnapshotPosition(changes[i].Value))
		}
		after = next
	}
}

// within is a position, but no further than a partition of the generation ever
// comes: by other rules it may have had events of other partitions.
func (b *Generation) within(ctx context.Context, partition int, position uint64) (uint64, error) {
	end, err := b.end(ctx, partition)
	return min(position, end), err
}

// Reach returns when the snapshots have a position of each partition. It gives up on one
// that has not moved for PrepareStall.
func (b *Generation) Reach(ctx context.Context, positions []uint64) error {
	group, ctx := errgroup.WithContext(ctx)
	for p, position := range positions {
		reached := func() uint64 { return b.Snapshots.Reached(p).Position }
		if reached() >= position {
			continue
		}
		group.Go(func() error {
			position, err := b.within(ctx, p, position)
			if err == nil {
				err = stall.Wait(ctx, b.S.cfg.PrepareStall, reached, func(ctx context.Context) error { return b.Snapshots.WaitPosition(ctx, p, position) })
			}
			if err == nil || errors.Is(err, context.Canceled) {
				return err
			}
			return b.explained(ctx, fmt.Errorf("%w: generation %s, partition %d: the snapshots are at position %d, wanted %d: %w",
				ErrBehind, b.Generation, p, reached(), position, err))
		})
	}
	return group.Wait()
}
