package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/logging"
	"holdmetrics/cmd/holdmetrics/internal/ports"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/hold"
	"holdmetrics/internal/scrape"
	"holdmetrics/internal/service"
	"holdmetrics/processor"
	"holdmetrics/processor/generation"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

// Worker is a worker beside gateways and other workers: NATS ▶ log ▶ generations.
type Worker struct {
	*process
	stores      generation.Stores
	records     *generation.Registry
	active      generation.Record // of the generation that was active at the start
	generations *generation.Supervisor
	httpAddr    net.Addr

	started atomic.Pointer[generation.Supervisor] // nil: the worker is starting
}

// NewWorker returns a worker that is not started.
func NewWorker(s *settings.Settings, version string, tell Instruments) *Worker {
	return &Worker{process: newProcess(s, version, "worker", tell)}
}

// Start starts the worker. After an error Stop must be called, as after a start that
// succeeded.
func (w *Worker) Start(ctx context.Context) error {
	defer w.startup.watch(w.log)()
	return w.bounded(ctx, w.start)
}

// Fields say in the log what it works on.
func (w *Worker) Fields() []zap.Field {
	return []zap.Field{
		zap.String("worker", w.settings.Cluster.WorkerID), zap.String("generation", w.active.Name), zap.String("rules", w.active.Version),
		zap.Stringer("http_address", w.httpAddr), zap.String("nats_url", settings.Mask(w.settings.Cluster.NATS.URL)),
	}
}

// Banner returns the lines that tell an operator what it works on.
func (w *Worker) Banner() string {
	insecure := ""
	if lacks := ports.Lacks(w.httpAddr, &w.settings.Security); lacks != "" {
		insecure = fmt.Sprintf("  INSECURE: the HTTP server answers everybody who can connect; there is no %s\n", lacks)
	}
	return fmt.Sprintf("holdmetrics worker %s, %s\n  HTTP  %s://%s (metrics and health)\n%s  NATS  %s\n",
		w.settings.Cluster.WorkerID, w.active.Describe(), ports.Scheme(w.certificate), ports.Shown(w.httpAddr), insecure, settings.Mask(w.settings.Cluster.NATS.URL))
}

func (w *Worker) start(ctx context.Context) error {
	var err error
	if w.certificate, err = ports.Certificate(&w.settings.Security, w.group, w.log); err != nil {
		return err
	}
	port, err := ports.ListenSafely(settings.KeyMetrics, w.settings.Metrics.Address, &w.settings.Security, w.log)
	if err != nil {
		return err
	}
	w.measureCertificates(w.certificate)
	w.httpAddr = port.Addr()
	w.group.Add("the port", service.Func(func() error {
		if err := port.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}))
	stopServing := w.serve(port)
	w.group.Add("the HTTP server", service.Func(stopServing))
	if err := w.startProfiles(); err != nil {
		return err
	}
	w.startup.waitFor("NATS")
	if err := w.connect(ctx, "holdmetrics worker "+w.settings.Cluster.WorkerID); err != nil {
		return err
	}
	w.startup.waitFor("the event log")
	if err := w.openLog(ctx); err != nil {
		return err
	}
	if err := w.chooseStores(); err != nil {
		return err
	}
	err = w.patiently(ctx, "the generations cannot be read", func(ctx context.Context) (err error) {
		w.records, err = generation.Open(ctx, w.js, w.settings.Cluster.Replicas)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.begin(ctx); err != nil {
		return err
	}
	warnOfBroker(ctx, w.process)
	if err := w.run(ctx); err != nil {
		return err
	}
	// The server stops before the parts that it asks; the earlier Add is for a start
	// that fails.
	w.group.Add("the HTTP server", service.Func(stopServing))
	w.started.Store(w.generations)
	w.watchLog(w.ready)
	return w.pushMetrics(ctx)
}

// chooseStores says where the generations keep their projections.
func (w *Worker) chooseStores() error {
	if w.settings.Cluster.Store != settings.StoreEmbedded {
		w.stores = &mongoStores{config: w.settings.Cluster.Mongo, events: w.Events, node: w.process}
		return nil
	}
	lock, err := LockDataDir(w.settings.DataDir)
	if err != nil {
		return err
	}
	w.group.Add("the lock of the data directory", service.Close(lock))
	w.meters.Disk(w.room)
	stores, closeStores := newEmbeddedStores(w.process)
	w.group.Add("the cache of the stores", service.Func(closeStores))
	w.stores = stores
	return nil
}

// begin makes the first generation if there is none, and reads which is active.
func (w *Worker) begin(ctx context.Context) error {
	named, err := serverRules(w.settings.RulesFile, w.log)
	if err != nil {
		return err
	}
	var active generation.Active
	err = w.patiently(ctx, "the generations cannot be read", func(ctx context.Context) (err error) {
		active, err = w.records.Active(ctx)
		if errors.Is(err, generation.ErrUnknown) {
			err = nil
		}
		return err
	})
	if err != nil {
		return err
	}
	if active.Generation == "" {
		first := firstRecord(w.settings.Policy, named)
		// A store that was made before there were records keeps its policy.
		made, found, err := w.firstPolicy(ctx)
		if err != nil {
			return err
		}
		if found && !w.settings.PolicyGiven {
			first = firstRecord(made, nil)
		}
		err = w.patiently(ctx, "the first generation cannot be recorded", func(ctx context.Context) (err error) {
			active, err = w.records.Begin(ctx, first)
			return err
		})
		if err != nil {
			return err
		}
	}
	w.startup.waitFor("the record of the generations")
	err = w.patiently(ctx, "the active generation cannot be read", func(ctx context.Context) (err error) {
		w.active, err = w.records.Get(ctx, active.Generation)
		return err
	})
	if err != nil {
		return err
	}
	if wanted := w.settings.Policy.String(); w.settings.PolicyGiven && (w.active.Policy != wanted || w.active.Rules != "") {
		return &projection.MetaError{Name: projection.MetaPolicy, Stored: w.active.Describe(), Wanted: "policy " + wanted}
	}
	warnOfRules(w.log, named, w.settings.RulesFile, &w.active)
	return nil
}

// firstPolicy is the policy that the first generation's store was made with.
func (w *Worker) firstPolicy(ctx context.Context) (policy hold.Policy, found bool, err error) {
	w.startup.waitFor(awaitedStore(w.settings))
	var store projection.Store
	switch s := w.stores.(type) {
	case *embeddedStores:
		store, err = s.open(generation.First)
	case *mongoStores:
		store, err = s.open(ctx, generation.First, nil)
	}
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	var fixed map[string]string
	err = w.patiently(ctx, "the store's settings cannot be read", func(ctx context.Context) (err error) {
		fixed, err = store.Meta(ctx)
		return err
	})
	text, found := fixed[projection.MetaPolicy]
	if err != nil || !found {
		return 0, false, err
	}
	if policy, err = hold.ParsePolicy(text); err != nil {
		return 0, false, fmt.Errorf("%w: policy: %w", projection.ErrForeign, err)
	}
	return policy, true, nil
}

// run runs the generations until stop, which waits until everything was handed over.
func (w *Worker) run(ctx context.Context) (err error) {
	host, _ := os.Hostname()
	w.startup.waitFor(awaitedStore(w.settings))
	w.generations, err = generation.Start(ctx, generation.Config{
		Registry: w.records, Conn: w.conn, Stores: w.stores,
		Worker: processor.Config{
			Log: w.Events, Tracer: w.tell.Telemetry.Tracer(), StoreSystem: w.storeSystem(), GCInterval: w.settings.GCInterval, FlushInterval: w.settings.Cluster.FlushInterval,
			CacheBytes: int(w.memory.pairs), FlushBytes: int(w.memory.unsaved),
			Logger: w.log.Named("processor"),
			Ownership: &processor.Ownership{Lease: lease.Config{
				Replicas: w.settings.Cluster.Replicas, Lease: w.settings.Cluster.Lease,
				Worker: w.settings.Cluster.WorkerID, Host: host, Version: w.version,
			}},
		},
		Snapshots:  projection.SnapshotConfig{Replicas: w.settings.Cluster.Replicas},
		ID:         w.settings.Cluster.WorkerID,
		Retry:      w.patiently,
		Registerer: w.Registry, Logger: w.log.Named("generations"),
	})
	if err != nil {
		return err
	}
	w.runGenerations(w.generations)
	return nil
}

// storeSystem is what spans call the store.
func (w *Worker) storeSystem() string {
	if w.settings.Cluster.Store == settings.StoreEmbedded {
		return "pebble"
	}
	return "mongodb"
}

// awaitedStore names the store for who waits for it.
func awaitedStore(s *settings.Settings) string {
	if s.Cluster.Store == settings.StoreEmbedded {
		return "the embedded store"
	}
	return "MongoDB"
}

// ready says why the worker is not ready.
func (w *Worker) ready(ctx context.Context) error {
	all := w.started.Load()
	if all == nil {
		return w.startup.reason()
	}
	g, err := all.Active()
	if err != nil {
		return err
	}
	return g.Ready(ctx, moveWithin)
}

// serve answers at the worker's own port: metrics, health and what it owns. It does
// so from the beginning of a start, which waits for as long as what it needs is away.
// The stop that it gives may be called twice.
func (w *Worker) serve(port net.Listener) (stop func() error) {
	answer := func(rw http.ResponseWriter, status int, body any) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_ = json.NewEncoder(rw).Encode(body)
	}
	mux := http.NewServeMux()
	if w.tell.Level != nil {
		mux.Handle(logging.Path, logging.Local(w.tell.Level))
	}
	mux.Handle("GET /metrics", scrape.Handler(w.Registry, w.log))
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) {
		answer(rw, http.StatusOK, map[string]string{"status": "healthy"})
	})
	mux.HandleFunc("GET /readyz", func(rw http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
		defer cancel()
		if err := w.ready(ctx); err != nil {
			answer(rw, http.StatusServiceUnavailable, map[string]string{"status": "not ready", "reason": err.Error()})
			return
		}
		answer(rw, http.StatusOK, map[string]string{"status": "ready"})
	})
	mux.HandleFunc("GET /status", func(rw http.ResponseWriter, _ *http.Request) {
		all := w.started.Load()
		if all == nil {
			answer(rw, http.StatusServiceUnavailable, map[string]string{"worker": w.settings.Cluster.WorkerID, "status": "not ready", "reason": w.startup.reason().Error()})
			return
		}
		body := struct {
			Worker string `json:"worker"`
			processor.Report
			Generations map[string]processor.Report `json:"generations"` // the one of Report too
		}{Worker: w.settings.Cluster.WorkerID, Report: processor.Report{Partitions: []processor.PartitionReport{}}, Generations: map[string]processor.Report{}}
		if g, err := all.Active(); err == nil {
			body.Report = g.Worker.Report()
		}
		for _, name := range all.Names() {
			if g, err := all.Get(name); err == nil {
				body.Generations[name] = g.Worker.Report()
			}
		}
		answer(rw, http.StatusOK, body)
	})
	web := &http.Server{Handler: httpapi.Secured(mux), ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, ErrorLog: zap.NewStdLog(w.log)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := ports.Serve(web, port, w.certificate); !errors.Is(err, http.ErrServerClosed) {
			w.group.Fail(fmt.Errorf("the HTTP server failed: %w", err))
		}
	}()
	return sync.OnceValue(func() error {
		err := web.Close()
		<-ended
		return err
	})
}
