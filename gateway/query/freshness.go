package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
)

// awaitApplied returns when the store has applied, of each partition given, all
// that the log held when the call came (after 0), or all up to position after.
//
// A position belongs to one partition, and most partitions never see it; so a
// partition is waited for up to the smaller of after and its own end, once the
// log has that position. Where the wait is over before, the error is a
// [*StaleError].
func (b *Generation) awaitApplied(ctx context.Context, partitions []int, after uint64) error {
	return b.await(ctx, partitions, after, b.storeAt, func(ctx context.Context, partition int, position uint64) error {
		if seen := b.S.seen[partition].Load(); b.later && seen > position { // else it is what was read from
			seen, err := b.within(ctx, partition, seen)
			if err != nil {
				return err
			}
			position = max(position, seen)
		}
		return b.WaitApplied(ctx, partition, position)
	})
}

// awaitSnapshots returns when the snapshots are at a position, likewise. After 0
// there is nothing to wait for: they are what is current.
func (b *Generation) awaitSnapshots(ctx context.Context, partitions []int, after uint64) error {
	if after == 0 {
		return nil
	}
	return b.await(ctx, partitions, after, b.snapshotsAt, b.Snapshots.WaitPosition)
}

// applied waits until a position of a partition is applied.
type applied func(ctx context.Context, partition int, position uint64) error

// reachedBy is the position that a partition has reached.
type reachedBy func(ctx context.Context, partition int) uint64

func (b *Generation) snapshotsAt(_ context.Context, partition int) uint64 {
	return b.Snapshots.Reached(partition).Position
}

// storeAt is the position of a partition in the store; 0 if the store does not say.
func (b *Generation) storeAt(ctx context.Context, partition int) uint64 {
	c, _, err := b.Reader.Checkpoint(ctx, partition)
	if err != nil {
		return 0
	}
	return c.Position
}

// await returns [errLeft] if the generation is left meanwhile: it may never reach
// the position, and need not.
func (b *Generation) await(ctx context.Context, partitions []int, after uint64, at reachedBy, wait applied) (err error) {
	within, cancel := context.WithTimeout(ctx, b.S.cfg.Freshness)
	defer cancel()
	defer context.AfterFunc(b.left, cancel)()
	defer func() {
		switch {
		case err == nil || b.left.Err() == nil || ctx.Err() != nil:
		case b.S.active.Load() != b:
			err = errLeft
		default:
			err = ErrDraining
		}
	}()
	if after > 0 {
		if err := b.S.awaitLog(ctx, within, after); err != nil {
			return err
		}
	}
	group, within := errgroup.WithContext(within)
	for _, p := range partitions {
		group.Go(func() error {
			position, err := b.end(within, p)
			if err != nil {
				return logAway(ctx, err)
			}
			if after > 0 {
				position = min(position, after)
			}
			if position == 0 {
				return nil
			}
			return b.awaitPosition(ctx, within, p, position, at, wait)
		})
	}
	return group.Wait()
}

const (
	// logLook is the first pause between two looks at how far the log is, and
	// logLookMost the longest.
	logLook     = 5 * time.Millisecond
	logLookMost = 200 * time.Millisecond
)

// awaitLog returns when the log has a position, within a context that ends no
// later than ctx, the request's.
func (s *Service) awaitLog(ctx, within context.Context, position uint64) error {
	began, answered, reached := time.Now(), false, uint64(0)
	for pauses := (backoff.Backoff{First: logLook, Most: logLookMost}); ; {
		last, err := s.cfg.Log.LastPosition(within)
		switch {
		case err == nil && last >= position:
			return nil
		case err != nil && (within.Err() == nil || !answered):
			return logAway(ctx, err)
		}
		answered, reached = true, max(reached, last)
		if pauses.Wait(within) == nil {
			continue
		}
		if errors.Is(ctx.Err(), context.Canceled) {
			return context.Canceled
		}
		return s.BlockedByImport(ctx, &StaleError{Partition: NoPartition, Position: position, Reached: reached, Waited: time.Since(began)})
	}
}

// awaitPosition waits within a context that ends no later than ctx, the request's.
func (b *Generation) awaitPosition(ctx, within context.Context, partition int, position uint64, at reachedBy, wait applied) error {
	err := wait(within, partition, position)
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case errors.Is(within.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded):
		return b.S.BlockedByImport(ctx, b.stale(ctx, partition, position, at))
	case errors.Is(err, context.Canceled):
		return err // another partition failed first
	}
	return unavailable("the processor", err)
}

// stale is the error of a wait for a position that took too long, with what is known
// of the partition.
func (b *Generation) stale(ctx context.Context, partition int, position uint64, at reachedBy) error {
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), whySlowWithin)
	defer cancel()
	e := &StaleError{Partition: partition, Position: position, Waited: b.S.cfg.Freshness, Reached: at(asking, partition)}
	if b.Owners == nil {
		return e
	}
	owned, err := b.Owners.Partitions(asking)
	if err != nil {
		e.Heard = "its owner does not answer: " + err.Error()
		return e
	}
	for i := range owned {
		p := &owned[i]
		switch {
		case p.Partition != partition:
		case p.Owner == "":
			e.Heard = "no worker owns it"
		default:
			e.Heard = fmt.Sprintf("worker %s: %s, applied %d", p.Owner, p.State, p.Position)
			if p.LastError != "" {
				e.Heard += ": " + p.LastError
			}
		}
	}
	return e
}

// whySlowWithin bounds the look for a reason.
const whySlowWithin = time.Second

// BlockedByImport is the import for which the log acknowledges nothing, and nothing
// of it is applied; err if there is none.
func (s *Service) BlockedByImport(ctx context.Context, err error) error {
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), whySlowWithin)
	defer cancel()
	if why := s.cfg.Log.Importing(within); errors.Is(why, ingest.ErrUnfinishedImport) {
		return unavailable("the log takes and gives no events while an import fills it", why)
	}
	return err
}

func logAway(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) || errors.Is(err, context.Canceled) {
		return context.Canceled
	}
	return unavailable("the log", err)
}
