package app

import (
	"context"
	"errors"
	"time"

	"holdmetrics/projection"
)

// moveWithin is how long a partition may be at one thing before the server is
// not ready: much longer than a flush takes on a slow disk, and shorter than a
// load balancer's patience.
const moveWithin = 10 * time.Second

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
		return nil
	default:
		return errors.New("the snapshots are not read yet")
	}
}
