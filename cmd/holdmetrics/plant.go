package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway"
	"holdmetrics/hold"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest"
	"holdmetrics/ingest/backup"
	"holdmetrics/processor"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
)

const (
	// serveID names serve among the workers of its log, of which there is no other.
	serveID = "serve"

	// doorGrace is how long calls may finish after a stop was asked for. A stream
	// may go on for ever; its client sends again what was not acknowledged.
	doorGrace = 3 * time.Second
	// flightGrace is how long events that are on their way to the log may take.
	flightGrace = 10 * time.Second
)

// plant is everything that serve runs. It is started from the log outwards, and
// stopped the other way round:
//
//	lock ▶ ports ▶ NATS ▶ log ▶ generations ▶ producer ▶ doors
type plant struct {
	settings *settings.Settings
	log      *zap.Logger
	registry *prometheus.Registry

	broker      *broker
	events      *ingest.Log
	records     *generation.Registry
	generations *generation.Supervisor
	producer    *ingest.Producer

	rules  *rules.Rules      // that the settings name; nil: none
	active generation.Record // of the generation that was active at the start

	grpcAddr, httpAddr net.Addr
	pprofAddr          net.Addr // nil: no profiles

	failed chan error     // what broke while running
	undo   []func() error // what stop does, last first
}

// startPlant starts everything, or nothing.
func startPlant(ctx context.Context, s *settings.Settings, log *zap.Logger) (*plant, error) {
	p := &plant{settings: s, log: log, registry: prometheus.NewRegistry(), failed: make(chan error, 4)}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *plant) start(ctx context.Context) error {
	lock, err := lockDataDir(p.settings.DataDir)
	if err != nil {
		return err
	}
	p.onStop(lock.Close)
	if err := tidyDataDir(p.settings.DataDir); err != nil {
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
	doors, err := listenDoors(p.settings)
	if err != nil {
		return err
	}
	p.onStop(doors.close)
	p.grpcAddr, p.httpAddr = doors.grpc.Addr(), doors.http.Addr()
	if err := p.startProfiles(); err != nil {
		return err
	}

	if p.broker, err = startBroker(filepath.Join(p.settings.DataDir, "nats"), p.settings.NATSAddress, p.log); err != nil {
		return err
	}
	p.onStop(func() error { p.broker.close(); return nil })
	js, err := jetstream.New(p.broker.conn)
	if err != nil {
		return fmt.Errorf("opening JetStream: %w", err)
	}
	if err := p.openLog(ctx, js); err != nil {
		return err
	}
	// Before anything reads or writes the log: what it has is judged by the limits
	// that it came in under, what comes by those of today.
	if err := p.events.SetLimits(ctx, p.settings.Limits); err != nil {
		return err
	}
	if p.records, err = generation.Open(ctx, js, 1); err != nil {
		return err
	}
	if err := p.begin(ctx, policy, fresh); err != nil {
		return err
	}
	if err := p.startGenerations(ctx); err != nil {
		return err
	}
	backups, err := backup.OpenDoor(p.broker.conn, p.settings.DataDir, p.copyData)
	if err != nil {
		return err
	}
	p.onStop(backups.Close)
	p.producer = ingest.NewProducer(p.events, ingest.ProducerOptions{Limits: p.settings.Limits})
	p.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), flightGrace)
		defer cancel()
		return p.producer.Close(ctx)
	})
	served, err := p.open(ctx, &p.active)
	if err != nil {
		return err
	}
	gate, err := gateway.New(gateway.Config{
		Producer:   p.producer,
		Log:        p.events,
		Backend:    served,
		Version:    version(),
		Logger:     p.log.Named("gateway"),
		Registerer: p.registry,
		Gatherer:   p.registry,
	})
	if err != nil {
		return errors.Join(err, served.Snapshots.Close())
	}
	p.onStop(doors.open(gate, p.failed))
	p.onStop(follow(ctx, generation.FollowerConfig{ID: serveID, Registry: p.records, Gateway: gate.Following(p.open), Logger: p.log.Named("generations")}))
	return nil
}

// importLook is how often serve looks whether an import is finished.
const importLook = 500 * time.Millisecond

// openLog opens the event log, or makes it. While an import fills it, it waits: NATS
// listens already, so that the import can be carried on.
func (p *plant) openLog(ctx context.Context, js jetstream.JetStream) (err error) {
	for told := false; ; told = true {
		p.events, err = ingest.OpenLog(ctx, js, ingest.LogConfig{Limits: p.settings.Limits})
		if !errors.Is(err, ingest.ErrUnfinishedImport) {
			return err
		}
		if !told {
			p.log.Warn("waiting with the doors shut, NATS open at "+shown(p.broker.address()), zap.Error(err))
		}
		timer := time.NewTimer(importLook)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// open opens a generation that this process works on, for the gateway.
func (p *plant) open(ctx context.Context, r *generation.Record) (gateway.Backend, error) {
	g, err := p.generations.Get(r.Name)
	if err != nil {
		return gateway.Backend{}, err
	}
	view, err := g.Snapshots.Watch(ctx)
	if err != nil {
		return gateway.Backend{}, err
	}
	return gateway.Backend{
		Generation:   r.Name,
		RulesVersion: r.Version,
		Reader:       g.Store,
		Snapshots:    view,
		WaitApplied:  g.Worker.WaitApplied,
		Ready: func(ctx context.Context) error {
			if err := g.Ready(ctx, moveWithin); err != nil {
				return err
			}
			return viewReady(view)
		},
		Owners: owners{id: serveID, worker: g.Worker},
		Rules:  g.Rules,
	}, nil
}

// begin makes the first generation where there is none, and reads which is active.
// The rules that the settings name are those of the first one while there is nothing
// that was counted by others.
func (p *plant) begin(ctx context.Context, policy hold.Policy, fresh bool) error {
	last, err := p.events.LastPosition(ctx)
	if err != nil {
		return err
	}
	first := firstRecord(policy, nil)
	if fresh || last == 0 {
		first = firstRecord(policy, p.rules)
	}
	active, err := p.records.Begin(ctx, first)
	if err != nil {
		return err
	}
	if p.active, err = p.records.Get(ctx, active.Generation); err != nil {
		return err
	}
	warnOfRules(p.log, p.rules, p.settings.RulesFile, &p.active)
	return nil
}

// startGenerations runs a worker for every generation until stop, which waits for
// their last flushes.
func (p *plant) startGenerations(ctx context.Context) (err error) {
	stores, closeStores := newEmbeddedStores(p.settings.DataDir, p.events, p.log)
	p.onStop(closeStores)
	p.generations, err = generation.Start(ctx, generation.Config{
		Registry:   p.records,
		Conn:       p.broker.conn,
		Stores:     stores,
		Worker:     processor.Config{Log: p.events, GCInterval: p.settings.GCInterval, Logger: p.log.Named("processor")},
		Snapshots:  projection.SnapshotConfig{Async: true},
		ID:         serveID,
		Registerer: p.registry,
		Logger:     p.log.Named("generations"),
	})
	if err != nil {
		return err
	}
	p.onStop(runGenerations(ctx, p.generations, p.failed))
	return nil
}

// runGenerations runs them in the background until stop is called, and tells when
// the active one breaks.
func runGenerations(ctx context.Context, s *generation.Supervisor, failed chan<- error) (stop func() error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done, told := make(chan error, 1), make(chan struct{})
	go func() { done <- s.Run(running) }()
	go func() {
		defer close(told)
		select {
		case err := <-s.Failed():
			failed <- err
		case <-running.Done():
		}
	}()
	return func() error {
		cancel()
		<-told
		return <-done // also where it was stopped before everything was flushed
	}
}

// onStop adds what stop does, before all that was added earlier.
func (p *plant) onStop(undo func() error) { p.undo = append(p.undo, undo) }

// stop stops what was started, the last first. It does not hurry: the doors have
// their grace, and the worker flushes. What broke and was not taken from failed
// is among the errors.
func (p *plant) stop() error {
	var errs []error
	for i := len(p.undo) - 1; i >= 0; i-- {
		errs = append(errs, p.undo[i]())
	}
	p.undo = nil
	for {
		select {
		case err := <-p.failed:
			errs = append(errs, err)
		default:
			return errors.Join(errs...)
		}
	}
}

// storeLog lets the store's everyday lines through at debug level only.
type storeLog struct{ *zap.SugaredLogger }

func (l storeLog) Infof(format string, args ...any) { l.Debugf(format, args...) }
