// Package app assembles the processes of holdmetrics: [Server], which runs everything
// in one process, and [Gateway] and [Worker], which share a NATS cluster. Each is
// started and stopped as a group of parts in order; see holdmetrics/internal/service.
//
// It also knows the layout of a data directory and the embedded NATS server, which
// backups and restores use too.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/ports"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway"
	"holdmetrics/hold"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest"
	"holdmetrics/ingest/backup"
	"holdmetrics/internal/backoff"
	"holdmetrics/internal/service"
	"holdmetrics/processor"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
)

// serveID names serve among the workers of its log, of which it is the only one.
const serveID = "serve"

// Server is everything that serve runs. It is started from the log outwards and
// stopped the other way round:
//
//	lock ▶ ports ▶ NATS ▶ log ▶ generations ▶ producer ▶ gateway
type Server struct {
	*process

	Broker      *Broker
	Records     *generation.Registry
	Generations *generation.Supervisor
	Producer    *ingest.Producer

	writes *writes
	guard  *logGuard
	rules  *rules.Rules      // that the settings name; nil: none
	active generation.Record // of the generation that was active at the start
	cut    bool              // settings of the log were changed, by which events may have been deleted
}

// NewServer returns a server that is not started.
func NewServer(s *settings.Settings, version string, tell Instruments) *Server {
	return &Server{process: newProcess(s, version, "serve", tell)}
}

// Start starts everything. After an error Stop must be called, as after a start that
// succeeded.
func (p *Server) Start(ctx context.Context) error {
	defer p.startup.watch(p.log)()
	if err := roomToStart(p.settings.DataDir); err != nil {
		return err
	}
	lock, err := LockDataDir(p.settings.DataDir)
	if err != nil {
		return err
	}
	p.group.Add("the lock of the data directory", service.Close(lock))
	if err := TidyDataDir(p.settings.DataDir); err != nil {
		return err
	}
	if p.rules, err = serverRules(p.settings.RulesFile, p.log); err != nil {
		return err
	}
	policy, fresh, err := fixPolicy(p.settings, p.rules)
	if err != nil {
		return err
	}

	// The ports come before anything that takes time, so that a taken one shows at once.
	if err := p.openPorts(); err != nil {
		return err
	}
	p.measureCertificates(p.certificate)
	if err := errors.Join(p.startProfiles(), p.startMetrics()); err != nil {
		return err
	}
	p.meters.Disk(p.room)

	p.startup.waitFor("the embedded NATS server")
	existed := hasLog(p.settings.DataDir)
	if err := p.startBroker(ctx); err != nil {
		return err
	}
	p.startAccess()
	p.conn = p.Broker.Conn
	p.meters.Connection(p.conn)
	if p.js, err = jetstream.New(p.conn); err != nil {
		return fmt.Errorf("opening JetStream: %w", err)
	}
	p.startup.waitFor("the event log")
	if err := p.openLog(ctx, existed); err != nil {
		return err
	}
	return p.bounded(ctx, func(ctx context.Context) error { return p.startOver(ctx, policy, fresh) })
}

// brokerAbandon is how long the start of a broker is still waited for when the process is
// to stop: a server that never comes out of its files cannot be interrupted.
const brokerAbandon = 10 * time.Second

// startBroker starts the embedded NATS server. If ctx ends, it gives it a while, and then
// leaves it to the end of the process.
func (p *Server) startBroker(ctx context.Context) error {
	type result struct {
		broker *Broker
		err    error
	}
	started := make(chan result, 1)
	go func() {
		b, err := startBroker(filepath.Join(p.settings.DataDir, NATSName), p.settings.NATSAddress, p.fileBudget().clients, p.process)
		started <- result{b, err}
	}()
	var r result
	select {
	case r = <-started:
	case <-ctx.Done():
		select {
		case r = <-started:
		case <-time.After(brokerAbandon):
			return fmt.Errorf("the embedded NATS server is still reading its files: %w", context.Cause(ctx))
		}
	}
	if r.err != nil {
		return r.err
	}
	p.Broker = r.broker
	p.group.Add("the embedded NATS server", service.Do(p.Broker.Close))
	return nil
}

// startOver starts what works on the log.
func (p *Server) startOver(ctx context.Context, policy hold.Policy, fresh bool) error {
	// Before anything reads or writes the log: what it has is judged by the limits
	// that it came in under, what comes by those of today.
	err := p.Events.SetLimits(ctx, p.settings.Limits)
	if err != nil {
		return err
	}
	p.startup.waitFor("the records of the generations")
	if p.Records, err = generation.Open(ctx, p.js, 1); err != nil {
		return err
	}
	if err := p.awaitRecords(ctx); err != nil {
		return err
	}
	if err := p.begin(ctx, policy, fresh); err != nil {
		return err
	}
	p.startup.waitFor("the embedded store")
	if err := p.startGenerations(ctx); err != nil {
		return err
	}
	p.group.Go("the users of NATS", p.runUsers)
	backups, err := backup.ServeFiles(p.conn, p.settings.DataDir, p.copyData)
	if err != nil {
		return err
	}
	p.group.Add("backups", backups.Close)
	p.guard = &logGuard{conn: p.conn, compare: p.compareLog, failed: p.damaged, settings: p.mendSettings, log: p.log}
	p.guard.look(ctx)
	p.group.Go("the look at the log", p.guard.run)
	p.writes = &writes{
		dir: p.settings.DataDir, wanted: p.settings.Bounds.MinFree, broker: p.Broker, probe: p.probe, mended: p.recheck, log: p.log,
		pauses: backoff.Backoff{First: mendFirst, Most: mendMost},
	}
	p.writes.lookAtDisk()
	p.group.Go("the look at the disk", p.writes.run)
	slowing := &valve{late: p.late}
	p.group.Go("the look at how late events are applied", slowing.run)
	p.Producer = ingest.NewProducer(p.Events, ingest.ProducerOptions{Limits: p.settings.Limits, Gate: p.gate, Slow: slowing.slow, Tracer: p.tell.Telemetry.Tracer(), MaxPendingBytes: int(p.memory.pending), Published: p.meters.Frames()})
	p.meters.Pending(p.Producer.Pending, cmp.Or(int(p.memory.pending), ingest.DefaultMaxPendingBytes))
	p.meters.Writable(p.gate)
	p.group.AddWithin("events on their way to the log", flightGrace, p.Producer.Close)
	proofs, err := p.startProofs(ctx, 1)
	if err != nil {
		return err
	}
	p.startup.waitFor("the snapshots")
	served, err := p.open(ctx, &p.active)
	if err != nil {
		return err
	}
	callers, err := p.callers(ctx, 1)
	if err != nil {
		return errors.Join(err, served.Snapshots.Close())
	}
	gate, err := gateway.New(gateway.Config{
		Auth:         callers,
		Producer:     p.Producer,
		Log:          p.Events,
		Backend:      served,
		Version:      p.version,
		Logger:       p.log.Named("gateway"),
		Tracer:       p.tell.Telemetry.Tracer(),
		Registerer:   p.Registry,
		Gatherer:     p.Registry,
		HTTP:         p.httpOptions(),
		MessageBytes: int(p.memory.message),
		Bounds:       p.settings.Reads,
		Watching:     p.settings.Watches,
		DeadLetters:  p.Events.DeadLetters().Usage,
		Refused:      p.gate,
		Proofs:       proofs,
		TokenLabels:  p.settings.Metrics.Tokens,
	})
	if err != nil {
		return errors.Join(err, served.Snapshots.Close())
	}
	p.ports.Serve(gate, p.group)
	p.watchLog(gate.Reads().Ready)
	p.follow(generation.FollowerConfig{ID: serveID, Registry: p.Records, Gateway: gate.Following(p.open), Logger: p.log.Named("generations")})
	return p.pushMetrics(ctx)
}

// gate returns why no event is taken, or nil.
func (p *Server) gate() error {
	if err := p.writes.err(); err != nil {
		return err
	}
	return p.guard.err()
}

// late is how late the active generation applies events.
func (p *Server) late() time.Duration {
	g, err := p.Generations.Active()
	if err != nil {
		return 0
	}
	return g.Worker.Late()
}

// probe writes to the log, unless it lacks what was applied: then it takes nothing.
func (p *Server) probe(ctx context.Context) error {
	if p.guard.look(ctx); p.guard.err() != nil {
		return nil
	}
	return p.Events.Probe(ctx)
}

// compareLog compares the log with the store of the active generation, and with its
// snapshots.
func (p *Server) compareLog(ctx context.Context) error {
	g, err := p.Generations.Active()
	if err != nil {
		return err
	}
	if err := processor.CheckLog(ctx, p.Events, g.Store); err != nil {
		return err
	}
	return processor.CheckSnapshots(ctx, p.Events, g.Name)
}

// damaged returns the damage of the log that failed a partition of the active generation.
func (p *Server) damaged() error {
	g, err := p.Generations.Active()
	if err != nil {
		return nil
	}
	return g.Worker.Damaged()
}

// recheck has the snapshots of all generations compared with their stores again.
func (p *Server) recheck() {
	for _, name := range p.Generations.Names() {
		if g, err := p.Generations.Get(name); err == nil {
			g.Worker.Recheck()
		}
	}
}

// Fields say in the log what is served where.
func (p *Server) Fields() []zap.Field {
	return []zap.Field{
		zap.String("data_dir", p.settings.DataDir), zap.String("generation", p.active.Name), zap.String("rules", p.active.Version), zap.String("policy", p.active.Policy),
		zap.Stringer("grpc_address", p.GRPCAddr()), zap.Stringer("http_address", p.ports.HTTP()), zap.Stringer("nats_address", p.Broker.Address()),
	}
}

// Banner returns the lines that tell an operator what is served where.
func (p *Server) Banner() string {
	profiles := ""
	if p.pprofAddr != nil {
		profiles = fmt.Sprintf("  pprof http://%s/debug/pprof/\n", p.pprofAddr)
	}
	return fmt.Sprintf("holdmetrics serves %s, %s\n%s  NATS  nats://%s\n%s%s",
		p.settings.DataDir, served(&p.active), p.ports.Banner(), ports.Shown(p.Broker.Address()), p.metricsLine(), profiles)
}

// importLook is how often serve looks whether an import has finished.
const importLook = 500 * time.Millisecond

// openLog opens the event log, or makes it if none existed. While an import fills the log, it waits:
// NATS listens already, so that the import can go on. That wait ends with the import
// or with ctx, and the time limit of the start does not count it.
func (p *Server) openLog(ctx context.Context, existed bool) error {
	for logged := false; ; logged = true {
		err := p.bounded(ctx, func(ctx context.Context) (err error) {
			p.Events, err = ingest.OpenLog(ctx, p.js, ingest.LogConfig{
				Limits: p.settings.Limits, DeadLetterBytes: p.settings.Bounds.DeadLetterBytes,
				Exists: func(context.Context) (bool, error) { return existed, nil },
			})
			return err
		})
		if errors.Is(err, ingest.ErrLogSettings) && !p.cut {
			p.cut = true // which is tried once
			if names, failed := p.putSettingsBack(ctx, err); failed == nil && len(names) > 0 {
				continue
			}
		}
		if errors.Is(err, ingest.ErrLogMissing) {
			err = cmp.Or(CheckLogSettings(p.settings.DataDir), err)
		}
		if !errors.Is(err, ingest.ErrUnfinishedImport) {
			return err
		}
		if !logged {
			p.log.Warn("waiting for an import to finish; NATS is open, gRPC and HTTP are not", zap.Stringer("nats_address", p.Broker.Address()), zap.Error(err))
		}
		if err := backoff.Wait(ctx, importLook); err != nil {
			return err
		}
	}
}

// open opens a generation that this process works on, for the gateway.
func (p *Server) open(ctx context.Context, r *generation.Record) (gateway.Backend, error) {
	g, err := p.Generations.Get(r.Name)
	if err != nil {
		return gateway.Backend{}, err
	}
	view, err := g.Snapshots.WatchFed(ctx)
	if err != nil {
		return gateway.Backend{}, err
	}
	g.Worker.SetShown(view)
	var level levelView
	return gateway.Backend{
		Generation:   r.Name,
		RulesVersion: r.Version,
		Reader:       g.Store,
		Snapshots:    view,
		WaitApplied:  g.Worker.WaitApplied,
		Ready: func(ctx context.Context) error {
			if err := cmp.Or(p.gate(), p.ports.Err(), p.Broker.full()); err != nil {
				return err
			}
			if err := g.Ready(ctx, moveWithin); err != nil {
				return err
			}
			if err := viewReady(view); err != nil {
				if n, _ := view.Damaged(); n > 0 {
					g.Worker.Audit()
				}
				return err
			}
			return level.ready(ctx, view, p.Broker.reopened.Load())
		},
		Owners: owners{id: serveID, version: p.version, worker: g.Worker},
		Rules:  g.Rules,
	}, nil
}

// begin makes the first generation if there is none, and reads which is active.
// The rules that the settings name are those of the first one while there is nothing
// that was counted by others.
func (p *Server) begin(ctx context.Context, policy hold.Policy, fresh bool) error {
	last, err := p.Events.LastPosition(ctx)
	if err != nil {
		return err
	}
	first := firstRecord(policy, nil)
	if fresh || last == 0 {
		first = firstRecord(policy, p.rules)
	}
	active, err := p.Records.Begin(ctx, first)
	if err != nil {
		return err
	}
	if p.active, err = p.Records.Get(ctx, active.Generation); err != nil {
		return err
	}
	warnOfRules(p.log, p.rules, p.settings.RulesFile, &p.active)
	return nil
}

// startGenerations runs a worker for every generation until stop, which waits for
// their last flushes.
func (p *Server) startGenerations(ctx context.Context) (err error) {
	stores, closeStores := newEmbeddedStores(p.process)
	p.group.Add("the cache of the stores", service.Func(closeStores))
	p.Generations, err = generation.Start(ctx, generation.Config{
		Registry:   p.Records,
		Conn:       p.conn,
		Stores:     stores,
		Worker:     processor.Config{Log: p.Events, Tracer: p.tell.Telemetry.Tracer(), StoreSystem: "pebble", GCInterval: p.settings.GCInterval, KeptWithLog: true, CacheBytes: int(p.memory.pairs), FlushBytes: int(p.memory.unsaved), Logger: p.log.Named("processor")},
		Snapshots:  projection.SnapshotConfig{Async: true},
		ID:         serveID,
		Registerer: p.Registry,
		Logger:     p.log.Named("generations"),
	})
	if err != nil {
		return err
	}
	p.runGenerations(p.Generations)
	return nil
}

// storeLog writes the log of the store into ours, with its info lines at debug level.
type storeLog struct{ *zap.SugaredLogger }

func (l storeLog) Infof(format string, args ...any) { l.Debugf(format, args...) }

// served returns in words which generation is read.
func served(g *generation.Record) string {
	text := g.Describe()
	if g.Name != generation.First {
		text += ", generation " + g.Name
	}
	return text
}
