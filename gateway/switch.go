package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
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
	active := g.reads.current()
	b := newBackend(g.reads, from, true)
	if err := b.prepare(ctx, active); err != nil {
		b.unpin()
		return fmt.Errorf("preparing generation %s: %w", from.Generation, err)
	}
	g.prepared.Store(b)
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
	old, next := g.reads.current(), g.prepared.Load()
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
	g.reads.activate(next)
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
