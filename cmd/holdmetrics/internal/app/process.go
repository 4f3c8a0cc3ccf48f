package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/access"
	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/logging"
	"holdmetrics/cmd/holdmetrics/internal/meters"
	"holdmetrics/cmd/holdmetrics/internal/ports"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/signing"
	"holdmetrics/cmd/holdmetrics/internal/telemetry"
	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/gateway"
	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/transparency"
	"holdmetrics/internal/backoff"
	"holdmetrics/internal/inflate"
	"holdmetrics/internal/service"
	"holdmetrics/internal/tlsfiles"
	"holdmetrics/processor/generation"
	"holdmetrics/processor/lease"
	"holdmetrics/projection"
)

const (
	// againFirst and againMost are the pauses while something that a process needs
	// at its start is not there.
	againFirst = 200 * time.Millisecond
	againMost  = 5 * time.Second
	// startTry bounds the first try of it, and each later one may take twice as long,
	// up to startRequest: a broker without a leader gives no answer, and a slow one may
	// need its time.
	startTry     = 2 * time.Second
	startRequest = 10 * time.Second

	// flightGrace is how long events that are on their way to the log may take.
	flightGrace = 10 * time.Second
	// generationsGrace is how long the last flushes and the hand-over may take.
	generationsGrace = 2 * time.Minute
)

// lastingStart are the errors of a start that trying again does not heal.
var lastingStart = []error{
	ingest.ErrLogSettings, ingest.ErrLogConfig, projection.ErrForeign, projection.ErrMetaFixed, projection.ErrRefused,
	projection.ErrLocked, projection.ErrCorrupt, lease.ErrConfig, transparency.ErrDamaged, nats.ErrAuthorization, nats.ErrNoServers,
}

// patiently tries until it succeeds, fails for good, or ctx ends: what a process
// needs may start after it, and a cluster has no leader for a moment. One try is
// bounded, whatever limit ctx has: an answer may be lost. The last failure becomes the
// reason why the process is not ready.
func (n *process) patiently(ctx context.Context, what string, f func(context.Context) error) error {
	pauses := backoff.Backoff{First: againFirst, Most: againMost}
	tries := backoff.Backoff{First: n.try, Most: startRequest}
	for failures := 0; ; failures++ {
		within, cancel := context.WithTimeout(ctx, tries.Next())
		err := f(within)
		cancel()
		if err == nil {
			n.startup.tried(nil)
		} else {
			n.startup.tried(fmt.Errorf("%s: %w", what, err))
		}
		if err == nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		for _, lasting := range lastingStart {
			if errors.Is(err, lasting) && !errors.Is(err, errAway) {
				return err
			}
		}
		if errors.As(err, new(usage.Error)) {
			return err
		}
		if failures == 0 {
			n.log.Warn("waiting at the start", zap.String("operation", what), zap.Error(err))
		}
		if err := pauses.Wait(ctx); err != nil {
			return err
		}
	}
}

// errAway: nobody answers at an address, which may change.
var errAway = errors.New("nobody answers")

// Instruments are what a process tells of itself with.
type Instruments struct {
	Log       *zap.Logger
	Level     *logging.Level       // of Log; nil: it cannot be changed
	Telemetry *telemetry.Telemetry // nil: nothing is sent
}

// process is what the processes of all three commands have in common.
type process struct {
	settings *settings.Settings
	version  string
	log      *zap.Logger
	tell     Instruments
	Registry *prometheus.Registry
	group    *service.Group
	startup  startup
	try      time.Duration // bounds the first try of what is waited for at a start

	conn   *nats.Conn
	js     jetstream.JetStream
	Events *ingest.Log

	ports       *ports.Ports    // of serve and gateway
	certificate *tlsfiles.Files // of the servers; nil: no TLS
	pprofAddr   net.Addr        // nil: no profiles
	memory      memory
	meters      *meters.Meters
	meterAddr   net.Addr // nil: the metrics have no port of their own
}

func newProcess(s *settings.Settings, version, role string, tell Instruments) *process {
	p := &process{settings: s, version: version, log: tell.Log, tell: tell, Registry: prometheus.NewRegistry(), group: service.New(), try: startTry}
	// Added first, it is stopped last, so that it takes what the others say at their end.
	p.group.AddWithin("telemetry", 2*telemetry.StopLimit, tell.Telemetry.Shutdown)
	p.memory = shareMemory(LimitMemory(s.Bounds.Memory))
	p.meters = meters.New(p.Registry, role, version)
	p.meters.Memory(p.memory.total)
	return p
}

// openPorts opens the ports of a gateway, and has HTTP answer that the process starts.
func (p *process) openPorts() (err error) {
	if p.certificate, err = ports.Certificate(&p.settings.Security, p.group, p.log); err != nil {
		return err
	}
	if p.ports, err = ports.Open(p.settings, p.fileBudget().clients, p.certificate, p.log); err != nil {
		return err
	}
	p.group.Add("the ports", service.Func(p.ports.Close))
	p.ports.Answer(p.startup.reason, p.group)
	return nil
}

// GRPCAddr returns the address of the gRPC server of serve or a gateway.
func (p *process) GRPCAddr() net.Addr { return p.ports.GRPC() }

// Failed returns a channel that is closed when a part of the process has failed.
func (p *process) Failed() <-chan struct{} { return p.group.Failed() }

// Stop stops the parts of the process, the last started first. It takes its time:
// running calls may finish, and workers flush. It returns the first failure of a part,
// joined with the errors of the stops.
func (p *process) Stop() error { return p.group.Stop() }

// pushMetrics begins to send metrics to a collector, if the settings name one. It is the
// last part to start and the first to stop: some metrics ask the other parts.
func (p *process) pushMetrics(ctx context.Context) error {
	stop, err := p.tell.Telemetry.Push(ctx, p.Registry)
	if err != nil {
		return err
	}
	p.group.AddWithin("the push of metrics", 2*telemetry.StopLimit, stop)
	return nil
}

// bounded calls start with the time limit of the settings, and returns what the start
// waited for if the limit is over.
func (p *process) bounded(ctx context.Context, start func(context.Context) error) error {
	limit := p.settings.StartTimeout
	if limit <= 0 {
		return start(ctx)
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := start(within)
	if err != nil && ctx.Err() == nil && within.Err() != nil {
		return fmt.Errorf("start: gave up after %v (--%s): %w", limit, settings.KeyStartTimeout, p.startup.reason())
	}
	return err
}

// runGenerations runs the generations as a part of the process, which fails with the
// active one.
func (p *process) runGenerations(s *generation.Supervisor) {
	p.group.GoWithin("the generations", generationsGrace, s.Run)
	p.group.Go("the active generation", func(ctx context.Context) error {
		select {
		case err := <-s.Failed():
			return err
		case <-ctx.Done():
			return nil
		}
	})
}

// startProofs keeps the Merkle tree of the log as a part of the process, and returns what
// proves with it: nil without a signing key.
func (p *process) startProofs(ctx context.Context, replicas int) (query.Proofs, error) {
	key, err := signing.Key(p.settings)
	if key == nil || err != nil {
		return nil, err
	}
	var keeper *transparency.Keeper
	err = p.patiently(ctx, "the checkpoints of the log cannot be read", func(ctx context.Context) error {
		keeper, err = signing.Open(ctx, p.settings, key, p.Events, replicas, p.log)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.group.Go("the checkpoints of the log", keeper.Run)
	return keeper, nil
}

// follow makes a gateway follow the registry as a part of the process.
func (p *process) follow(cfg generation.FollowerConfig) {
	p.group.Go("the follower of the registry", generation.NewFollower(cfg).Run)
}

// connect connects to NATS, for as long as the process lives: a connection that
// is lost is made again, to whichever server answers.
func (n *process) connect(ctx context.Context, name string) error {
	failed := n.meters.ConnectionErrors()
	err := n.patiently(ctx, "the NATS servers do not answer", func(context.Context) (err error) {
		closed := make(chan struct{})
		user, err := connect.UserOptions(&n.settings.Cluster.NATS)
		if err != nil {
			return err
		}
		n.conn, err = nats.Connect(n.settings.Cluster.NATS.URL, append(user,
			nats.Name(name),
			nats.MaxReconnects(-1),
			nats.ReconnectWait(250*time.Millisecond),
			nats.ReconnectJitter(250*time.Millisecond, time.Second),
			nats.PingInterval(5*time.Second), nats.MaxPingsOutstanding(2), // a server that was cut off is noticed within 15 s
			nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil {
					n.log.Warn("connection to NATS lost; reconnecting", zap.Error(err))
				}
			}),
			nats.ReconnectHandler(func(c *nats.Conn) {
				n.log.Warn("connected to NATS again", zap.String("server", c.ConnectedServerName()))
			}),
			nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
				failed()
				if errors.Is(err, nats.ErrPermissionViolation) {
					n.refused(err)
					return
				}
				n.log.Debug("NATS", zap.Error(err))
			}),
		)...)
		switch {
		case errors.Is(err, nats.ErrNoServers):
			return fmt.Errorf("%w at %s: %w", errAway, settings.Mask(n.settings.Cluster.NATS.URL), settings.InnerError(err))
		case err != nil:
			return fmt.Errorf("connecting to NATS at %s: %w", settings.Mask(n.settings.Cluster.NATS.URL), settings.InnerError(err))
		}
		n.group.Add("the connection to NATS", service.Do(func() {
			n.conn.Close()
			<-closed
		}))
		return nil
	})
	if err != nil {
		return err
	}
	n.meters.Connection(n.conn)
	n.js, err = jetstream.New(n.conn)
	return err
}

// watchLog measures the log from now on.
func (n *process) watchLog(ready func(context.Context) error) {
	n.group.Go("the metrics of the log", n.meters.Watch(meters.Watched{Log: n.Events, Ready: ready}).Run)
}

// openLog opens the event log, and makes it if it is absent.
func (n *process) openLog(ctx context.Context) error {
	return n.patiently(ctx, "the event log cannot be opened", func(ctx context.Context) (err error) {
		n.Events, err = ingest.OpenLog(ctx, n.js, ingest.LogConfig{
			Partitions: n.settings.Cluster.Partitions, Replicas: n.settings.Cluster.Replicas, Limits: n.settings.Limits,
			DeadLetterBytes: n.settings.Bounds.DeadLetterBytes,
			Exists:          n.hasGenerations,
		})
		return err
	})
}

// hasGenerations reports whether there are records of generations, which are made after
// the log.
func (n *process) hasGenerations(ctx context.Context) (bool, error) {
	stream, err := n.js.Stream(ctx, "KV_"+generation.Bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	return err == nil && stream.CachedInfo().State.Msgs > 0, err
}

// agreeOnLimits gives the limits by which a gateway takes events: those of the
// log. Others that were asked for become the log's only while no worker and no other
// gateway runs: a worker knows the former ones and would refuse what a gateway took, and
// a gateway takes by them what a worker that starts later would refuse. others are
// those that do.
func (n *process) agreeOnLimits(ctx context.Context, others []string) (hold.Limits, error) {
	var last uint64
	err := n.patiently(ctx, "the end of the log cannot be read", func(ctx context.Context) (err error) {
		last, err = n.Events.LastPosition(ctx)
		return err
	})
	if err != nil {
		return hold.Limits{}, err
	}
	now := n.Events.LimitsAt(last + 1)
	if !n.settings.LimitsGiven || n.settings.Limits == now {
		return now, nil
	}
	if len(others) > 0 {
		return hold.Limits{}, fmt.Errorf("the log's limits are --%s %s and --%s %s, and there are processes that know these alone (%s); leave the flags out, or stop all gateways and workers, and start a gateway with the new limits first (one that was killed counts for %v more)",
			settings.KeyMaxClockSkew, time.Duration(now.MaxClockSkew), settings.KeyMaxFutureEnd, time.Duration(now.MaxFutureEnd), strings.Join(others, ", "), generation.GatewayTTL)
	}
	err = n.patiently(ctx, "the limits of the log cannot be set", func(ctx context.Context) error {
		return n.Events.SetLimits(ctx, n.settings.Limits)
	})
	return n.settings.Limits, err
}

// callers returns who names the callers of requests; nil: everybody may do everything.
func (n *process) callers(ctx context.Context, replicas int) (names *auth.Authenticator, err error) {
	n.startup.waitFor("the keys and the audit log")
	cfg := access.Config{
		Settings: n.settings, Conn: n.conn, JS: n.js, Replicas: replicas, Registerer: n.Registry, Logger: n.log,
	}
	err = n.patiently(ctx, "the keys and the audit log cannot be opened", func(ctx context.Context) error { return access.Open(ctx, cfg) })
	if err != nil {
		return nil, err
	}
	return access.Start(ctx, cfg, n.group)
}

// levelHandler answers at /log/level of the HTTP server. Without authentication only this
// machine may ask; with it, callers of the scope admin.
func (n *process) levelHandler() http.Handler {
	switch {
	case n.tell.Level == nil:
		return nil
	case n.settings.Security.Auth:
		return n.tell.Level
	}
	return logging.Local(n.tell.Level)
}

// httpOptions are what the settings and the memory of the process say of HTTP.
func (n *process) httpOptions() gateway.HTTPOptions {
	b := &n.settings.Bounds
	return gateway.HTTPOptions{
		CORSOrigins: n.settings.CORSOrigins, Names: ports.Names(n.settings), Lenient: n.settings.Lenient, Bodies: n.memory.bodies(b.Bodies),
		LogLevel: n.levelHandler(),
		Unpack:   inflate.Limits{Free: inflate.DefaultFree, Ratio: b.UnpackRatio, Most: b.UnpackedBytes},
	}
}
