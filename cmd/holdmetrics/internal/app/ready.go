package app

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"holdmetrics/projection"
)

// moveWithin is how long a partition may be at one thing before the server is
// not ready: much longer than a flush takes on a slow disk, and shorter than a
// load balancer's patience.
const moveWithin = 10 * time.Second

// levelWithin is how long a question for readiness waits for snapshots on their way.
const levelWithin = 2 * time.Second

// Ready returns why the active generation is not ready, or nil: its store does not
// answer, or a partition failed, has not reached what the log held at the start, or
// does not move.
func (p *Server) Ready(ctx context.Context) error {
	g, err := p.Generations.Active()
	if err != nil {
		return err
	}
	return g.Ready(ctx, moveWithin)
}

// viewReady returns why a view is not ready, or nil.
func viewReady(v *projection.View) error {
	select {
	case <-v.Ready():
	default:
		return errors.New("the snapshots are not read yet")
	}
	if n, key := v.Damaged(); n > 0 {
		return fmt.Errorf("%d snapshots cannot be read, one of them that of key %s: they are published again from the store; if this lasts, look for who else writes to the bucket", n, key)
	}
	return nil
}

// levelView makes sure that a view has what the bucket had when the partitions became
// ready, and follows it: what they published last may still be on its way. It does so
// once, and again when the broker was started again.
type levelView struct {
	mu       sync.Mutex
	end      uint64 // of the bucket at that time; 0: not asked yet
	asked    time.Time
	done     bool
	reopened uint64 // how often the broker was started again by then
}

func (l *levelView) ready(ctx context.Context, v *projection.View, reopened uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reopened != reopened {
		l.reopened, l.end, l.done = reopened, 0, false
	}
	if l.done {
		return nil
	}
	if l.end == 0 {
		l.asked = time.Now()
		end, err := v.Mark(ctx)
		if err != nil {
			return fmt.Errorf("the snapshots take no message: %w", err)
		}
		l.end = end
	}
	// The mark is on its way, as a rule for a moment. A watch that begins again shows
	// what it has heard when it is complete.
	waiting, cancel := context.WithTimeout(ctx, levelWithin)
	defer cancel()
	late := v.WaitHeard(waiting, l.end, l.asked)
	if err := v.Err(); err != nil {
		return err
	}
	if late != nil {
		heard, _ := v.Heard()
		return fmt.Errorf("the snapshots are read up to %d of %d", heard, l.end)
	}
	l.done = true
	return nil
}
