package gateway

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
	// Rules are those by which what Reader has counts, and by which the doors accept
	// events while it is active; nil: none but the policies of its pairs.
	Rules hold.Rules
	// Close is called once the gateway needs nothing of the generation any more, after
	// its snapshots were closed: it was left, and the last answer made of it has gone
	// out, or it was released, or the gateway was closed. Nil: nothing is to be done.
	Close func() error
}

// backend is a generation as the gateway serves it. A request pins one at its
// start and asks nothing else, so its whole answer is of one generation.
type backend struct {
	Backend
	g *Gateway

	// users counts the requests that have it pinned, and the gateway while it serves
	// or keeps it. At 0 it is over, and stays so.
	users atomic.Int64
	// left ends when it is no longer the active one, and lineage says what came then.
	left    context.Context
	leave   context.CancelFunc
	lineage *lineage
	// later says that another one was active before it.
	later bool
	// lines keeps the snapshots' lines going.
	relining *relining
	// ranks has the goroutines of the rankings, which end with it.
	ranks *ranking
	// encoded is what watchers share. viewID names the view of the snapshots, whose
	// history begins with this process.
	encoded watchEncodings
	viewID  string
}

func newBackend(g *Gateway, from Backend, later bool) *backend {
	b := &backend{Backend: from, g: g, lineage: newLineage(), later: later, viewID: from.Generation + "." + uuid.NewString()}
	b.left, b.leave = context.WithCancel(context.Background())
	if b.Rules == nil {
		b.Rules = hold.PlainRules(hold.Merge) // which counts a pair by its own policy
	}
	if b.RulesVersion == "" {
		b.RulesVersion = b.Rules.Version()
	}
	b.users.Store(1)
	b.relining, b.ranks = newRelining(b), newRanking(b)
	return b
}

// pin gives the generation that is active, for a request: call unpin when it is over.
func (g *Gateway) pin() *backend {
	for {
		b := g.active.Load()
		for n := b.users.Load(); n > 0; n = b.users.Load() {
			if b.users.CompareAndSwap(n, n+1) {
				return b
			}
		}
	}
}

// unpin ends the use of a generation. After the last use it is closed.
func (b *backend) unpin() {
	if b.users.Add(-1) == 0 {
		b.close()
	}
}

// close ends what goes on for a generation, and waits for it.
func (b *backend) close() {
	b.leave()
	b.relining.close()
	b.ranks.close()
	err := b.Snapshots.Close()
	if b.Close != nil {
		err = errors.Join(err, b.Close())
	}
	if err != nil {
		b.g.log.Warn("closing a generation", zap.String("generation", b.Generation), zap.Error(err))
	}
}

// errLeft says that the generation was left while a request waited for it to come
// as far as the request wants: the next one goes on.
var errLeft = errors.New("gateway: the generation is no longer the active one")

// with runs f with the active generation, pinned. What fails with errLeft, which
// it does only before it has given anything, runs again with the next one.
func (g *Gateway) with(f func(*backend) error) error {
	for {
		b := g.pin()
		err := f(b)
		b.unpin()
		if !errors.Is(err, errLeft) {
			return err
		}
	}
}

// What follows answers from the generation that is active, see the methods of
// backend of the same names.

func (g *Gateway) scores(ctx context.Context, q scoreQuery, emit func(*scoreRow) error) error {
	return afresh(func(given func()) error {
		return g.with(func(b *backend) error { return b.scores(ctx, q, givenTo(given, emit)) })
	})
}

func (g *Gateway) explain(ctx context.Context, q explainQuery, emit func(*contribution) error) error {
	return afresh(func(given func()) error {
		return g.with(func(b *backend) error { return b.explain(ctx, q, givenTo(given, emit)) })
	})
}

func (g *Gateway) history(ctx context.Context, q historyQuery) (points []scorePoint, err error) {
	err = afresh(func(func()) error {
		return g.with(func(b *backend) (err error) {
			points, err = b.history(ctx, q)
			return err
		})
	})
	return points, err
}

func (g *Gateway) stored(ctx context.Context, q *statsQuery, emit func(*scoreRow) error) error {
	return afresh(func(given func()) error {
		return g.with(func(b *backend) error { return b.stored(ctx, q, givenTo(given, emit)) })
	})
}

// currentOf waits for what a query asks for, and calls fn for its snapshots.
func (g *Gateway) currentOf(ctx context.Context, q *statsQuery, fn func(*stat) error) error {
	return g.with(func(b *backend) error {
		q := q.named(b.Rules)
		if err := b.awaitCurrent(ctx, q); err != nil {
			return err
		}
		return b.current(ctx, q, fn)
	})
}

func (g *Gateway) top(ctx context.Context, q topQuery) (page *rankPage, err error) {
	err = afresh(func(func()) error {
		return g.with(func(b *backend) (err error) {
			page, err = b.top(ctx, q)
			return err
		})
	})
	return page, err
}

func (g *Gateway) rank(ctx context.Context, q topQuery, holder string) (page *rankPage, err error) {
	err = afresh(func(func()) error {
		return g.with(func(b *backend) (err error) {
			page, err = b.rank(ctx, q, holder)
			return err
		})
	})
	return page, err
}
