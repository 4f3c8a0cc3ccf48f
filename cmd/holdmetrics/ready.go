package main

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

// ready says why the generation that is active is not ready: the store does not
// answer, or a partition failed, is not up with what the log held at the start or
// does not move.
func (p *plant) ready(ctx context.Context) error {
	g, err := p.generations.Active()
	if err != nil {
		return err
	}
	return g.Ready(ctx, moveWithin)
}

// viewReady says why a view is not ready.
func viewReady(v *projection.View) error {
	select {
	case <-v.Ready():
		return nil
	default:
		return errors.New("the snapshots are not read yet")
	}
}
