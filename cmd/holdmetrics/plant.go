package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"holdmetrics/gateway"
	"holdmetrics/ingest"
	"holdmetrics/ingest/backup"
	"holdmetrics/processor"
	"holdmetrics/processor/hold"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
)

const (
	// generation is the name of the first set of projections.
	generation = "1"

	// doorGrace is how long calls may finish after a stop was asked for. A stream
	// may go on for ever; its client sends again what was not acknowledged.
	doorGrace = 3 * time.Second
	// flightGrace is how long events that are on their way to the log may take.
	flightGrace = 10 * time.Second
)

// plant is everything that serve runs. It is started from the log outwards, and
// stopped the other way round:
//
//	lock ▶ ports ▶ NATS ▶ log ▶ store ▶ snapshots ▶ worker ▶ producer ▶ doors
type plant struct {
	settings *settings
	log      *zap.Logger
	policy   hold.Policy
	registry *prometheus.Registry

	broker    *broker
	events    *ingest.Log
	store     *embedded.Store
	snapshots *projection.Snapshots
	view      *projection.View
	worker    *processor.Worker
	producer  *ingest.Producer

	grpcAddr, httpAddr net.Addr
	pprofAddr          net.Addr // nil: no profiles

	failed chan error     // what broke while running
	undo   []func() error // what stop does, last first
}

// startPlant starts everything, or nothing.
func startPlant(ctx context.Context, s *settings, log *zap.Logger) (*plant, error) {
	p := &plant{settings: s, log: log, registry: prometheus.NewRegistry(), failed: make(chan error, 4)}
	p.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := p.start(ctx); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

func (p *plant) start(ctx context.Context) error {
	lock, err := lockDataDir(p.settings.dataDir)
	if err != nil {
		return err
	}
	p.onStop(lock.Close)
	if err := tidyDataDir(p.settings.dataDir); err != nil {
		return err
	}
	if p.policy, err = fixPolicy(p.settings); err != nil {
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

	if p.broker, err = startBroker(filepath.Join(p.settings.dataDir, "nats"), p.settings.natsAddress, p.log); err != nil {
		return err
	}
	p.onStop(func() error { p.broker.close(); return nil })
	js, err := jetstream.New(p.broker.conn)
	if err != nil {
		return fmt.Errorf("opening JetStream: %w", err)
	}
	if p.events, err = ingest.OpenLog(ctx, js, ingest.LogConfig{Limits: p.settings.limits}); err != nil {
		return err
	}
	// Before anything reads or writes the log: what it has is judged by the limits
	// that it came in under, what comes by those of today.
	if err := p.events.SetLimits(ctx, p.settings.limits); err != nil {
		return err
	}
	if err := p.openStore(ctx); err != nil {
		return err
	}
	if p.snapshots, err = projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: generation, Async: true}); err != nil {
		return err
	}
	if p.view, err = p.snapshots.Watch(ctx); err != nil {
		return err
	}
	p.onStop(p.view.Close)
	if err := p.startWorker(ctx); err != nil {
		return err
	}
	backups, err := backup.OpenDoor(p.broker.conn, p.settings.dataDir, p.copyData)
	if err != nil {
		return err
	}
	p.onStop(backups.Close)
	p.producer = ingest.NewProducer(p.events, ingest.ProducerOptions{Limits: p.settings.limits})
	p.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), flightGrace)
		defer cancel()
		return p.producer.Close(ctx)
	})
	gate, err := gateway.New(gateway.Config{
		Producer: p.producer,
		Log:      p.events,
		Backend: gateway.Backend{
			Generation:  generation,
			Reader:      p.store,
			Snapshots:   p.view,
			WaitApplied: p.worker.WaitApplied,
			Ready:       p.ready,
			Owners:      owners{id: "serve", worker: p.worker},
		},
		Version:    version(),
		Logger:     p.log.Named("gateway"),
		Registerer: p.registry,
		Gatherer:   p.registry,
	})
	if err != nil {
		return err
	}
	p.onStop(doors.open(gate, p.failed))
	return nil
}

// openStore opens the store and fixes what is fixed when it is made.
func (p *plant) openStore(ctx context.Context) (err error) {
	p.store, err = embedded.Open(filepath.Join(p.settings.dataDir, storeName), embedded.Options{Logger: storeLog{p.log.Named("store").Sugar()}})
	if err != nil {
		return err
	}
	p.onStop(p.store.Close)
	return p.store.SetMeta(ctx, map[string]string{
		projection.MetaPolicy:     p.policy.String(),
		projection.MetaPartitions: strconv.Itoa(p.events.Partitions()),
		projection.MetaLogID:      p.events.ID(),
	})
}

// startWorker runs the worker until stop, which waits for its last flush.
func (p *plant) startWorker(ctx context.Context) (err error) {
	p.worker, err = processor.New(processor.Config{
		Log:        p.events,
		Store:      p.store,
		Snapshots:  p.snapshots,
		Policy:     p.policy,
		GCInterval: p.settings.gcInterval,
		Logger:     p.log.Named("processor"),
		Registerer: p.registry,
	})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() {
		err := p.worker.Run(running)
		if running.Err() == nil {
			p.failed <- fmt.Errorf("the processor stopped: %w", err)
			err = nil // said by failed
		}
		done <- err
	}()
	p.onStop(func() error {
		cancel()
		return <-done // also where it was stopped before everything was flushed
	})
	return nil
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
