package generation

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/processor"
	"holdmetrics/projection"
)

// Stores is where the generations keep their projections.
type Stores interface {
	// Open opens the store of a generation, and creates it if there is none.
	Open(ctx context.Context, g *Record, rules hold.Rules) (projection.Store, error)
	// RemoveLocal removes what this process alone keeps of a generation, if anything.
	// The store is closed.
	RemoveLocal(ctx context.Context, name string) error
	// RemoveShared removes what several processes share of a generation, if anything.
	// None of them has it open.
	RemoveShared(ctx context.Context, name string) error
	// Local returns the generations of which RemoveLocal would remove something, except
	// for the first.
	Local() ([]string, error)
}

// Config is what a [Supervisor] runs with. Fields without a remark are required.
type Config struct {
	Registry *Registry
	Conn     *nats.Conn // for questions of comparisons and gateways
	Stores   Stores
	// Worker is what all workers have in common. Log is required; the supervisor fills in
	// what belongs to a generation.
	Worker processor.Config
	// Snapshots is what all buckets have in common.
	Snapshots projection.SnapshotConfig
	// ID names this process among those that work on the same generations.
	ID string
	// Retry calls f until it succeeds or trying again is of no use; nil: once. What is the
	// operation, for the log.
	Retry func(ctx context.Context, what string, f func(context.Context) error) error
	// Registerer takes the workers' metrics, labelled by generation; nil: none.
	Registerer prometheus.Registerer
	Logger     *zap.Logger // nil: none

	every time.Duration // between reports of progress; 0: reportEvery
}

// Errors that callers decide on.
var (
	// ErrConfig: a required field is missing.
	ErrConfig = errors.New("generation: bad configuration")
	// ErrNotHere: this process does not run the generation.
	ErrNotHere = errors.New("generation: not run here")
)

const (
	// reportEvery is how often a process reports its progress with what is being built.
	reportEvery = time.Second
	// reportBuilt is how many times less often it reports what is built.
	reportBuilt = 4
	// reportTTL is how long a report lives: a process that was killed is forgotten then.
	reportTTL = 15 * time.Second
	// requestTimeout bounds one round of requests to the broker.
	requestTimeout = 5 * time.Second
	// againFirst and againMost are the pauses before a generation that could not be
	// opened is tried again.
	againFirst = time.Second
	againMost  = 30 * time.Second
	// dropFor is how long one process may take to remove what was shared.
	dropFor = 2 * time.Minute
)

func (c *Config) setDefaults() error {
	if c.Registry == nil || c.Conn == nil || c.Stores == nil || c.Worker.Log == nil || c.ID == "" {
		return ErrConfig
	}
	if c.Retry == nil {
		c.Retry = func(ctx context.Context, _ string, f func(context.Context) error) error { return f(ctx) }
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.every == 0 {
		c.every = reportEvery
	}
	return nil
}
