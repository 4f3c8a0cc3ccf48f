package processor

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/tracing"
	"holdmetrics/projection"
)

// Defaults of [Config].
const (
	DefaultCacheBytes    = 256 << 20 // at least; a quarter of the memory where that is more
	DefaultFlushBytes    = 64 << 20  // at least; a sixteenth of the memory where that is more
	DefaultFlushInterval = time.Second
	DefaultGCInterval    = 30 * time.Second
	DefaultStopTimeout   = 10 * time.Second
)

// Config says what a [Worker] works on. Log and Store are required; a zero in
// any other field is its default.
type Config struct {
	Log   *ingest.Log
	Store projection.Store
	// Snapshots is the bucket that readers watch; nil: none is kept.
	Snapshots *projection.Snapshots

	// Rules are those by which everything counts. The store is fixed to their
	// version, and every snapshot names it. nil: hold.PlainRules of Policy.
	Rules  hold.Rules
	Policy hold.Policy // where there are no Rules: of pairs that are new to the store

	CacheBytes    int           // bound of the pairs in memory, over all partitions; 0: see DefaultCacheBytes
	FlushBytes    int           // bound of what is applied but not flushed, over all partitions; half of it starts a flush; 0: see DefaultFlushBytes
	FlushInterval time.Duration // from the first change to its flush; up to flushStretch times as long where flushes take long, and up to flushBehind times while the log is far ahead
	GCInterval    time.Duration // how often the cache is trimmed even where it is not full
	StopTimeout   time.Duration // how long the last flush and publish may take after ctx ended

	Partitions []int // nil: all

	// DiscardDeadLetters counts what is rejected and writes no dead letters, as a
	// rebuild does, until SetDeadLetters says otherwise.
	DiscardDeadLetters bool

	Until   uint64 // last position of the log that is applied; 0: there is none
	Goal    uint64 // up to which position MaxRate holds; what the log had at the start at most
	MaxRate uint64 // events a second, over all partitions of the log and all workers; 0: no bound

	// Ownership makes the worker one of several, which share the partitions among
	// them as they come and go; nil: it runs Partitions, and nobody else does.
	Ownership *Ownership

	// KeptWithLog says that the bucket was always kept together with the log, so that one
	// which is ahead of the log shows that the log has lost its end. Else it is taken for
	// the bucket of another log, and published over.
	KeptWithLog bool

	// Epoch gives the epoch under which a partition is written, from that of its
	// checkpoint (0 if it has none). nil: one more, which is right if
	// there is one owner.
	Epoch func(ctx context.Context, partition int, stored uint64) (uint64, error)

	// Now is the clock by which lines of snapshots are refreshed, and which tells how
	// long a partition has been at something; nil: the system's. What is stored
	// follows from the log's own time alone.
	Now func() time.Time

	lookEvery time.Duration // how often the log is looked at; 0: lookEvery
	sureAfter time.Duration // how long the log has to say what speaks against it; 0: sureAfter

	// Tracer makes spans of what becomes of messages that name a sampled span; nil: none are
	// made. Messages that the log had when a partition began are old, and have none.
	Tracer      *tracing.Tracer
	StoreSystem string // what spans call the database: mongodb, pebble

	Logger     *zap.Logger
	Registerer prometheus.Registerer // nil: metrics are kept, and shown nowhere

	turn        int           // holders that a partition publishes at once; 0: turnHolders
	refreshMost int           // ends of lines that a partition keeps in memory; 0: refreshMost
	auditEvery  time.Duration // least pause between two comparisons of all snapshots with the store; 0: auditEvery
	refreshWalk int           // holders of the store that are looked at at once for such ends; 0: refreshWalk
}

func (c *Config) setDefaults(log eventLog) error {
	if c.CacheBytes == 0 || c.FlushBytes == 0 {
		available := projection.MemoryLimit()
		setDefault(&c.CacheBytes, max(DefaultCacheBytes, available/cacheShare))
		setDefault(&c.FlushBytes, max(DefaultFlushBytes, available/flushShare))
	}
	setDefault(&c.FlushInterval, DefaultFlushInterval)
	setDefault(&c.turn, turnHolders)
	setDefault(&c.refreshMost, refreshMost)
	setDefault(&c.refreshWalk, refreshWalk)
	setDefault(&c.auditEvery, auditEvery)
	setDefault(&c.GCInterval, DefaultGCInterval)
	setDefault(&c.StopTimeout, DefaultStopTimeout)
	setDefault(&c.lookEvery, lookEvery)
	setDefault(&c.sureAfter, sureAfter)
	setDefault(&c.Logger, zap.NewNop())
	if c.Rules == nil {
		c.Rules = hold.PlainRules(c.Policy)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Epoch == nil {
		c.Epoch = func(_ context.Context, _ int, stored uint64) (uint64, error) { return stored + 1, nil }
	}
	if c.Store == nil {
		return fmt.Errorf("%w: no store", ErrConfig)
	}
	if c.Ownership != nil {
		if c.Partitions != nil {
			return fmt.Errorf("%w: partitions are given, and to be shared with other workers", ErrConfig)
		}
		if c.Snapshots != nil && !c.Snapshots.Fences() {
			return fmt.Errorf("%w: partitions are to be shared with other workers, and the snapshot bucket is for one owner", ErrConfig)
		}
	}
	if c.CacheBytes < 0 || c.FlushBytes < 0 || c.FlushInterval < 0 || c.GCInterval < 0 || c.StopTimeout < 0 {
		return fmt.Errorf("%w: a bound or an interval is negative", ErrConfig)
	}
	if c.Partitions == nil {
		for p := range log.Partitions() {
			c.Partitions = append(c.Partitions, p)
		}
	}
	seen := map[int]bool{}
	for _, p := range c.Partitions {
		if p < 0 || p >= log.Partitions() || seen[p] {
			return fmt.Errorf("%w: partition %d: the log has 0 to %d, each is given once", ErrConfig, p, log.Partitions()-1)
		}
		seen[p] = true
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Of the memory that the process may use, the cache is given a quarter by
// default, and what is applied but not flushed a sixteenth, most of which the
// cache has counted already. The collector may let the heap grow to twice of
// what is live, which is half; the other half is for the store's blocks, the
// broker and the view of the snapshots, which one process may hold as well.
const (
	cacheShare = 4
	flushShare = 16
)
