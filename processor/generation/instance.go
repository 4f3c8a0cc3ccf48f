package generation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdmetrics/hold"
	"holdmetrics/internal/service"
	"holdmetrics/processor"
	"holdmetrics/projection"
)

// Instance is a generation that runs in this process. Its parts are closed when it is
// dropped or paused, also while somebody uses them: calls then return errors.
type Instance struct {
	Name      string
	Rules     hold.Rules
	Store     projection.Store
	Snapshots *projection.Snapshots
	Worker    *processor.Worker

	parts *service.Group
}

// storeClose is how long a store may take to close: it writes what it has in memory.
const storeClose = 2 * time.Minute

// open opens all parts of a generation.
func (s *Supervisor) open(ctx context.Context, r *Record) (g *Instance, err error) {
	g = &Instance{Name: r.Name, parts: service.New()}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.parts.Stop())
		}
	}()
	if g.Rules, err = r.ParseRules(); err != nil {
		return g, fmt.Errorf("generation %s: %w", r.Name, err)
	}
	if g.Store, err = s.cfg.Stores.Open(ctx, r, g.Rules); err != nil {
		return g, err
	}
	g.parts.AddWithin("the store of generation "+r.Name, storeClose, service.Close(g.Store))
	snapshots := s.cfg.Snapshots
	snapshots.Generation, snapshots.Check = r.Name, projection.CheckSnapshot
	err = s.cfg.Retry(ctx, "the snapshot bucket cannot be opened", func(ctx context.Context) (err error) {
		g.Snapshots, err = projection.OpenSnapshots(ctx, s.cfg.Worker.Log.JetStream(), snapshots)
		return err
	})
	if err != nil {
		return g, err
	}
	g.parts.Add("the snapshots of generation "+r.Name, service.Do(g.Snapshots.Close))
	c := s.cfg.Worker
	c.Store, c.Snapshots, c.Rules = g.Store, g.Snapshots, g.Rules
	c.Until, c.Goal, c.MaxRate = r.Until, r.Goal, r.MaxRate
	c.DiscardDeadLetters = true // until the supervisor decides
	if s.cfg.Registerer != nil {
		metrics := &registrar{to: prometheus.WrapRegistererWith(prometheus.Labels{"generation": r.Name}, s.cfg.Registerer)}
		g.parts.Add("the metrics of generation "+r.Name, service.Do(metrics.unregister))
		c.Registerer = metrics
	}
	if c.Logger != nil {
		c.Logger = c.Logger.Named(r.Name)
	}
	if c.Ownership != nil {
		own := *c.Ownership
		own.Lease.Generation = r.Name
		c.Ownership = &own
	}
	if g.Worker, err = processor.New(c); err != nil {
		return g, err
	}
	stop, err := g.Worker.AnswerApplied(s.cfg.Conn, r.Name)
	if err != nil {
		return g, err
	}
	g.parts.Add("replies to gateways", stop)
	if stop, err = answer(s.cfg.Conn, g); err != nil {
		return g, err
	}
	g.parts.Add("replies to comparisons", stop)
	return g, nil
}

// Ready returns nil if the store answers and all partitions run and move, or the reason
// why not. See [processor.Worker.Ready].
func (g *Instance) Ready(ctx context.Context, within time.Duration) error {
	switch err := g.Store.Ping(ctx); {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the store does not answer: see that it runs and can be reached: %w", err)
	case err != nil:
		return fmt.Errorf("the store: %w", err)
	}
	return g.Worker.Ready(ctx, within)
}

// close closes all parts, the last opened first. The worker must have ended.
func (g *Instance) close() error { return g.parts.Stop() }

// registrar remembers what was registered, to unregister it together.
type registrar struct {
	to prometheus.Registerer

	mu   sync.Mutex
	have []prometheus.Collector
}

// Register implements prometheus.Registerer.
func (r *registrar) Register(c prometheus.Collector) error {
	err := r.to.Register(c)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.have = append(r.have, c)
	}
	return err
}

// MustRegister implements prometheus.Registerer.
func (r *registrar) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// Unregister implements prometheus.Registerer.
func (r *registrar) Unregister(c prometheus.Collector) bool { return r.to.Unregister(c) }

func (r *registrar) unregister() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.have {
		r.to.Unregister(c)
	}
	r.have = nil
}
