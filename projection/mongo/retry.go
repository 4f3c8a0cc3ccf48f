package mongo

import (
	"context"
	"time"
)

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// patience is one call's: it reports whether and when to try again.
type patience struct {
	store *Store
	what  string
	since time.Time // of the first failure after the last success; zero: none
	pause time.Duration
	most  time.Duration // how long it lasts; below zero: without end
}

func (s *Store) patience(what string) *patience {
	return &patience{store: s, what: what, most: s.config.Patience}
}

// succeeded begins the patience anew: a long walk that gets on may meet several
// elections.
func (p *patience) succeeded() { p.since, p.pause = time.Time{}, 0 }

// wait waits where another try may help, and gives the error to return where not.
func (p *patience) wait(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !temporary(err) {
		return explain(p.what, err)
	}
	now := time.Now()
	if p.since.IsZero() {
		p.since, p.pause = now, retryFirst
		if p.most < 0 {
			p.store.errorf("%v", explain(p.what+", which is tried until it succeeds", err))
		}
	} else if p.most >= 0 && now.Sub(p.since) >= p.most {
		return explain(p.what, err)
	}
	timer := time.NewTimer(p.pause)
	defer timer.Stop()
	p.pause = min(2*p.pause, retryMost)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// try calls f until it succeeds or fails for good, patience or ctx ends. Each call
// has OperationTimeout.
func (s *Store) try(ctx context.Context, what string, f func(context.Context) error) error {
	return s.tryWith(ctx, s.patience(what), f)
}

func (s *Store) tryWith(ctx context.Context, p *patience, f func(context.Context) error) error {
	for {
		err := s.once(ctx, f)
		if err == nil {
			return nil
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}

// once calls f with OperationTimeout.
func (s *Store) once(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.config.OperationTimeout)
	defer cancel()
	return f(ctx)
}
