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
	// Open opens the store of a generation, and makes it where there is none.
	Open(ctx context.Context, g *Record, rules hold.Rules) (projection.Store, error)
	// Leave removes what this process alone keeps of a generation, whose store is
	// closed, if there is anything.
	Leave(ctx context.Context, name string) error
	// Drop removes what several processes share of a generation, which none of them
	// has open, if there is anything.
	Drop(ctx context.Context, name string) error
	// Kept are the generations of which Leave would remove something, but for the first.
	Kept() ([]string, error)
}

// Config says what a [Supervisor] runs. All is required that has no remark.
type Config struct {
	Registry *Registry
	Conn     *nats.Conn // by which questions are answered
	Stores   Stores
	// Worker is what all workers have in common. Log is required; what belongs to a
	// generation is filled in.
	Worker processor.Config
	// Snapshots is what all buckets have in common.
	Snapshots projection.SnapshotConfig
	// ID names this process among those that work on the same generations.
	ID string
	// Patiently runs what a start needs, and tries again where that may help; nil: once.
	Patiently func(ctx context.Context, what string, f func(context.Context) error) error
	// Registerer takes the workers' metrics, by generation; nil: none are shown.
	Registerer prometheus.Registerer
	Logger     *zap.Logger // nil: silence

	every time.Duration // how often progress is told; 0: tellEvery
}

// Errors that callers decide on.
var (
	// ErrConfig: what is required was not given.
	ErrConfig = errors.New("generation: bad configuration")
	// ErrNotHere: the generation is not run by this process.
	ErrNotHere = errors.New("generation: not run here")
)

const (
	// tellEvery is how often a process tells its progress with what is being built.
	tellEvery = time.Second
	// tellBuilt is how many times as seldom it does so of what is built.
	tellBuilt = 4
	// toldFor is how long what was told stands: a process that died is let go of then.
	toldFor = 15 * time.Second
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
	if c.Patiently == nil {
		c.Patiently = func(ctx context.Context, _ string, f func(context.Context) error) error { return f(ctx) }
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.every == 0 {
		c.every = tellEvery
	}
	return nil
}
