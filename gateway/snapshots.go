package gateway

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"google.golang.org/grpc"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

const (
	// MaxHolders is how many holders one read of snapshots may name.
	MaxHolders = 1000
	// MaxInterval is the longest time that a watch may leave between two updates of
	// one holder.
	MaxInterval = time.Hour
)

// statsQuery asks for snapshots.
type statsQuery struct {
	holders []string // empty: all; no holder comes twice
	after   uint64   // wait until the snapshots are there; 0: do not
	watch   bool
	live    bool          // of a watch
	every   time.Duration // of a watch: the least time between two updates of one holder
	window  *window       // from the stored facts instead; nil: snapshots
}

// check says what is wrong with a query, beside its times, and makes its holders distinct.
func (q *statsQuery) check() error {
	switch {
	case len(q.holders) > MaxHolders:
		return &hold.FieldError{Field: "holder_ids", Err: ErrRange, Detail: fmt.Sprintf("%d holders; %s", len(q.holders), rangeDetail(0, MaxHolders))}
	case q.every < 0 || q.every > MaxInterval:
		return &hold.FieldError{Field: "min_interval", Err: ErrRange, Detail: "it is up to " + MaxInterval.String()}
	case q.watch && q.window != nil:
		return &hold.FieldError{Field: "watch", Err: ErrTogether, Detail: "a watch is of the present"}
	}
	seen := map[string]bool{}
	distinct := q.holders[:0:0]
	for i, h := range q.holders {
		if h == "" {
			return &hold.FieldError{Field: "holder_ids", Err: hold.ErrRequired, Detail: "number " + strconv.Itoa(i) + " is empty"}
		}
		if !seen[h] {
			seen[h] = true
			distinct = append(distinct, h)
		}
	}
	q.holders = distinct
	return nil
}

// partitions are those of the holders of the query.
func (q *statsQuery) partitions(g *Gateway) []int {
	if len(q.holders) == 0 {
		return g.partitionsOf("")
	}
	var partitions []int
	seen := map[int]bool{}
	for _, h := range q.holders {
		if p := g.partitionsOf(h)[0]; !seen[p] {
			seen[p] = true
			partitions = append(partitions, p)
		}
	}
	return partitions
}

// awaitCurrent waits for the first load of the snapshots, and for what a query
// asks for.
func (b *backend) awaitCurrent(ctx context.Context, q *statsQuery) error {
	if err := b.Snapshots.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return unavailable("the snapshots", err)
	}
	b.relining.begin()
	return b.awaitSnapshots(ctx, q.partitions(b.g), q.after)
}

// current calls fn for the snapshots of a query: all by holder key, or those of
// the named holders in their order. Where one of these has no snapshot it is
// [projection.ErrNotFound], before the first call. An error of fn ends it. Call
// awaitCurrent before.
func (b *backend) current(ctx context.Context, q *statsQuery, fn func(*stat) error) error {
	var keys []string
	for _, h := range q.holders {
		keys = append(keys, ingest.SubjectToken(h))
	}
	if keys != nil {
		b.relining.named(ctx, keys, b.g.cfg.Now())
	} else {
		b.relining.all(ctx, b.g.cfg.Now())
	}
	applied := b.reachedTimes() // before the snapshots: each has at least what was applied then
	read := func(key string, value []byte) error {
		s, err := readAt(value, b.g.cfg.Now())
		if err != nil {
			return err
		}
		holder, err := ingest.HolderOf(key)
		if err != nil {
			return err
		}
		s.applied = max(s.applied, applied[ingest.Partition(holder, len(applied))])
		return fn(&s)
	}
	if keys != nil {
		values := make([][]byte, 0, len(keys))
		for _, key := range keys {
			c, ok := b.Snapshots.Lookup(key)
			if !ok {
				return projection.ErrNotFound
			}
			values = append(values, c.Value)
		}
		for i, value := range values {
			if err := read(keys[i], value); err != nil {
				return err
			}
		}
		return nil
	}
	var err error
	b.Snapshots.All(func(key string, value []byte) bool {
		if err = ctx.Err(); err == nil {
			err = read(key, value)
		}
		return err == nil
	})
	return err
}

// stored emits the rows of a query that is answered from the stored facts. Where
// a named holder has none it is [projection.ErrNotFound], before the first row.
func (b *backend) stored(ctx context.Context, q *statsQuery, emit func(*scoreRow) error) error {
	q = q.named(b.Rules)
	scores := scoreQuery{window: *q.window, after: q.after}
	if len(q.holders) == 0 {
		return b.scores(ctx, scores, emit)
	}
	rows := make([]scoreRow, 0, len(q.holders))
	for _, scores.holder = range q.holders {
		err := b.scores(ctx, scores, func(r *scoreRow) error { rows = append(rows, *r); return nil })
		if err != nil {
			return err
		}
	}
	for i := range rows {
		if err := emit(&rows[i]); err != nil {
			return err
		}
	}
	return nil
}

// statsQueryOf reads a request of gRPC.
func (g *Gateway) statsQueryOf(req *holdpb.StatsRequest) (q statsQuery, err error) {
	q = statsQuery{holders: req.GetHolderIds(), after: req.GetAfter(), watch: req.GetWatch(), live: req.GetLive()}
	if d := req.GetMinInterval(); d != nil {
		if d.CheckValid() != nil {
			return q, &hold.FieldError{Field: "min_interval", Err: ErrRange}
		}
		q.every = d.AsDuration()
	}
	times := instants{stampOf(req.GetAsOf()), stampOf(req.GetFrom()), stampOf(req.GetTo())}
	if times != (instants{}) {
		w, err := g.window(times)
		if err != nil {
			return q, err
		}
		q.window = &w
	}
	return q, q.check()
}

// sendStats answers Stats and GetSnapshot. The bytes of a snapshot are a HoldStat,
// so they go out as they are, with the live figures behind them. With no holder
// yet one empty HoldStat goes out, as clients of the original service expect.
func (g *Gateway) sendStats(req *holdpb.StatsRequest, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	q, err := g.statsQueryOf(req)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	if q.window != nil {
		asOf, applied := timestampOf(q.window.at), appliedTimes{}
		return g.stored(ctx, &q, func(r *scoreRow) error { return stream.Send(storedStat(r, asOf, applied.of(r.applied))) })
	}
	if q.watch {
		if err := g.with(func(b *backend) error { return b.awaitCurrent(ctx, q.named(b.Rules)) }); err != nil {
			return err
		}
		return g.watchStream(&q, stream)
	}
	none := true
	err = g.currentOf(ctx, &q, func(s *stat) error {
		none = false
		return stream.SendMsg(&rawMessage{bytes: s.value, more: appendLive(nil, s.live, s.at, s.applied)})
	})
	if err == nil && none {
		err = stream.Send(&holdpb.HoldStat{})
	}
	return err
}
