package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway"
	"holdmetrics/ingest"
	"holdmetrics/processor"
	"holdmetrics/processor/generation"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
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
	settings.GatewayFlags(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		s, err := settings.Read(c)
		if err != nil {
			return err
		}
		settings.WarnUnused(c.ErrOrStderr(), "gateway", os.Getenv)
		log := newLogger(settings.SecretsOf(c).Writer(c.ErrOrStderr()), s.LogLevel)
		g := &gatewayNode{node: newNode(s, log)}
		return runNode(c.Context(), g.node, g.start, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "holdmetrics gateway\n  gRPC  %s\n  HTTP  http://%s\n  NATS  %s\nCtrl-C stops it.\n",
				shown(g.grpcAddr), shown(g.httpAddr), settings.Mask(s.Cluster.NATSURL))
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

// gatewayNode is a gateway: NATS ▶ log ▶ generation ▶ producer ▶ doors.
type gatewayNode struct {
	*node
	records *generation.Registry

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
	record, err := g.begin(ctx)
	if err != nil {
		return err
	}
	served, err := g.openWith(ctx, record, patiently)
	if err != nil {
		return err
	}
	// For as long as there is no gateway, which does the same.
	g.onStop(func() error { return errors.Join(served.Snapshots.Close(), served.Close()) })
	warnOfBroker(ctx, g.node)
	others, err := g.others(ctx, record.Name)
	if err != nil {
		return err
	}
	limits, err := g.agreeOnLimits(ctx, others)
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
		Producer:   producer,
		Log:        g.events,
		Backend:    served,
		Version:    version(),
		Logger:     g.log.Named("gateway"),
		Registerer: g.registry,
		Gatherer:   g.registry,
	})
	if err != nil {
		return err
	}
	g.onStop(doors.open(gate, g.failed))
	g.onStop(follow(ctx, generation.FollowerConfig{ID: doorID(), Registry: g.records, Gateway: gate.Following(g.open), Logger: g.log.Named("generations")}))
	return nil
}

// begin reads which generation is active. Where no worker has begun the first one
// yet, it is that one, of which nothing is known.
func (g *gatewayNode) begin(ctx context.Context) (record *generation.Record, err error) {
	err = patiently(ctx, g.log, "the generations cannot be read", func(ctx context.Context) (err error) {
		if g.records, err = generation.Open(ctx, g.js, g.settings.Cluster.Replicas); err != nil {
			return err
		}
		active, err := g.records.Active(ctx)
		if errors.Is(err, generation.ErrUnknown) {
			record = &generation.Record{Name: generation.First}
			return nil
		}
		if err != nil {
			return err
		}
		r, err := g.records.Get(ctx, active.Generation)
		record = &r
		return err
	})
	return record, err
}

// others are the ids of what runs beside this gateway: the workers of all generations,
// this one and those that are recorded, and the gateways.
func (g *gatewayNode) others(ctx context.Context, active string) (ids []string, err error) {
	records, err := g.records.List(ctx)
	if err != nil {
		return nil, err
	}
	names := []string{active}
	for _, r := range records {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		workers, err := lease.Workers(ctx, g.js, name)
		if err != nil {
			return nil, err
		}
		for _, w := range workers {
			ids = append(ids, "worker "+w.ID)
		}
	}
	doors, err := g.records.Gateways(ctx)
	for _, d := range doors {
		ids = append(ids, "gateway "+d.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// patience is how something that is not there is waited for; see patiently.
type patience func(ctx context.Context, log *zap.Logger, what string, f func(context.Context) error) error

// atOnce does not wait: whoever asked tries again.
func atOnce(ctx context.Context, _ *zap.Logger, _ string, f func(context.Context) error) error {
	return f(ctx)
}

// open opens a generation for the gateway, or fails at once.
func (g *gatewayNode) open(ctx context.Context, r *generation.Record) (gateway.Backend, error) {
	return g.openWith(ctx, r, atOnce)
}

// openWith opens what answers are made of: the store, its snapshots, and what its
// workers say.
func (g *gatewayNode) openWith(ctx context.Context, r *generation.Record, wait patience) (b gateway.Backend, err error) {
	var undo []func() error
	shut := sync.OnceValue(func() error {
		var errs []error
		for _, f := range slices.Backward(undo) {
			errs = append(errs, f())
		}
		return errors.Join(errs...)
	})
	defer func() {
		if err != nil {
			err = errors.Join(err, shut())
		}
	}()
	b = gateway.Backend{
		Generation: r.Name, RulesVersion: r.Version, Close: shut,
		Reader: noStore{}, WaitApplied: func(context.Context, int, uint64) error { return gateway.ErrNoStore },
	}
	if r.Version != "" {
		if b.Rules, err = r.ParseRules(); err != nil {
			return b, err
		}
	}
	if g.settings.Cluster.Mongo.URL != "" {
		stores := &mongoStores{config: g.settings.Cluster.Mongo, events: g.events, node: g.node}
		store, err := stores.open(ctx, r.Name, b.Rules)
		if err != nil {
			return b, err
		}
		undo = append(undo, store.Close)
		b.Reader, b.WaitApplied = store, processor.Applied(g.conn, r.Name)
	}
	var view *projection.View
	err = wait(ctx, g.log, "the snapshot bucket cannot be opened", func(ctx context.Context) error {
		snapshots, err := projection.OpenSnapshots(ctx, g.js, projection.SnapshotConfig{Generation: r.Name, Replicas: g.settings.Cluster.Replicas})
		if err != nil {
			return err
		}
		if view, err = snapshots.Watch(ctx); err != nil {
			snapshots.Close()
			return err
		}
		undo = append(undo, func() error { snapshots.Close(); return nil })
		return nil
	})
	if err != nil {
		return b, err
	}
	leases := lease.Watch(g.js, r.Name, g.log)
	undo = append(undo, func() error { leases.Close(); return nil })
	b.Snapshots, b.Owners = view, leaseOwners{leases, g.events.Partitions()}
	b.Ready = func(context.Context) error {
		if !g.conn.IsConnected() {
			return errors.New("there is no connection to NATS")
		}
		return viewReady(view)
	}
	return b, nil
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
		out[p] = gateway.PartitionStatus{Partition: p, State: "no owner", Unknown: true}
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
		// One that never came beyond its loading has a position of 0, which is no position.
		Unknown:  r.State != processor.CatchingUp.String() && r.State != processor.Running.String() && r.Position == 0 && r.Ahead.Position == 0,
		Position: r.Position, Stored: r.Checkpoint, Published: r.Published,
		Pending: r.Pending, Lag: func(end uint64) (uint64, uint64) { return r.Ahead.Lag(r.Position, end) }, LogTime: r.LogTime, Events: r.Events, Rejected: r.Rejected, Excluded: r.Excluded, Trouble: r.Trouble,
	}
}
