package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/hold"
	"holdmetrics/processor"
	"holdmetrics/processor/generation"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

func newWorker() *cobra.Command {
	c := &cobra.Command{
		Use:   "worker",
		Short: "Apply the log, beside gateways and other workers in other processes",
		Long: `Worker reads the partitions of the log that fall to it and keeps their figures in
the store and their snapshots in NATS. All workers of a log share its partitions
evenly, by leases: one that joins takes its share over from the others, one that
is stopped hands over at once, one that dies is followed when its lease has run
out (--lease).

It needs a database, MONGODB_URL, which all workers and gateways share. With
--store embedded it keeps a store of its own in --data-dir instead, and makes it
again from the log whenever a partition comes to it; no gateway can read it.

'holdmetrics config worker' shows the settings in force.`,
		Example: `  NATS_URL=nats://n1,nats://n2,nats://n3 MONGODB_URL=mongodb://db/ holdmetrics worker --replicas 3
  holdmetrics worker --store embedded --data-dir /var/lib/holdmetrics`,
		Args: cobra.NoArgs,
	}
	settings.WorkerFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := settings.Read(c)
		if err != nil {
			return err
		}
		if s.Cluster.Store == settings.StoreMongo && s.Cluster.Mongo.URL == "" {
			return usage.Errorf("a worker needs a database: set MONGODB_URL (or --%s), or ask for a store of this worker alone with --%s %s", settings.KeyMongoURL, settings.KeyStore, settings.StoreEmbedded)
		}
		settings.WarnUnused(c.ErrOrStderr(), "worker", os.Getenv)
		w := &workerNode{node: newNode(s, newLogger(settings.SecretsOf(c).Writer(c.ErrOrStderr()), s.LogLevel))}
		return runNode(c.Context(), w.node, w.start, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "holdmetrics worker %s, %s\n  HTTP  http://%s (metrics and health)\n  NATS  %s\nCtrl-C stops it.\n",
				s.Cluster.WorkerID, w.active.Describe(), shown(w.httpAddr), settings.Mask(s.Cluster.NATSURL))
			return err
		}, c.OutOrStdout())
	}
	return c
}

// workerNode is a worker: NATS ▶ log ▶ generations.
type workerNode struct {
	*node
	stores      generation.Stores
	records     *generation.Registry
	active      generation.Record // of the generation that was active at the start
	generations *generation.Supervisor
	httpAddr    net.Addr

	started atomic.Pointer[generation.Supervisor] // nil: the worker is starting
}

func (w *workerNode) start(ctx context.Context) error {
	port, err := listen(settings.KeyMetrics, w.settings.Cluster.MetricsAddress)
	if err != nil {
		return err
	}
	w.httpAddr = port.Addr()
	w.onStop(func() error {
		if err := port.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	stopServing := w.serve(port)
	w.onStop(stopServing)
	if err := w.profiles(); err != nil {
		return err
	}
	w.waits.on("NATS")
	if err := w.connect(ctx, "holdmetrics worker "+w.settings.Cluster.WorkerID); err != nil {
		return err
	}
	w.waits.on("the event log")
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
	warnOfBroker(ctx, w.node)
	if err := w.run(ctx); err != nil {
		return err
	}
	// The door is closed before what it then asks; else stop would close it last.
	w.onStop(stopServing)
	w.started.Store(w.generations)
	return nil
}

// chooseStores says where the generations keep their projections.
func (w *workerNode) chooseStores() error {
	if w.settings.Cluster.Store != settings.StoreEmbedded {
		w.stores = &mongoStores{config: w.settings.Cluster.Mongo, events: w.events, node: w.node}
		return nil
	}
	lock, err := lockDataDir(w.settings.DataDir)
	if err != nil {
		return err
	}
	w.onStop(lock.Close)
	stores, closeStores := newEmbeddedStores(w.settings.DataDir, w.events, w.log)
	w.onStop(closeStores)
	w.stores = stores
	return nil
}

// begin makes the first generation where there is none, and reads which is active.
func (w *workerNode) begin(ctx context.Context) error {
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
	w.waits.on("the record of the generations")
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
func (w *workerNode) firstPolicy(ctx context.Context) (policy hold.Policy, found bool, err error) {
	w.waits.on(awaitedStore(w.settings))
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
func (w *workerNode) run(ctx context.Context) (err error) {
	host, _ := os.Hostname()
	w.waits.on(awaitedStore(w.settings))
	w.generations, err = generation.Start(ctx, generation.Config{
		Registry: w.records, Conn: w.conn, Stores: w.stores,
		Worker: processor.Config{
			Log: w.events, GCInterval: w.settings.GCInterval, FlushInterval: w.settings.Cluster.FlushInterval,
			Logger: w.log.Named("processor"),
			Ownership: &processor.Ownership{Lease: lease.Config{
				Replicas: w.settings.Cluster.Replicas, Lease: w.settings.Cluster.Lease,
				Worker: w.settings.Cluster.WorkerID, Host: host, Version: version(),
			}},
		},
		Snapshots:  projection.SnapshotConfig{Replicas: w.settings.Cluster.Replicas},
		ID:         w.settings.Cluster.WorkerID,
		Retry:      w.patiently,
		Registerer: w.registry, Logger: w.log.Named("generations"),
	})
	if err != nil {
		return err
	}
	w.onStop(runGenerations(ctx, w.generations, w.failed))
	return nil
}

// awaitedStore names the store for who waits for it.
func awaitedStore(s *settings.Settings) string {
	if s.Cluster.Store == settings.StoreEmbedded {
		return "the embedded store"
	}
	return "MongoDB"
}

// ready says why the worker is not ready.
func (w *workerNode) ready(ctx context.Context) error {
	all := w.started.Load()
	if all == nil {
		return w.waits.reason()
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
func (w *workerNode) serve(port net.Listener) (stop func() error) {
	answer := func(rw http.ResponseWriter, status int, body any) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_ = json.NewEncoder(rw).Encode(body)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(w.registry, promhttp.HandlerOpts{}))
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
			answer(rw, http.StatusServiceUnavailable, map[string]string{"worker": w.settings.Cluster.WorkerID, "status": "not ready", "reason": w.waits.reason().Error()})
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
	web := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := web.Serve(port); !errors.Is(err, http.ErrServerClosed) {
			w.failed <- fmt.Errorf("the HTTP door broke: %w", err)
		}
	}()
	return sync.OnceValue(func() error {
		err := web.Close()
		<-ended
		return err
	})
}
