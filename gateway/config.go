package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
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

// DefaultWatchStall is how long a watcher may leave what it is sent untaken before
// it is closed, and DefaultHeartbeat how often a watch by SSE says that it lives,
// unless [Config] says otherwise.
const (
	DefaultWatchStall = 30 * time.Second
	DefaultHeartbeat  = 15 * time.Second
)

// ErrConfig says that a [Config] lacks something.
var ErrConfig = errors.New("gateway: bad configuration")

// Producer takes events into the log. *ingest.Producer is one.
//
// The draft and its strings are the gateway's again as soon as a call returns.
type Producer interface {
	// Record returns when the log has the event.
	Record(ctx context.Context, d *hold.Draft) (position uint64, err error)
	// Send returns when the event is on its way. Where it returned no error, done
	// is called exactly once, from any goroutine; it does not block.
	Send(ctx context.Context, d *hold.Draft, done func(position uint64, err error)) error
	// SendBatch is Send for many; done is called exactly once, when the fate of
	// each event is known.
	SendBatch(ctx context.Context, drafts []hold.Draft, done func(ingest.BatchResult))
}

// Log says how far the log goes. *ingest.Log is one. Where it has a method
// Horizon() int64 that gives anything but 0, reads as of times before are refused; where
// it has Importing(context.Context) error, what is slow is told to be so for that reason;
// and where it has Behind as [ingest.Log] does, status counts what no owner counts.
type Log interface {
	Partitions() int
	End(ctx context.Context, partition int) (uint64, error)
	LastPosition(ctx context.Context) (uint64, error)
}

// Snapshots are the current HoldStats of all holders. *projection.View is one.
type Snapshots interface {
	// Wait returns when the first load is complete.
	Wait(ctx context.Context) error
	// All calls fn for every snapshot by key, until fn says false. A value is a
	// HoldStat as protobuf.
	All(fn func(key string, value []byte) bool)
	// Len is the number of holders.
	Len() int
	// Lookup is the current snapshot of a holder's key.
	Lookup(key string) (projection.Change, bool)
	// Each is All, with when each snapshot came.
	Each(fn func(projection.Change) bool)
	// AppendChanges, AppendLatest, Changed and Last follow what changes, as [projection.View] has it.
	AppendChanges(dst []projection.Change, after uint64, limit int) (changes []projection.Change, next uint64)
	AppendLatest(dst []projection.Change, after, before uint64, limit int) (changes []projection.Change, next, point uint64, more bool)
	Changed() <-chan struct{}
	Last() uint64
	// Reline puts a snapshot with a line that goes on in place of the one of a change,
	// as [projection.View] has it.
	Reline(c projection.Change, value []byte) bool
	// Freeze keeps the snapshots as they are until Thaw or Close; Close, for good.
	// Frozen or closed, they can be read.
	Freeze()
	Thaw()
	Close() error
	// Reached is how far the snapshots of a partition are, and WaitPosition returns
	// when they are at a position.
	Reached(partition int) projection.Reached
	WaitPosition(ctx context.Context, partition int, position uint64) error
}

// Config is what a gateway is made of. Fields without a remark are required.
type Config struct {
	Producer Producer
	Log      Log
	// Backend is the generation that is served first. See [Gateway.Prepare] for others.
	Backend

	Now        func() int64          // unix nanoseconds; nil: the system's clock
	Freshness  time.Duration         // longest wait of a read for the store; 0: DefaultFreshness
	RecordWait time.Duration         // longest wait of a single event for the log; 0: DefaultRecordWait
	WatchStall time.Duration         // longest wait for a watcher to take what it is sent; 0: DefaultWatchStall
	Heartbeat  time.Duration         // of a watch by SSE that has nothing to tell; 0: DefaultHeartbeat
	StreamWait time.Duration         // longest wait of a stream for the log's next answer; 0: DefaultStreamWait
	Version    string                // shown in the OpenAPI document; may be empty
	Logger     *zap.Logger           // nil: none
	Registerer prometheus.Registerer // takes the gateway's own metrics; nil: none does
	Gatherer   prometheus.Gatherer   // what /metrics shows; nil: nothing
}

// Gateway serves both doors. It is safe for concurrent use.
type Gateway struct {
	cfg     Config
	log     *zap.Logger
	metrics *metrics
	handler http.Handler

	// receivers are the goroutines that read from Broadcast streams. Such a
	// goroutine ends just after its stream, not before, because what unblocks a
	// Recv is the end of the stream.
	receivers sync.WaitGroup

	producer Producer      // cfg's, behind the rules
	sums     chan struct{} // places for reads that add up everything
	hub      *watchHub

	// active is the generation that requests are answered from (see pin), prepared
	// the one that may be the next. changing is held by whoever changes them.
	active, prepared atomic.Pointer[backend]
	changing         sync.Mutex
	// seen are the greatest positions, by partition, that were read from a store.
	seen []atomic.Uint64
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
	if cfg.WatchStall <= 0 {
		cfg.WatchStall = DefaultWatchStall
	}
	if cfg.Heartbeat <= 0 {
		cfg.Heartbeat = DefaultHeartbeat
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Gatherer == nil {
		cfg.Gatherer = prometheus.NewRegistry()
	}
	g := &Gateway{cfg: cfg, log: cfg.Logger, sums: make(chan struct{}, maxSums)}
	g.seen = make([]atomic.Uint64, cfg.Log.Partitions())
	g.active.Store(newBackend(g, cfg.Backend, false))
	g.producer = ruledProducer{cfg.Producer, g}
	g.cfg.Backend = Backend{} // requests pin one; here it would be kept for ever
	g.hub = newWatchHub(cfg.Snapshots)
	var err error
	if g.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	g.metrics.serves(&cfg.Backend)
	if g.handler, err = newHandler(g); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return g, nil
}

// Drain ends the watches, which would go on for ever; their clients are told to
// come again. Call it before the servers are stopped.
func (g *Gateway) Drain() { g.hub.drain() }

// Close waits for the last goroutines of streams that have ended. Call it when
// the servers have stopped.
func (g *Gateway) Close() {
	g.hub.drain()
	g.receivers.Wait()
	g.hub.wait()
	g.Release()
	g.active.Load().close() // still pinned: who comes late finds no other one
}
