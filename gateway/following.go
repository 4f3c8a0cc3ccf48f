package gateway

import (
	"context"
	"time"

	"holdmetrics/gateway/query"
	"holdmetrics/processor/generation"
)

// openWithin bounds the opening of a generation that is to be prepared: finding its
// bucket and its store, not loading its snapshots.
const openWithin = time.Minute

// Following returns the gateway as a [generation.Follower] wants it: something that can
// be prepared and switched. open opens what a generation brings to the gateway.
func (g *Gateway) Following(open func(context.Context, *generation.Record) (query.Backend, error)) generation.Gateway {
	return following{g, open}
}

type following struct {
	*Gateway
	open func(context.Context, *generation.Record) (query.Backend, error)
}

// Prepare implements generation.Gateway.
func (f following) Prepare(ctx context.Context, r *generation.Record) error {
	opening, cancel := context.WithTimeout(ctx, openWithin)
	defer cancel()
	b, err := f.open(opening, r)
	if err != nil {
		return err
	}
	return f.Gateway.Prepare(ctx, b)
}

// Serving implements generation.Gateway.
func (g *Gateway) Serving() generation.Serving {
	b := g.reads.Active()
	return generation.Serving{Generation: b.Generation, Rules: b.RulesVersion, Policy: b.Rules.DefaultPolicy().String()}
}
