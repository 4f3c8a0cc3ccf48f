package query

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// Backend is what a generation of the projections brings: what answers are made
// of. Fields without a remark are required.
type Backend struct {
	// Generation names it, and RulesVersion the rules that its figures were counted
	// by; empty: not known.
	Generation, RulesVersion string

	Reader    projection.Reader
	Snapshots Snapshots

	// WaitApplied returns when the store has applied a position of a partition,
	// or with ctx's error.
	WaitApplied func(ctx context.Context, partition int, position uint64) error
	// Ready gives the reason why the generation is not ready, or nil.
	Ready func(ctx context.Context) error
	// Owners tells how the partitions do; nil: nobody knows.
	Owners Owners
	// Rules are those by which what Reader has counts, and by which events are accepted
	// events while it is active; nil: none but the policies of its pairs.
	Rules hold.Rules
	// Close is called once the gateway needs nothing of the generation any more, after
	// its snapshots were closed: it was left, and the last answer made of it has gone
	// out, or it was released, or the gateway was closed. Nil: nothing is to be done.
	Close func() error
}

// Generation is a generation as the gateway serves it. A request pins one at its
// start and asks nothing else, so its whole answer is of one generation.
type Generation struct {
	Backend
	S *Service

	// Users counts the requests that have it pinned, and the gateway while it serves
	// or keeps it. At 0 it is over, and stays so.
	Users atomic.Int64
	// left ends when it is no longer the active one, and lineage links what came after it.
	left    context.Context
	Leave   context.CancelFunc
	Lineage *Lineage
	// later says that another one was active before it.
	later bool
	// ranks has the goroutines of the rankings, which end with it.
	ranks *ranking
	// Serial tells it from others of this process. viewID names the view of the
	// snapshots, whose history begins with this process.
	Serial uint64
	ViewID string
}

// NewGeneration returns a generation that answers reads of s from a backend. later
// reports whether it is prepared to be switched to, and does not answer yet.
func NewGeneration(s *Service, from Backend, later bool) *Generation {
	b := &Generation{Backend: from, S: s, Lineage: newLineage(), later: later,
		Serial: s.made.Add(1), ViewID: from.Generation + "." + uuid.NewString()}
	b.left, b.Leave = context.WithCancel(context.Background())
	if b.Rules == nil {
		b.Rules = hold.PlainRules(hold.Merge) // which counts a pair by its own policy
	}
	if b.RulesVersion == "" {
		b.RulesVersion = b.Rules.Version()
	}
	b.Users.Store(1)
	b.ranks = newRanking(b)
	return b
}

// Unpin ends the use of a generation. After the last use it is closed.
func (b *Generation) Unpin() {
	if b.Users.Add(-1) == 0 {
		b.close()
	}
}

// Pinned is how many requests have the generation pinned, and the gateway once.
func (b *Generation) Pinned() int64 { return b.Users.Load() }

// close ends what goes on for a generation, and waits for it.
func (b *Generation) close() {
	b.Leave()
	b.ranks.close()
	err := b.Snapshots.Close()
	if b.Close != nil {
		err = errors.Join(err, b.Close())
	}
	if err != nil {
		b.S.cfg.Logger.Warn("closing a generation", zap.String("generation", b.Generation), zap.Error(err))
	}
}
