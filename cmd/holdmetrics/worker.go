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
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"holdmetrics/processor"
	"holdmetrics/processor/hold"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
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
	workerFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := readSettings(c)
		if err != nil {
			return err
		}
		if s.cluster.store == storeMongo && s.cluster.mongo.URL == "" {
			return usagef("a worker needs a database: set MONGODB_URL (or --%s), or ask for a store of this worker alone with --%s %s", keyMongoURL, keyStore, storeEmbedded)
		}
		warnNotUsed(c.ErrOrStderr(), "worker", os.Getenv)
		w := &workerNode{node: newNode(s, newLogger(c.ErrOrStderr(), s.logLevel))}
		return runNode(c.Context(), w.node, w.start, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "holdmetrics worker %s, policy %s\n  HTTP  http://%s (metrics and health)\n  NATS  %s\nCtrl-C stops it.\n",
				s.cluster.workerID, w.policy, shown(w.httpAddr), masked(s.cluster.natsURL))
			return err
		}, c.OutOrStdout())
	}
	return c
}

// workerNode is a worker: NATS ▶ log ▶ store ▶ snapshots ▶ worker.
type workerNode struct {
	*node
	store    projection.Store
	policy   hold.Policy
	worker   *processor.Worker
	httpAddr net.Addr
}

func (w *workerNode) start(ctx context.Context) error {
	port, err := listen(keyMetrics, w.settings.cluster.metricsAddress)
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
	if err := w.profiles(); err != nil {
		return err
	}
	if err := w.connect(ctx, "holdmetrics worker "+w.settings.cluster.workerID); err != nil {
		return err
	}
	if err := w.openLog(ctx); err != nil {
		return err
	}
	if err := w.openStore(ctx); err != nil {
		return err
	}
	snapshots, err := w.openSnapshots(ctx)
	if err != nil {
		return err
	}
	warnOfBroker(ctx, w.node)
	if err := w.run(ctx, snapshots); err != nil {
		return err
	}
	stop, err := w.worker.AnswerApplied(w.conn, generation)
	if err != nil {
		return err
	}
	w.onStop(func() error { stop(); return nil })
	w.serve(port)
	return nil
}

// openStore opens the store, and fixes what is fixed when it is made.
func (w *workerNode) openStore(ctx context.Context) error {
	switch w.settings.cluster.store {
	case storeEmbedded:
		lock, err := lockDataDir(w.settings.dataDir)
		if err != nil {
			return err
		}
		w.onStop(lock.Close)
		store, err := embedded.Open(filepath.Join(w.settings.dataDir, "store"), embedded.Options{Logger: storeLog{w.log.Named("store").Sugar()}})
		if err != nil {
			return err
		}
		w.onStop(store.Close)
		w.store = store
	default:
		store, err := openMongo(ctx, w.node)
		if err != nil {
			return err
		}
		w.store = store
	}
	return patiently(ctx, w.log, "the store's settings cannot be read", func(ctx context.Context) error {
		fixed, err := w.store.Meta(ctx)
		if err != nil {
			return err
		}
		w.policy = w.settings.policy
		if text, ok := fixed[projection.MetaPolicy]; ok && !w.settings.policyGiven {
			if w.policy, err = hold.ParsePolicy(text); err != nil {
				return fmt.Errorf("%w: policy: %w", projection.ErrForeign, err)
			}
		}
		return w.store.SetMeta(ctx, map[string]string{
			projection.MetaPolicy:     w.policy.String(),
			projection.MetaPartitions: strconv.Itoa(w.events.Partitions()),
			projection.MetaLogID:      w.events.ID(),
		})
	})
}

// run runs the worker until stop, which waits until everything was handed over.
func (w *workerNode) run(ctx context.Context, snapshots *projection.Snapshots) (err error) {
	host, _ := os.Hostname()
	w.worker, err = processor.New(processor.Config{
		Log: w.events, Store: w.store, Snapshots: snapshots, Policy: w.policy,
		GCInterval: w.settings.gcInterval, FlushInterval: w.settings.cluster.flushInterval,
		Logger: w.log.Named("processor"), Registerer: w.registry,
		Ownership: &processor.Ownership{Lease: lease.Config{
			Generation: generation, Replicas: w.settings.cluster.replicas, Lease: w.settings.cluster.lease,
			Worker: w.settings.cluster.workerID, Host: host, Version: version(),
		}},
	})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() {
		err := w.worker.Run(running)
		if running.Err() == nil {
			w.failed <- fmt.Errorf("the worker stopped: %w", err)
			err = nil // said by failed
		}
		done <- err
	}()
	w.onStop(func() error {
		cancel()
		return <-done // also where it was stopped before everything was flushed
	})
	return nil
}

// ready says why the worker is not ready.
func (w *workerNode) ready(ctx context.Context) error {
	if err := w.store.Ping(ctx); err != nil {
		return err
	}
	return w.worker.Ready(ctx, moveWithin)
}

// serve answers at the worker's own port: metrics, health and what it owns.
func (w *workerNode) serve(port net.Listener) {
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
		body := struct {
			Worker string `json:"worker"`
			processor.Report
		}{w.settings.cluster.workerID, w.worker.Report()}
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
	w.onStop(func() error {
		err := web.Close()
		<-ended
		return err
	})
}
