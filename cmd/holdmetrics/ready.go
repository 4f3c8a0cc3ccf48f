package main

import (
	"context"
	"errors"
	"time"
)

// moveWithin is how long a partition may be at one thing before the server is
// not ready: much longer than a flush takes on a slow disk, and shorter than a
// load balancer's patience.
const moveWithin = 10 * time.Second

// ready says why the server is not ready: the store does not answer, a partition
// failed, is not up with what the log held at the start or does not move, or the
// snapshots are not read.
func (p *plant) ready(ctx context.Context) error {
	g, err := p.generations.Active()
	if err != nil {
		return err
	}
	if err := g.Ready(ctx, moveWithin); err != nil {
		return err
	}
	select {
	case <-p.view.Ready():
		return nil
	default:
		return errors.New("the snapshots are not read yet")
	}
}
