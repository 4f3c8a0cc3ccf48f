// Package cluster runs parts of holdmetrics in the process of a child of the bench: a
// broker, the log, the store, the worker and the gateway.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/internal/service"
	"holdmetrics/processor"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
	"holdmetrics/test/bench/internal/load"
)

// stopLimit is how long a part may take to stop: a worker flushes what it has, which
// is much after a row about many pairs.
const stopLimit = 5 * time.Minute

// Config selects the parts of the system that a child runs in its process. They
// are wired as holdmetrics serve wires them.
type Config struct {
	Dir        string
	Broker     *Broker
	Store      embedded.Options
	NoBucket   bool // publish no snapshots
	Worker     bool
	CacheBytes int // of the worker; 0: its default
	Gateway    bool
}

// Cluster is a running system, or part of one, in this process.
type Cluster struct {
	Log       *ingest.Log
	store     *embedded.Store
	Snapshots *projection.Snapshots
	Worker    *processor.Worker
	Addresses load.Addresses
	parts     *service.Group
}

// Start opens the parts. The worker starts with Run.
func Start(ctx context.Context, config Config) (_ *Cluster, err error) {
	c := &Cluster{parts: service.New(), Addresses: load.Addresses{NATS: load.Broker{URL: config.Broker.Conn.ConnectedUrl()}}}
	if config.Broker.server != nil {
		c.Addresses.NATS.URL = config.Broker.server.ClientURL()
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if c.Log, err = ingest.OpenLog(ctx, config.Broker.JetStream, ingest.LogConfig{}); err != nil {
		return nil, err
	}
	if !config.Worker && !config.Gateway {
		return c, nil
	}
	if c.store, err = embedded.Open(filepath.Join(config.Dir, "store"), config.Store); err != nil {
		return nil, err
	}
	c.parts.AddWithin("the store", stopLimit, service.Close(c.store))
	if !config.NoBucket {
		if c.Snapshots, err = projection.OpenSnapshots(ctx, config.Broker.JetStream, projection.SnapshotConfig{Generation: "1", Async: true}); err != nil {
			return nil, err
		}
	}
	if config.Worker {
		c.Worker, err = processor.New(processor.Config{Log: c.Log, Store: c.store, Snapshots: c.Snapshots, CacheBytes: config.CacheBytes})
		if err != nil {
			return nil, err
		}
	}
	if config.Gateway {
		return c, c.openGateway(ctx)
	}
	return c, nil
}

// Run starts the worker.
func (c *Cluster) Run() {
	c.parts.GoWithin("the worker", stopLimit, c.Worker.Run)
}

// CaughtUp returns when store and snapshots have all that the log holds now. It
// polls the status and requests no flush, so the worker keeps its usual pace.
func (c *Cluster) CaughtUp(ctx context.Context) error {
	for id := range c.Log.Partitions() {
		end, err := c.Log.End(ctx, id)
		if err != nil {
			return err
		}
		for {
			s := c.Worker.Status()[id]
			if s.Checkpoint >= end && (c.Snapshots == nil || s.Published >= end) {
				break
			}
			if s.State == processor.Failed {
				return s.Err
			}
			if !load.Pause(ctx, 2*time.Millisecond) {
				return fmt.Errorf("partition %d is at %d of %d: %w", id, s.Checkpoint, end, context.Cause(ctx))
			}
		}
	}
	return nil
}

// Stored returns when the store has all that the log holds now. It requests a flush,
// as a reader does.
func (c *Cluster) Stored(ctx context.Context) error {
	for id := range c.Log.Partitions() {
		end, err := c.Log.End(ctx, id)
		if err == nil && end > 0 {
			err = c.Worker.WaitApplied(ctx, id, end)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Events returns the number of events that the worker has applied.
func (c *Cluster) Events() (n uint64) {
	for _, s := range c.Worker.Status() {
		n += s.Events
	}
	return n
}

// Stop stops the parts, the last started first. The broker is the caller's.
func (c *Cluster) Stop() error { return c.parts.Stop() }
