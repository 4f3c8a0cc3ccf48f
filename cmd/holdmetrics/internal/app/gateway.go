package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/gateway"
	"holdmetrics/ingest"
	"holdmetrics/internal/service"
	"holdmetrics/processor"
	"holdmetrics/processor/generation"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

// Gateway is a gateway beside workers in other processes: NATS ▶ log ▶ generation ▶
// producer ▶ servers.
type Gateway struct {
	*process
	records *generation.Registry
	refused atomic.Pointer[func() error] // returns why no event is taken; nil: it is starting
}

// NewGateway returns a gateway that is not started.
func NewGateway(s *settings.Settings, version string, tell Instruments) *Gateway {
	return &Gateway{process: newProcess(s, version, "gateway", tell)}
}

// Start starts the gateway. After an error Stop must be called, as after a start that
// succeeded.
func (g *Gateway) Start(ctx context.Context) error {
	defer g.startup.watch(g.log)()
	return g.bounded(ctx, g.start)
}

// Fields say in the log where it serves.
func (g *Gateway) Fields() []zap.Field {
	return []zap.Field{
		zap.Stringer("grpc_address", g.GRPCAddr()), zap.Stringer("http_address", g.ports.HTTP()), zap.String("nats_url", settings.Mask(g.settings.Cluster.NATS.URL)),
	}
}

// Banner returns the lines that tell an operator where it serves.
func (g *Gateway) Banner() string {
	return fmt.Sprintf("holdmetrics gateway\n%s  NATS  %s\n%s", g.ports.Banner(), settings.Mask(g.settings.Cluster.NATS.URL), g.metricsLine())
}

func (g *Gateway) start(ctx context.Context) error {
	if err := g.openPorts(); err != nil {
		return err
	}
	g.measureCertificates(g.certificate)
	if err := errors.Join(g.startProfiles(), g.startMetrics()); err != nil {
		return err
	}
	g.startup.waitFor("NATS")
	if err := g.connect(ctx, "holdmetrics gateway"); err != nil {
		return err
	}
	g.startup.waitFor("the event log")
	if err := g.openLog(ctx); err != nil {
		return err
	}
	g.startup.waitFor("the records of the generations")
	record, err := g.begin(ctx)
	if err != nil {
		return err
	}
	g.startup.waitFor("the store and the snapshots")
	served, err := g.openWith(ctx, record, g.patiently)
	if err != nil {
		return err
	}
	// The gateway does the same; closing twice does no harm.
	g.group.Add("the snapshots and the store", service.Func(func() error {
		return errors.Join(served.Snapshots.Close(), served.Close())
	}))
	warnOfBroker(ctx, g.process)
	others, err := g.others(ctx, record.Name)
	if err != nil {
		return err
	}
	limits, err := g.agreeOnLimits(ctx, others)
	if err != nil {
		return err
	}
	var reads atomic.Pointer[gateway.Gateway] // nil: it is not made yet
	guard := &logGuard{conn: g.conn, log: g.log, settings: g.checkSettings, compare: func(ctx context.Context) error {
		if gate := reads.Load(); gate != nil {
			return g.compareLog(ctx, gate.Reads().Active().Reader)
		}
		return g.compareLog(ctx, served.Reader)
	}}
	guard.look(ctx)
	g.group.Go("the look at the log", guard.run)
	writes := &logWrites{probe: g.Events.Probe, now: time.Now, log: g.log}
	writes.look(ctx)
	g.group.Go("the look at writes", writes.run)
	refused := func() error { return cmp.Or(guard.err(), writes.err()) }
	g.refused.Store(&refused)
	producer := ingest.NewProducer(g.Events, ingest.ProducerOptions{Limits: limits, Gate: refused, Tracer: g.tell.Telemetry.Tracer(), Outcome: writes.note, MaxPendingBytes: int(g.memory.pending), Published: g.meters.Frames()})
	g.meters.Pending(producer.Pending, cmp.Or(int(g.memory.pending), ingest.DefaultMaxPendingBytes))
	g.meters.Writable(refused)
	g.group.AddWithin("events on their way to the log", flightGrace, producer.Close)
	proofs, err := g.startProofs(ctx, g.settings.Cluster.Replicas)
	if err != nil {
		return err
	}
	callers, err := g.callers(ctx, g.settings.Cluster.Replicas)
	if err != nil {
		return err
	}
	gate, err := gateway.New(gateway.Config{
		Auth:         callers,
		Producer:     producer,
		Log:          g.Events,
		Backend:      served,
		Version:      g.version,
		Logger:       g.log.Named("gateway"),
		Tracer:       g.tell.Telemetry.Tracer(),
		Registerer:   g.Registry,
		Gatherer:     g.Registry,
		HTTP:         g.httpOptions(),
		MessageBytes: int(g.memory.message),
		Bounds:       g.settings.Reads,
		Watching:     g.settings.Watches,
		DeadLetters:  g.Events.DeadLetters().Usage,
		Refused:      refused,
		Proofs:       proofs,
		TokenLabels:  g.settings.Metrics.Tokens,
	})
	if err != nil {
		return err
	}
	reads.Store(gate)
	g.ports.Serve(gate, g.group)
	g.watchLog(gate.Reads().Ready)
	g.follow(generation.FollowerConfig{ID: gatewayID(), Registry: g.records, Gateway: gate.Following(g.open), Logger: g.log.Named("generations")})
	return g.pushMetrics(ctx)
}

// checkSettings looks at the settings of the log and the records of the generations,
// which an operator may mend.
func (g *Gateway) checkSettings(ctx context.Context) error {
	return cmp.Or(g.Events.CheckSettings(ctx), g.records.Check(ctx))
}

// compareLog compares the log with a store. A gateway without a store knows nothing that
// the log must have.
func (g *Gateway) compareLog(ctx context.Context, store projection.Reader) error {
	err := processor.CheckLog(ctx, g.Events, store)
	if errors.Is(err, gateway.ErrNoStore) {
		return g.Events.Damage()
	}
	return err
}

// begin reads which generation is active. Where no worker has begun the first one
// yet, it is that one, of which nothing is known.
func (g *Gateway) begin(ctx context.Context) (record *generation.Record, err error) {
	err = g.patiently(ctx, "the generations cannot be read", func(ctx context.Context) (err error) {
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

// others returns the ids of the processes that run beside this gateway: the workers of
// all generations, those that are recorded and the active one, and the gateways.
func (g *Gateway) others(ctx context.Context, active string) (ids []string, err error) {
	g.startup.waitFor("the names of the other processes")
	err = g.patiently(ctx, "the other processes cannot be read", func(ctx context.Context) (err error) {
		ids, err = g.readOthers(ctx, active)
		return err
	})
	return ids, err
}

// readOthers tries once to read what others returns.
func (g *Gateway) readOthers(ctx context.Context, active string) (ids []string, err error) {
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
	gateways, err := g.records.Gateways(ctx)
	for _, d := range gateways {
		ids = append(ids, "gateway "+d.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// retrying is how something that is absent is waited for; see [process.patiently].
type retrying func(ctx context.Context, what string, f func(context.Context) error) error

// atOnce does not wait: the caller tries again.
func atOnce(ctx context.Context, _ string, f func(context.Context) error) error { return f(ctx) }

// open opens a generation for the gateway, or fails at once.
func (g *Gateway) open(ctx context.Context, r *generation.Record) (gateway.Backend, error) {
	return g.openWith(ctx, r, atOnce)
}

// openWith opens what answers are made of: the store, its snapshots, and what its
// workers say.
func (g *Gateway) openWith(ctx context.Context, r *generation.Record, wait retrying) (b gateway.Backend, err error) {
	parts := service.New()
	defer func() {
		if err != nil {
			err = errors.Join(err, parts.Stop())
		}
	}()
	b = gateway.Backend{
		Generation: r.Name, RulesVersion: r.Version, Close: parts.Stop,
		Reader: noStore{}, WaitApplied: func(context.Context, int, uint64) error { return gateway.ErrNoStore },
	}
	if r.Version != "" {
		if b.Rules, err = r.ParseRules(); err != nil {
			return b, err
		}
	}
	if g.settings.Cluster.Mongo.URL != "" {
		stores := &mongoStores{config: g.settings.Cluster.Mongo, events: g.Events, node: g.process}
		store, err := stores.open(ctx, r.Name, b.Rules)
		if err != nil {
			return b, err
		}
		parts.Add("the store", service.Func(store.Close))
		b.Reader, b.WaitApplied = store, processor.Applied(g.conn, r.Name)
	}
	var view *projection.View
	err = wait(ctx, "the snapshot bucket cannot be opened", func(ctx context.Context) error {
		snapshots, err := projection.OpenSnapshots(ctx, g.js, projection.SnapshotConfig{Generation: r.Name, Replicas: g.settings.Cluster.Replicas, Check: projection.CheckSnapshot})
		if err != nil {
			return err
		}
		if view, err = snapshots.Watch(ctx); err != nil {
			snapshots.Close()
			return err
		}
		parts.Add("the snapshot bucket", service.Do(snapshots.Close))
		return nil
	})
	if err != nil {
		return b, err
	}
	leases := lease.Watch(g.js, r.Name, g.log)
	parts.Add("the leases", service.Do(leases.Close))
	b.Snapshots, b.Owners = view, leaseOwners{leases, g.Events.Partitions()}
	b.Ready = func(context.Context) error {
		if !g.conn.IsConnected() {
			return errors.New("there is no connection to NATS")
		}
		if refused := g.refused.Load(); refused != nil {
			if err := (*refused)(); err != nil {
				return err
			}
		}
		return cmp.Or(g.ports.Err(), viewReady(view))
	}
	return b, nil
}

var notInIDs = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// gatewayID returns a name for this gateway that no other one ever had.
func gatewayID() string {
	host, _ := os.Hostname()
	return notInIDs.ReplaceAllString(host, "-") + "-" + uuid.NewString()[:8]
}

// noStore is the reader of a gateway without a store. Every read fails with
// gateway.ErrNoStore.
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

func (noStore) Load(context.Context, int, []projection.PairKey) ([]*projection.PairRecord, error) {
	return nil, gateway.ErrNoStore
}

// Ping succeeds: a gateway without a store is healthy.
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
		Pending: r.Pending, Lag: func(end uint64) (uint64, uint64) { return r.Ahead.Lag(r.Position, end) }, LogTime: r.LogTime, Events: r.Events, Rejected: r.Rejected, Excluded: r.Excluded, LastError: r.LastError,
	}
}
