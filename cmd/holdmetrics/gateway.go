package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"holdmetrics/gateway"
	"holdmetrics/ingest"
	"holdmetrics/processor"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
	"holdmetrics/projection/generation"
	"holdmetrics/projection/mongo"
)

func newGateway() *cobra.Command {
	c := &cobra.Command{
		Use:   "gateway",
		Short: "Run the gRPC and HTTP doors, beside workers in other processes",
		Long: `Gateway takes events into the log of a NATS cluster and answers from the
snapshots that the workers keep, and from their store. Any number of them may
run; none has anything that another one lacks.

Without MONGODB_URL it takes events and answers from snapshots, and refuses what
only a store can tell (scores as of a time, by token, windows, histories).

'holdmetrics config gateway' shows the settings in force.`,
		Example: `  NATS_URL=nats://n1,nats://n2,nats://n3 MONGODB_URL=mongodb://db/ holdmetrics gateway --replicas 3`,
		Args:    cobra.NoArgs,
	}
	gatewayFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := readSettings(c)
		if err != nil {
			return err
		}
		warnNotUsed(c.ErrOrStderr(), "gateway", os.Getenv)
		log := newLogger(c.ErrOrStderr(), s.logLevel)
		g := &gatewayNode{node: newNode(s, log)}
		return runNode(c.Context(), g.node, g.start, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "holdmetrics gateway\n  gRPC  %s\n  HTTP  http://%s\n  NATS  %s\nCtrl-C stops it.\n",
				shown(g.grpcAddr), shown(g.httpAddr), masked(s.cluster.natsURL))
			return err
		}, c.OutOrStdout())
	}
	return c
}

// runNode starts a node, says so, and runs it until ctx ends or something breaks.
func runNode(ctx context.Context, n *node, start func(context.Context) error, say func(io.Writer) error, out io.Writer) error {
	if err := start(ctx); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		return errors.Join(err, n.stop())
	}
	err := say(out)
	if err == nil {
		select {
		case <-ctx.Done():
			_, _ = fmt.Fprintln(out, "stopping; Ctrl-C again to stop at once")
		case err = <-n.failed:
		}
	}
	return errors.Join(err, n.stop())
}

// gatewayNode is a gateway: NATS ▶ log ▶ store ▶ snapshots ▶ producer ▶ doors.
type gatewayNode struct {
	*node
	reader projection.Reader
	view   *projection.View
	leases *lease.View

	grpcAddr, httpAddr net.Addr
}

func (g *gatewayNode) start(ctx context.Context) error {
	doors, err := listenDoors(g.settings)
	if err != nil {
		return err
	}
	g.onStop(doors.close)
	g.grpcAddr, g.httpAddr = doors.grpc.Addr(), doors.http.Addr()
	if err := g.profiles(); err != nil {
		return err
	}
	if err := g.connect(ctx, "holdmetrics gateway"); err != nil {
		return err
	}
	if err := g.openLog(ctx); err != nil {
		return err
	}
	applied := processor.Applied(g.conn, generation.First)
	if g.settings.cluster.mongo.URL == "" {
		g.reader = noStore{}
		applied = func(context.Context, int, uint64) error { return gateway.ErrNoStore }
	} else {
		store, err := openMongo(ctx, g.node)
		if err != nil {
			return err
		}
		g.reader = store
	}
	snapshots, err := g.openSnapshots(ctx)
	if err != nil {
		return err
	}
	if g.view, err = snapshots.Watch(ctx); err != nil {
		return err
	}
	g.onStop(g.view.Close)
	g.leases = lease.Watch(g.js, generation.First, g.log)
	g.onStop(func() error { g.leases.Close(); return nil })
	warnOfBroker(ctx, g.node)
	workers, err := lease.Workers(ctx, g.js, generation.First)
	if err != nil {
		return err
	}
	limits, err := g.agreeOnLimits(ctx, workers)
	if err != nil {
		return err
	}
	producer := ingest.NewProducer(g.events, ingest.ProducerOptions{Limits: limits})
	g.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), flightGrace)
		defer cancel()
		return producer.Close(ctx)
	})
	gate, err := gateway.New(gateway.Config{
		Producer: producer,
		Log:      g.events,
		Backend: gateway.Backend{
			Generation:  generation.First,
			Reader:      g.reader,
			Snapshots:   g.view,
			WaitApplied: applied,
			Ready:       g.ready,
			Owners:      leaseOwners{g.leases, g.events.Partitions()},
		},
		Version:    version(),
		Logger:     g.log.Named("gateway"),
		Registerer: g.registry,
		Gatherer:   g.registry,
	})
	if err != nil {
		return err
	}
	g.onStop(doors.open(gate, g.failed))
	return nil
}

// ready says why the gateway is not ready: it has no connection to NATS, or has
// not read the snapshots yet.
func (g *gatewayNode) ready(context.Context) error {
	if !g.conn.IsConnected() {
		return errors.New("there is no connection to NATS")
	}
	select {
	case <-g.view.Ready():
		return nil
	default:
		return errors.New("the snapshots are not read yet")
	}
}

// openMongo opens the store that all workers share.
func openMongo(ctx context.Context, n *node) (*mongo.Store, error) {
	c := n.settings.cluster.mongo
	c.Logger = storeLog{n.log.Named("store").Sugar()}
	store, err := mongo.Open(ctx, c)
	if err != nil {
		return nil, err
	}
	n.onStop(store.Close)
	return store, nil
}

// profiles serves the profiles of the process, where they are wanted.
func (n *node) profiles() error {
	p := &plant{settings: n.settings}
	if err := p.startProfiles(); err != nil {
		return err
	}
	n.undo = append(n.undo, p.undo...)
	return nil
}

// noStore is the reader of a gateway that was given no store: it says so.
type noStore struct{}

func (noStore) View(context.Context, int) (projection.PartitionView, error) {
	return nil, gateway.ErrNoStore
}

func (noStore) Holder(context.Context, int, string) (*projection.HolderRecord, error) {
	return nil, gateway.ErrNoStore
}

func (noStore) Checkpoint(context.Context, int) (projection.Checkpoint, bool, error) {
	return projection.Checkpoint{}, false, gateway.ErrNoStore
}

// Ping says nothing against the gateway: what it can do it does.
func (noStore) Ping(context.Context) error { return nil }

// leaseOwners tells of the partitions what their owners said last.
type leaseOwners struct {
	view       *lease.View
	partitions int
}

// Partitions implements gateway.Owners.
func (o leaseOwners) Partitions(context.Context) ([]gateway.PartitionStatus, error) {
	reports := map[string]map[int]processor.PartitionReport{}
	for _, w := range o.view.Workers() {
		reports[w.ID] = processor.ReadReport(w.Report)
	}
	owners := o.view.Owners()
	out := make([]gateway.PartitionStatus, o.partitions)
	for p := range out {
		owner, owned := owners[p]
		out[p] = gateway.PartitionStatus{Partition: p, State: "no owner"}
		if !owned {
			continue
		}
		out[p].Owner, out[p].State = owner.Worker, "claimed"
		if r, said := reports[owner.Worker][p]; said {
			out[p] = statusOf(owner.Worker, r)
		}
	}
	return out, nil
}

// Workers implements gateway.Owners.
func (o leaseOwners) Workers(context.Context) ([]gateway.WorkerStatus, error) {
	var out []gateway.WorkerStatus
	for _, w := range o.view.Workers() {
		out = append(out, gateway.WorkerStatus{ID: w.ID, Host: w.Host, Version: w.Version, Started: w.Started, Heard: w.Heard.UTC().Truncate(time.Millisecond), Leaving: w.Leaving})
	}
	return out, nil
}

func statusOf(owner string, r processor.PartitionReport) gateway.PartitionStatus {
	return gateway.PartitionStatus{
		Partition: r.Partition, Owner: owner, State: r.State, Epoch: r.Epoch, Moving: !r.Stuck,
		Position: r.Position, Stored: r.Checkpoint, Published: r.Published,
		Pending: r.Pending, Lag: func(end uint64) (uint64, uint64) { return r.Ahead.Lag(r.Position, end) }, LogTime: r.LogTime, Events: r.Events, Rejected: r.Rejected, Trouble: r.Trouble,
	}
}
