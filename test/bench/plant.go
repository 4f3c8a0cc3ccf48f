package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/processor"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
)

// plantConfig says which parts of the system a child runs in its process. They
// are wired as cmd/holdmetrics/plant.go does it.
type plantConfig struct {
	dir        string
	broker     *broker
	store      embedded.Options
	noBucket   bool // publish no snapshots
	worker     bool
	cacheBytes int // of the worker; 0: its default
	doors      bool
}

// plant is a running system, or part of one, in this process.
type plant struct {
	config    plantConfig
	log       *ingest.Log
	store     *embedded.Store
	snapshots *projection.Snapshots
	worker    *processor.Worker
	addresses addresses
	undo      []func() error
}

// startPlant opens all parts. The worker runs when run is called.
func startPlant(ctx context.Context, c plantConfig) (_ *plant, err error) {
	p := &plant{config: c, addresses: addresses{NATS: c.broker.conn.ConnectedUrl()}}
	if c.broker.server != nil {
		p.addresses.NATS = c.broker.server.ClientURL()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.stop())
		}
	}()
	if p.log, err = ingest.OpenLog(ctx, c.broker.js, ingest.LogConfig{}); err != nil {
		return nil, err
	}
	if !c.worker && !c.doors {
		return p, nil
	}
	if p.store, err = embedded.Open(filepath.Join(c.dir, "store"), c.store); err != nil {
		return nil, err
	}
	p.onStop(p.store.Close)
	if !c.noBucket {
		if p.snapshots, err = projection.OpenSnapshots(ctx, c.broker.js, projection.SnapshotConfig{Generation: "1", Async: true}); err != nil {
			return nil, err
		}
	}
	if c.worker {
		p.worker, err = processor.New(processor.Config{Log: p.log, Store: p.store, Snapshots: p.snapshots, CacheBytes: c.cacheBytes})
		if err != nil {
			return nil, err
		}
	}
	if c.doors {
		return p, p.openDoors(ctx)
	}
	return p, nil
}

func (p *plant) onStop(undo func() error) { p.undo = append(p.undo, undo) }

// run starts the worker.
func (p *plant) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.worker.Run(ctx) }()
	p.onStop(func() error {
		cancel()
		return <-done
	})
}

// caughtUp returns when store and snapshots have all that the log holds now. It
// looks now and then and asks for nothing, so the worker does as it always does.
func (p *plant) caughtUp(ctx context.Context) error {
	for id := range p.log.Partitions() {
		end, err := p.log.End(ctx, id)
		if err != nil {
			return err
		}
		for {
			s := p.worker.Status()[id]
			if s.Checkpoint >= end && (p.snapshots == nil || s.Published >= end) {
				break
			}
			if s.State == processor.Failed {
				return s.Err
			}
			if !pause(ctx, 2*time.Millisecond) {
				return fmt.Errorf("partition %d is at %d of %d: %w", id, s.Checkpoint, end, context.Cause(ctx))
			}
		}
	}
	return nil
}

// stored returns when the store has all that the log holds now, which it asks for
// as a reader does: at once.
func (p *plant) stored(ctx context.Context) error {
	for id := range p.log.Partitions() {
		end, err := p.log.End(ctx, id)
		if err == nil && end > 0 {
			err = p.worker.WaitApplied(ctx, id, end)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// events is how many events the worker has applied.
func (p *plant) events() (n uint64) {
	for _, s := range p.worker.Status() {
		n += s.Events
	}
	return n
}

// stop stops everything, the last first; the broker is the caller's.
func (p *plant) stop() (err error) {
	for i := len(p.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, p.undo[i]())
	}
	p.undo = nil
	return err
}
