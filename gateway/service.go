package gateway

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// readsConfig is what reads are made of. Every field is required.
type readsConfig struct {
	Log       Log
	Now       func() int64  // unix nanoseconds
	Freshness time.Duration // longest wait of a read for the store
	Logger    *zap.Logger
	// PrepareStall is how long a generation that is prepared may stand still.
	PrepareStall time.Duration
}

// reads answers reads from the generation that is active. It is safe for concurrent use.
type reads struct {
	cfg  readsConfig
	sums chan struct{} // places for reads that add up everything

	active atomic.Pointer[backend] // see pin
	made   atomic.Uint64           // generations
	// seen are the greatest positions, by partition, that were read from a store.
	seen []atomic.Uint64
}

// newReads answers from a first generation.
func newReads(cfg readsConfig, first Backend) *reads {
	s := &reads{cfg: cfg, sums: make(chan struct{}, maxSums), seen: make([]atomic.Uint64, cfg.Log.Partitions())}
	s.active.Store(newBackend(s, first, false))
	return s
}

// now is the time of a read, in unix nanoseconds.
func (s *reads) now() int64 { return s.cfg.Now() }

// current is the generation that is active. It may be left at any time; see pin.
func (s *reads) current() *backend { return s.active.Load() }

// activate makes a generation the active one. One call at a time.
func (s *reads) activate(next *backend) { s.active.Store(next) }

// close closes the active generation, for good. It stays pinned for those who come late.
func (s *reads) close() { s.active.Load().close() }

// pin gives the generation that is active, for a request: call unpin when it is over.
func (s *reads) pin() *backend {
	for {
		b := s.active.Load()
		for n := b.users.Load(); n > 0; n = b.users.Load() {
			if b.users.CompareAndSwap(n, n+1) {
				return b
			}
		}
	}
}

// errLeft says that the generation was left while a request waited for it to come
// as far as the request wants: the next one goes on.
var errLeft = errors.New("gateway: the generation is no longer the active one")

// with runs f with the active generation, pinned. What fails with errLeft, which
// it does only before it has given anything, runs again with the next one.
func (s *reads) with(f func(*backend) error) error {
	for {
		b := s.pin()
		err := f(b)
		b.unpin()
		if !errors.Is(err, errLeft) {
			return err
		}
	}
}

// What follows answers from the generation that is active, see the methods of
// backend of the same names.

func (s *reads) scores(ctx context.Context, q scoreQuery, emit func(*scoreRow) error) error {
	return afresh(func(given func()) error {
		return s.with(func(b *backend) error { return b.scores(ctx, q, givenTo(given, emit)) })
	})
}

func (s *reads) explain(ctx context.Context, q explainQuery, emit func(*contribution) error) error {
	return afresh(func(given func()) error {
		return s.with(func(b *backend) error { return b.explain(ctx, q, givenTo(given, emit)) })
	})
}

func (s *reads) history(ctx context.Context, q historyQuery) (points []scorePoint, err error) {
	err = afresh(func(func()) error {
		return s.with(func(b *backend) (err error) {
			points, err = b.history(ctx, q)
			return err
		})
	})
	return points, err
}

func (s *reads) stored(ctx context.Context, q *statsQuery, emit func(*scoreRow) error) error {
	return afresh(func(given func()) error {
		return s.with(func(b *backend) error { return b.stored(ctx, q, givenTo(given, emit)) })
	})
}

// awaitAnswer waits for what a query asks for.
func (s *reads) awaitAnswer(ctx context.Context, q *statsQuery) error {
	return s.with(func(b *backend) error { return b.awaitCurrent(ctx, q.named(b.Rules)) })
}

// currentOf waits for what a query asks for, and calls fn for its snapshots.
func (s *reads) currentOf(ctx context.Context, q *statsQuery, fn func(*stat) error) error {
	return s.with(func(b *backend) error {
		q := q.named(b.Rules)
		if err := b.awaitCurrent(ctx, q); err != nil {
			return err
		}
		return b.current(ctx, q, fn)
	})
}

func (s *reads) top(ctx context.Context, q topQuery) (page *rankPage, err error) {
	err = afresh(func(func()) error {
		return s.with(func(b *backend) (err error) {
			page, err = b.top(ctx, q)
			return err
		})
	})
	return page, err
}

func (s *reads) rank(ctx context.Context, q topQuery, holder string) (page *rankPage, err error) {
	err = afresh(func(func()) error {
		return s.with(func(b *backend) (err error) {
			page, err = b.rank(ctx, q, holder)
			return err
		})
	})
	return page, err
}

// readyTimeout bounds one look at the readiness of the server.
const readyTimeout = 3 * time.Second

// ready gives the reason why the server is not ready, or nil.
func (s *reads) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	b := s.pin()
	defer b.unpin()
	if err := b.Reader.Ping(ctx); err != nil {
		return unavailable("the store", err)
	}
	if err := b.Ready(ctx); err != nil {
		return unavailable("the server", err)
	}
	return nil
}
