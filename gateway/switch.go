package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"holdmetrics/gateway/query"
)

// How a switch of generations works.
//
// Both generations go on all the time, each at its own pace. A reader must never see a
// holder's position step back, or an answer made of both. So the served view is frozen
// for the end of a switch: what readers can have seen of it is then one position for
// each partition. As soon as the next view has reached these positions, and by then it
// nearly has, one pointer is exchanged.
//
// Requests under way end with the generation that they began with. Those that wait for
// a position which the frozen view lacks go on waiting at the next generation. Watchers
// learn of the switch by the channel of their lineage, and cross over by themselves.
//
// The stores are not frozen. What was read from the former store is noted, and nobody
// reads from the next store before it has that.

// freezeMost is how long a view stays frozen for a switch. A generation that has not
// caught up by then has fallen behind since it was prepared.
const freezeMost = 2 * time.Second

// ErrNotPrepared says that the generation to switch to is not loaded.
var ErrNotPrepared = errors.New("gateway: the generation is not prepared")

// Prepared returns the name of the generation that is loaded beside the active one, or "".
func (g *Gateway) Prepared() string {
	if b := g.prepared.Load(); b != nil {
		return b.Generation
	}
	return ""
}

// Prepare loads a generation beside the one that is served. It returns when the
// generation's snapshots are complete, and its snapshots and store have reached the
// positions that those of the active one had at the call.
//
// It waits for as long as something moves, and gives up when nothing has for
// [Config].PrepareStall; the error then names what stands still. After an error the
// generation is closed. A generation that was prepared before is released first, so
// there are never more than two. The gateway owns the backend from the call on (see
// [Backend.Close]).
func (g *Gateway) Prepare(ctx context.Context, from query.Backend) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.release()
	active := g.reads.Active()
	b := query.NewGeneration(g.reads, from, true)
	if err := b.Prepare(ctx, active); err != nil {
		b.Unpin()
		return fmt.Errorf("prepare generation %s: %w", from.Generation, err)
	}
	g.prepared.Store(b)
	return nil
}

// Release closes the generation that was prepared and not switched to, if there is one.
func (g *Gateway) Release() {
	g.changing.Lock()
	defer g.changing.Unlock()
	g.release()
}

func (g *Gateway) release() {
	if b := g.prepared.Swap(nil); b != nil {
		b.Unpin()
	}
}

// Switch makes the prepared generation of that name the active one, for all readers at
// once. No reader finds anything missing, or a holder at an earlier position than it was
// seen at. The former generation is closed when the last answer made of it has gone out.
//
// It waits as Prepare does. After an error nothing has changed: [ErrNotPrepared]
// or [ErrBehind].
func (g *Gateway) Switch(ctx context.Context, generation string) error {
	g.changing.Lock()
	defer g.changing.Unlock()
	old, next := g.reads.Active(), g.prepared.Load()
	if old.Generation == generation && next == nil {
		return nil
	}
	if next == nil || next.Generation != generation {
		return fmt.Errorf("%w: %s", ErrNotPrepared, generation)
	}
	// Most of the way without a frozen view.
	looked := old.Snapshots.Last()
	if err := next.Reach(ctx, old.SeenPositions(0)); err != nil {
		return err
	}
	began := time.Now()
	old.Snapshots.Freeze()
	frozen, cancel := context.WithTimeout(ctx, freezeMost)
	defer cancel()
	if err := next.Reach(frozen, old.SeenPositions(looked)); err != nil {
		old.Snapshots.Thaw()
		return err
	}
	g.prepared.Store(nil)
	g.reads.Activate(next)
	g.metrics.serves(&next.Backend)
	if old.Generation != next.Generation { // otherwise only its rules have become known
		g.metrics.switches.Inc()
	}
	old.Leave() // reads that wait for what it will never have go on with next
	g.log.Info("switched generation", zap.String("from", old.Generation), zap.String("generation", generation), zap.Duration("frozen", time.Since(began)))
	g.hub.Follows(next.Snapshots)
	old.Lineage.End(old, next)
	if err := old.Snapshots.Close(); err != nil {
		g.log.Warn("cannot close the snapshots of the former generation", zap.Error(err))
	}
	old.Unpin()
	return nil
}
