package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/grpcapi"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/gateway/intake"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/inflate"
	"holdmetrics/internal/logs"
	"holdmetrics/internal/reqid"
	"holdmetrics/internal/tracing"
)

// DefaultFreshness is how long a read waits for the store to catch up with the
// log, unless [Config] says otherwise.
const DefaultFreshness = 5 * time.Second

// DefaultRecordWait is how long Record and POST /hold wait for the log, unless
// [Config] says otherwise.
const DefaultRecordWait = 10 * time.Second

// DefaultStreamWait is how long a stream may wait for the log without any
// progress, unless [Config] says otherwise.
const DefaultStreamWait = 20 * time.Second

// DefaultSendStall is how long a client may leave what it is sent untaken before it is
// cut off, be it a watcher or one that reads an answer, and DefaultHeartbeat how often a watch by SSE says that it lives,
// unless [Config] says otherwise.
const (
	DefaultSendStall = 30 * time.Second
	DefaultHeartbeat = 15 * time.Second
)

// DefaultPrepareStall is how long a generation that is prepared may stand still, unless
// [Config] says otherwise.
const DefaultPrepareStall = 30 * time.Second

// refusalsEvery is how often events that were refused for the same reason have a line of
// the log.
const refusalsEvery = time.Minute

// ErrConfig says that a [Config] lacks something.
var ErrConfig = errors.New("gateway: bad configuration")

// Config is what a gateway is made of. Fields without a remark are required.
type Config struct {
	Producer intake.Producer
	Log      query.Log
	// Backend is the generation that is served first. See [Gateway.Prepare] for others.
	query.Backend

	// DeadLetters returns what the dead letters take of their budget; nil: that is not shown.
	DeadLetters func(context.Context) (ingest.DeadLetterUsage, error)

	// Refused returns why no event is taken now, or nil; nil: that is not shown.
	Refused func() error

	// Proofs proves what the log has; nil: the server has no signing key.
	Proofs query.Proofs

	Now        func() int64  // unix nanoseconds; nil: the system's clock
	Freshness  time.Duration // longest wait of a read for the store; 0: DefaultFreshness
	RecordWait time.Duration // longest wait of a single event for the log; 0: DefaultRecordWait
	SendStall  time.Duration // longest wait for a client to take what it is sent; 0: DefaultSendStall
	Heartbeat  time.Duration // of a watch by SSE that has nothing to tell; 0: DefaultHeartbeat
	StreamWait time.Duration // longest wait of a stream for the log's next answer; 0: DefaultStreamWait
	// PrepareStall is how long a generation that is prepared or switched to may stand
	// still, in loading or catching up, before that is given up; 0: DefaultPrepareStall.
	PrepareStall time.Duration
	Bounds       query.Bounds          // of what reads may ask; zeros stand for defaults
	Watching     watch.Bounds          // of what may be watched; zeros stand for defaults
	Version      string                // shown in the OpenAPI document; may be empty
	Logger       *zap.Logger           // nil: none
	Registerer   prometheus.Registerer // takes the gateway's own metrics; nil: none does
	Gatherer     prometheus.Gatherer   // what /metrics shows; nil: nothing
	TokenLabels  TokenLabels           // of hold_events_total
	HTTP         HTTPOptions
	// Tracer makes spans of requests; nil: none are made.
	Tracer *tracing.Tracer
	// TraceID returns the id of the trace that a call belongs to, or "" if there is none.
	// Histograms show it as an exemplar. nil: that of Tracer.
	TraceID func(context.Context) string
	// Auth names the callers of requests; nil: everybody may do everything.
	Auth *auth.Authenticator
	// MessageBytes is the largest message of gRPC that is accepted; 0: [grpcapi.MaxMessageBytes].
	MessageBytes int
}

// HTTPOptions are choices of the HTTP API.
type HTTPOptions struct {
	// CORSOrigins are the origins whose pages may read, exactly as browsers send them;
	// see [httpapi.CheckOrigin].
	CORSOrigins []string
	// Names are those by which clients reach the server, beside addresses and localhost;
	// see [httpapi.CheckName]. Under other names no request is served.
	Names []string
	// Lenient: fields of events in JSON that no event has are ignored and counted, and
	// not only those that begin with an underscore.
	Lenient bool
	// LogLevel answers at /log/level, and decides itself who may ask; nil: there is no such path.
	LogLevel http.Handler
	// Bodies is how many bodies of POST /holds are read at once; 0: [httpapi.DefaultBodies].
	Bodies int
	// Unpack are the limits of a compressed body; zero: the defaults of package inflate.
	Unpack inflate.Limits
}

// Gateway serves the gRPC and the HTTP API. It is safe for concurrent use.
type Gateway struct {
	cfg      Config
	log      *zap.Logger
	metrics  *metrics
	refusals *logs.Tally

	reads  *query.Service
	hub    *watch.Hub
	intake *intake.Intake
	grpc   *grpcapi.Server
	http   *httpapi.Server

	// prepared is the generation that may be the next to be active. changing is held
	// while a generation is prepared, released or switched to.
	prepared atomic.Pointer[query.Generation]
	changing sync.Mutex
}

// New makes a gateway. Its errors wrap [ErrConfig].
func New(cfg Config) (*Gateway, error) {
	for name, missing := range map[string]bool{
		"Producer": cfg.Producer == nil, "Log": cfg.Log == nil, "Reader": cfg.Reader == nil,
		"Snapshots": cfg.Snapshots == nil, "WaitApplied": cfg.WaitApplied == nil, "Ready": cfg.Ready == nil,
	} {
		if missing {
			return nil, fmt.Errorf("%w: %s is required", ErrConfig, name)
		}
	}
	for _, origin := range cfg.HTTP.CORSOrigins {
		if err := httpapi.CheckOrigin(origin); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	for _, name := range cfg.HTTP.Names {
		if err := httpapi.CheckName(name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
	}
	if cfg.Now == nil {
		cfg.Now = func() int64 { return time.Now().UnixNano() }
	}
	if cfg.Freshness <= 0 {
		cfg.Freshness = DefaultFreshness
	}
	if cfg.RecordWait <= 0 {
		cfg.RecordWait = DefaultRecordWait
	}
	if cfg.StreamWait <= 0 {
		cfg.StreamWait = DefaultStreamWait
	}
	if cfg.PrepareStall <= 0 {
		cfg.PrepareStall = DefaultPrepareStall
	}
	if cfg.SendStall <= 0 {
		cfg.SendStall = DefaultSendStall
	}
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = DefaultHeartbeat
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.TraceID == nil && cfg.Tracer != nil {
		cfg.TraceID = cfg.Tracer.TraceID
	}
	if cfg.Gatherer == nil {
		cfg.Gatherer = prometheus.NewRegistry()
	}
	g := &Gateway{cfg: cfg, log: cfg.Logger}
	g.cfg.Backend = query.Backend{} // requests pin one; here it would be kept for ever
	var err error
	if g.metrics, err = newMetrics(&cfg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	g.reads = query.New(query.Config{Log: cfg.Log, Now: cfg.Now, Freshness: cfg.Freshness, Logger: cfg.Logger, PrepareStall: cfg.PrepareStall, Bounds: cfg.Bounds, Proofs: cfg.Proofs}, cfg.Backend)
	g.metrics.serves(&cfg.Backend)
	g.hub = watch.NewHub(g.reads, cfg.Snapshots, cfg.Watching)
	g.refusals = logs.NewTally(refusalsEvery)
	g.intake = intake.New(intake.Config{
		Tally: g.refusals, Logger: cfg.Logger,
		Producer: cfg.Producer, Rules: func() hold.Rules { return g.reads.Active().Rules },
		Pairs: g.reads, Sealed: g.reads.Sealed,
		RecordWait: cfg.RecordWait, StreamWait: cfg.StreamWait, Blocked: g.reads.BlockedByImport, Observer: g.metrics, Tokens: g.metrics.byToken(),
	})
	ids, err := reqid.NewSource(rand.Reader)
	if err != nil {
		return nil, err
	}
	g.grpc = grpcapi.New(grpcapi.Config{
		Reads: g.reads, Watches: g.hub, Intake: g.intake, Status: g.status,
		StreamWait: cfg.StreamWait, SendStall: cfg.SendStall, Observer: g.metrics, Logger: cfg.Logger,
		MessageBytes: cfg.MessageBytes, RequestIDs: ids, Tracer: cfg.Tracer, Auth: cfg.Auth,
	})
	if g.http, err = httpapi.New(httpapi.Config{
		Reads: g.reads, Watches: g.hub, Intake: g.intake, Status: g.status,
		StreamWait: cfg.StreamWait, SendStall: cfg.SendStall, Heartbeat: cfg.Heartbeat,
		Version: cfg.Version, Gatherer: cfg.Gatherer, Observer: g.metrics, Logger: cfg.Logger, RequestIDs: ids, Tracer: cfg.Tracer, Auth: cfg.Auth,
		CORSOrigins: cfg.HTTP.CORSOrigins, Names: cfg.HTTP.Names, Lenient: cfg.HTTP.Lenient, LogLevel: cfg.HTTP.LogLevel, Bodies: cfg.HTTP.Bodies, Unpack: cfg.HTTP.Unpack,
	}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return g, nil
}

// Reads answers reads in this process, without a server.
func (g *Gateway) Reads() *query.Service { return g.reads }

// Watches lets code of this process watch, without a server.
func (g *Gateway) Watches() *watch.Hub { return g.hub }

// ServerOptions are what the gRPC server of a gateway must be made with: the
// codec, limits, keepalive and metrics.
func (g *Gateway) ServerOptions() []grpc.ServerOption { return g.grpc.Options() }

// RegisterGRPC adds the services to a server that was made with [Gateway.ServerOptions]:
// poh.HoldMetrics, poh.HoldMetricsQuery, health and reflection.
func (g *Gateway) RegisterGRPC(s *grpc.Server) { g.grpc.Register(s) }

// Handler answers the HTTP API.
func (g *Gateway) Handler() http.Handler { return g.http.Handler() }

// HTTPServer is a server of the HTTP API with timeouts that let answers stream and
// close silent clients. The caller serves it on a listener and shuts it down.
func (g *Gateway) HTTPServer() *http.Server { return g.http.HTTPServer() }

// status is how the system does, with what this gateway knows of itself.
func (g *Gateway) status(ctx context.Context) (*query.Status, error) {
	s, err := g.reads.Status(ctx)
	if err == nil {
		s.Watchers, s.Version, s.Prepared = g.hub.Count(), g.cfg.Version, g.Prepared()
	}
	if err == nil && g.cfg.Refused != nil {
		s.Refused = g.cfg.Refused()
	}
	if err == nil && g.cfg.DeadLetters != nil {
		// Where they cannot be read, the rest is worth knowing all the same.
		if usage, err := g.cfg.DeadLetters(ctx); err == nil {
			s.DeadLetters = &usage
		}
	}
	return s, err
}

// Drain ends the watches, which would go on for ever; their clients learn that they
// may come again. Call it before the servers are stopped.
func (g *Gateway) Drain() { g.hub.Drain() }

// Close waits for the last goroutines of streams that have ended, and closes the
// generations. Call it when the servers have stopped. If ctx ends first, it returns what
// it waits for, which then goes on by itself.
func (g *Gateway) Close(ctx context.Context) error {
	g.hub.Drain()
	steps := []struct {
		awaited string
		wait    func()
	}{
		{"the gRPC streams to end", g.grpc.Wait},
		{"the refusals to be counted", g.refusals.Close},
		{"the watches to end", g.hub.Wait},
		{"the prepared generation to close", g.Release},
		{"the active generation to close", g.reads.Close},
	}
	var at atomic.Int32
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for _, s := range steps {
			s.wait()
			at.Add(1)
		}
	}()
	select {
	case <-closed:
		return nil
	case <-ctx.Done():
	}
	if i := int(at.Load()); i < len(steps) {
		return fmt.Errorf("gateway: close: still waiting for %s, %d requests under way: %w", steps[i].awaited, g.reads.Active().Pinned()-1, context.Cause(ctx))
	}
	return nil
}

// Routes are the patterns of the paths that the HTTP server answers.
func (g *Gateway) Routes() []string { return g.http.Routes() }
