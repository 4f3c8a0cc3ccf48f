// Package query answers reads: scores, explanations, histories, rankings and status.
// It knows neither gRPC nor HTTP.
package query

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"holdmetrics/gateway/auth"
)

// Config is what reads are made of. Every field is required, but for Bounds and Proofs.
type Config struct {
	Log       Log
	Now       func() int64  // unix nanoseconds
	Freshness time.Duration // longest wait of a read for the store
	Logger    *zap.Logger
	// PrepareStall is how long a generation that is prepared may stand still.
	PrepareStall time.Duration
	Bounds       Bounds // zeros stand for defaults
	Proofs       Proofs // nil: there are none
}

// Service answers reads from the generation that is active. It is safe for concurrent use.
type Service struct {
	cfg   Config
	gates gates

	active atomic.Pointer[Generation] // see pin
	made   atomic.Uint64              // generations
	// seen are the greatest positions, by partition, that were read from a store.
	seen []atomic.Uint64
}

// New answers from a first generation.
func New(cfg Config, first Backend) *Service {
	cfg.Bounds = cfg.Bounds.withDefaults()
	s := &Service{cfg: cfg, gates: newGates(cfg.Bounds), seen: make([]atomic.Uint64, cfg.Log.Partitions())}
	s.active.Store(NewGeneration(s, first, false))
	return s
}

// Now is the time of a read, in unix nanoseconds.
func (s *Service) Now() int64 { return s.cfg.Now() }

// Active is the generation that is active. It may be left at any time; see pin.
func (s *Service) Active() *Generation { return s.active.Load() }

// Activate makes a generation the active one. One call at a time.
func (s *Service) Activate(next *Generation) { s.active.Store(next) }

// Close closes the active generation, for good. It stays pinned for those who come late.
func (s *Service) Close() { s.active.Load().close() }

// Pin gives the generation that is active, for a request: call unpin when it is over.
func (s *Service) Pin() *Generation {
	for {
		b := s.active.Load()
		for n := b.Users.Load(); n > 0; n = b.Users.Load() {
			if b.Users.CompareAndSwap(n, n+1) {
				return b
			}
		}
	}
}

// errLeft says that the generation was left while a request waited for it to reach
// the position that the request wants. The next generation serves the request.
var errLeft = errors.New("gateway: the generation is no longer the active one")

// with runs f with the active generation, pinned. What fails with errLeft, which
// it does only before it has given anything, runs again with the next one.
func (s *Service) with(f func(*Generation) error) error {
	for {
		b := s.Pin()
		err := f(b)
		b.Unpin()
		if !errors.Is(err, errLeft) {
			return err
		}
	}
}

// What follows answers from the generation that is active, see the methods of
// backend of the same names.

// Scores calls emit with a row for each score that is asked for.
func (s *Service) Scores(ctx context.Context, q ScoreQuery, emit func(*Row) error) error {
	if q.Holder == "" {
		leave, err := s.long(ctx)
		if err != nil {
			return err
		}
		defer leave()
	}
	asked := auth.Reading{Token: q.Token, Holders: named(q.Holder), Compared: q.Share}
	return ask(ctx, s, asked, emit, func(b *Generation, emit func(*Row) error) error { return b.scores(ctx, q, emit) })
}

// Explain calls emit with the contribution of each hold to a score.
func (s *Service) Explain(ctx context.Context, q ExplainQuery, emit func(*Contribution) error) error {
	leave, err := s.long(ctx)
	if err != nil {
		return err
	}
	defer leave()
	asked := auth.Reading{Token: q.Token, Holders: named(q.Holder)}
	return ask(ctx, s, asked, emit, func(b *Generation, emit func(*Contribution) error) error { return b.explain(ctx, q, emit) })
}

// History returns the score of a holder at instants of a period.
func (s *Service) History(ctx context.Context, q HistoryQuery) (points []Point, err error) {
	leave, err := s.long(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	err = askOnce(ctx, s, auth.Reading{Token: q.Token, Holders: named(q.Holder)}, func(b *Generation) (err error) {
		points, err = b.history(ctx, q)
		return err
	})
	return points, err
}

// Stored calls emit with figures of holders from the stored facts.
func (s *Service) Stored(ctx context.Context, q *StatsQuery, emit func(*Row) error) error {
	leave, err := s.long(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return ask(ctx, s, auth.Reading{Holders: q.Holders}, emit, func(b *Generation, emit func(*Row) error) error { return b.stored(ctx, q, emit) })
}

// Await waits for what a query asks for.
func (s *Service) Await(ctx context.Context, q *StatsQuery) error {
	return askOnce(ctx, s, auth.Reading{Holders: q.Holders}, func(b *Generation) error { return b.awaitCurrent(ctx, q.Named(b.Rules)) })
}

// EachSnapshot waits for what a query asks for, and calls fn for its snapshots.
func (s *Service) EachSnapshot(ctx context.Context, q *StatsQuery, fn func(*Snapshot) error) error {
	return ask(ctx, s, auth.Reading{Holders: q.Holders}, fn, func(b *Generation, fn func(*Snapshot) error) error {
		q := q.Named(b.Rules)
		if err := b.awaitCurrent(ctx, q); err != nil {
			return err
		}
		if len(q.Holders) > 0 {
			return b.current(ctx, q, fn)
		}
		turn, err := s.turn(ctx)
		if err != nil {
			return err
		}
		defer turn.Leave()
		return b.current(ctx, q, pausing(ctx, turn, fn))
	})
}

// Top returns a page of a ranking.
func (s *Service) Top(ctx context.Context, q TopQuery) (page *Page, err error) {
	err = askOnce(ctx, s, auth.Reading{Token: q.Token, Compared: true}, func(b *Generation) (err error) {
		page, err = b.top(ctx, q)
		return err
	})
	return page, err
}

// Rank returns the rank of one holder.
func (s *Service) Rank(ctx context.Context, q TopQuery, holder string) (page *Page, err error) {
	err = askOnce(ctx, s, auth.Reading{Token: q.Token, Holders: named(holder), Compared: true}, func(b *Generation) (err error) {
		page, err = b.rank(ctx, q, holder)
		return err
	})
	return page, err
}

// readyTimeout bounds one look at the readiness of the server.
const readyTimeout = 3 * time.Second

// Ready gives the reason why the server is not ready, or nil.
func (s *Service) Ready(ctx context.Context) error {
	return hide(auth.CallerOf(ctx), s.ready(ctx))
}

func (s *Service) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	b := s.Pin()
	defer b.Unpin()
	if err := b.Reader.Ping(ctx); err != nil {
		return unavailable("the store", err)
	}
	if err := b.Ready(ctx); err != nil {
		return unavailable("the server", err)
	}
	return nil
}
