package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// A switch of generations.
//
// Both go on all the time, each at its own pace. What a reader must never see is a
// holder's position that steps back, or an answer that is made of both. So the view
// that is served stands still for the end of a switch: what readers can have seen of
// it is then a position a partition. As soon as the other view has come that far,
// which it nearly has by then, one pointer is exchanged. Requests that are under way
// end with the generation that they began with. Those that wait for a position which
// the frozen view does not have go on waiting at the next one. Watchers are told by
// the channel of their lineage, and move over by themselves (watch_cross.go).
//
// What a generation published may be long ago, and many of its lines over. Somebody who
// asks has them drawn anew, but that takes its time, and it is not to be anybody's first
// answer: so all of them hold before it is switched to (relining.go).
//
// The stores need not stand still. What was read from one is noted, and nobody reads
// from the other before it has that.

const (
	// freezeMost is how long a view stands still for a switch. A generation that is
	// not there by then is not as far as it was when it was prepared.
	freezeMost = 2 * time.Second
	// positionsChunk is how many changes are looked at at once for their positions.
	positionsChunk = 1024
)

// Errors of a switch that callers decide on.
var (
	// ErrNotPrepared says that a generation is to be switched to which is not loaded.
	ErrNotPrepared = errors.New("gateway: the generation is not prepared")
	// ErrBehind says that a generation is not as far as what readers have seen. Trying
	// again helps once its workers have caught up.
	ErrBehind = errors.New("gateway: the generation is behind what readers have seen")
)

// Prepared is the generation that is loaded beside the active one; empty: none is.
func (g *Gateway) Prepared() string {
	if b := g.prepared.Load(); b != nil {
		return b.Generation
	}
	return ""
}

// Prepare takes a generation in beside the one that is served. It returns when its
// snapshots are complete, store and snapshots are as far as those of the active one
// were when the call came, and its lines hold; else with the error why not, and the generation is
// closed. One that was prepared before is let go of first, so that there are never
// more than two. From the call on the backend is the gateway's (see [Backend.Close]).
func (g *Gateway) Prepare(ctx context.Context, from Backend) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.release()
	active := g.active.Load()
	b := newBackend(g, from, true)
	if err := b.prepare(ctx, active); err != nil {
		b.unpin()
		return fmt.Errorf("preparing generation %s: %w", from.Generation, err)
	}
	g.prepared.Store(b)
	return nil
}

// prepare waits until b is as far as active is now.
func (b *backend) prepare(ctx context.Context, active *backend) error {
	if err := b.Snapshots.Wait(ctx); err != nil {
		return err
	}
	if err := b.Reader.Ping(ctx); err != nil {
		return err
	}
	seen := b.g.reachedBy(active)
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
	if err := b.relining.await(ctx, b.g.cfg.Now()); err != nil {
		return fmt.Errorf("lines of snapshots are over, and cannot be drawn anew: %w", err)
	}
	return nil
}

// Release lets go of what was prepared and not switched to.
func (g *Gateway) Release() {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.release()
}

func (g *Gateway) release() {
	if b := g.prepared.Swap(nil); b != nil {
		b.unpin()
	}
}

// Switch makes the prepared generation of a name the active one, for all readers at
// once; none of them finds anything missing, or a holder at an earlier position than
// it was seen at. It returns when that is done, and the former generation goes when
// the last answer that is made of it has gone out. With an error nothing has changed:
// [ErrNotPrepared], [ErrBehind], or that of the store where lines are over.
func (g *Gateway) Switch(ctx context.Context, generation string) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	old, next := g.active.Load(), g.prepared.Load()
	if old.Generation == generation && next == nil {
		return nil
	}
	if next == nil || next.Generation != generation {
		return fmt.Errorf("%w: %s", ErrNotPrepared, generation)
	}
	// Most of the way while nothing stands still.
	looked := old.Snapshots.Last()
	if err := next.reach(ctx, old.seenPositions(0)); err != nil {
		return err
	}
	if old.relining.begun() {
		if err := next.reline(ctx); err != nil {
			return err
		}
	}
	began := time.Now()
	old.Snapshots.Freeze()
	frozen, cancel := context.WithTimeout(ctx, freezeMost)
	defer cancel()
	if err := next.reach(frozen, old.seenPositions(looked)); err != nil {
		old.Snapshots.Thaw()
		return err
	}
	g.prepared.Store(nil)
	g.active.Store(next)
	g.metrics.serves(&next.Backend)
	if old.Generation != next.Generation { // else it has learned of its rules
		g.metrics.switches.Inc()
	}
	if old.relining.begun() {
		next.relining.begin() // for those who watch, and have just come
	}
	old.leave() // who waits for what it will never have goes on with next
	g.log.Info("switched", zap.String("from", old.Generation), zap.String("to", generation), zap.Duration("frozen", time.Since(began)))
	g.hub.follows(next.Snapshots)
	old.lineage.end(old, next)
	if err := old.Snapshots.Close(); err != nil {
		g.log.Warn("closing the snapshots of the former generation", zap.Error(err))
	}
	old.unpin()
	return nil
}

// reachedBy is how far the snapshots of each partition are.
func (g *Gateway) reachedBy(b *backend) []uint64 {
	positions := make([]uint64, g.cfg.Log.Partitions())
	for p := range positions {
		positions[p] = b.Snapshots.Reached(p).Position
	}
	return positions
}

// seenPositions are the greatest positions that readers can have seen of each
// partition: those that its snapshots have reached, and those of the snapshots
// themselves, which come earlier. Of these it looks at what changed after a point.
func (b *backend) seenPositions(after uint64) []uint64 {
	positions := b.g.reachedBy(b)
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
