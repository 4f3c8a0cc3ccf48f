package mongo

import (
	"context"
	"time"

	"holdmetrics/internal/backoff"
)

const (
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// caller calls the database: each round trip has a time limit of its own, and a call
// that fails for a while is tried again. It is safe for concurrent use.
type caller struct {
	operation time.Duration // Config.OperationTimeout
	most      time.Duration // Config.Patience
	logger    Logger        // nil: errors that are tried again are not logged
}

// patience decides whether a call is tried again, and when.
type patience struct {
	caller *caller
	what   string
	since  time.Time // of the first failure after the last success; zero: none
	pauses backoff.Backoff
	most   time.Duration // how long it lasts; below zero: without end
}

func (c *caller) patience(what string) *patience {
	return &patience{caller: c, what: what, pauses: backoff.Backoff{First: retryFirst, Most: retryMost}, most: c.most}
}

// succeeded starts the patience again: a long walk that makes progress may meet several
// elections.
func (p *patience) succeeded() { p.since = time.Time{} }

// wait pauses if another try may help. Otherwise it returns the error of the call.
func (p *patience) wait(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if !temporary(err) {
		return explain(p.what, err)
	}
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
		p.pauses.Reset()
		if p.most < 0 {
			p.caller.errorf("%v", explain(p.what+", which is tried until it succeeds", err))
		}
	} else if p.most >= 0 && now.Sub(p.since) >= p.most {
		return explain(p.what, err)
	}
	return p.pauses.Wait(ctx)
}

// try calls f until it succeeds or fails for good, patience or ctx ends. Each call
// has OperationTimeout.
func (c *caller) try(ctx context.Context, what string, f func(context.Context) error) error {
	return c.tryWith(ctx, c.patience(what), f)
}

func (c *caller) tryWith(ctx context.Context, p *patience, f func(context.Context) error) error {
	for {
		err := c.once(ctx, f)
		if err == nil {
			return nil
		}
		if err := p.wait(ctx, err); err != nil {
			return err
		}
	}
}

// once calls f with OperationTimeout.
func (c *caller) once(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.operation)
	defer cancel()
	return f(ctx)
}

func (c *caller) errorf(format string, args ...any) {
	if c.logger != nil {
		c.logger.Errorf(format, args...)
	}
}
