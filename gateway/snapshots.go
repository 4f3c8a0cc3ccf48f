package gateway

import (
	"context"
	"fmt"
	"strconv"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// MaxHolders is how many holders one read of snapshots may name.
const MaxHolders = 1000

// statsQuery asks for snapshots.
type statsQuery struct {
	holders []string // empty: all; no holder comes twice
	after   uint64   // wait until the snapshots are there; 0: do not
	window  *window  // from the stored facts instead; nil: snapshots
}

// check says what is wrong with a query, beside its times, and makes its holders distinct.
func (q *statsQuery) check() error {
	if len(q.holders) > MaxHolders {
		return &hold.FieldError{Field: "holder_ids", Err: ErrRange, Detail: fmt.Sprintf("%d holders; %s", len(q.holders), rangeDetail(0, MaxHolders))}
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
func (q *statsQuery) partitions(s *reads) []int {
	if len(q.holders) == 0 {
		return s.partitionsOf("")
	}
	var partitions []int
	seen := map[int]bool{}
	for _, h := range q.holders {
		if p := s.partitionsOf(h)[0]; !seen[p] {
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
	return b.awaitSnapshots(ctx, q.partitions(b.s), q.after)
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
		b.relining.named(ctx, keys, b.s.now())
	} else {
		b.relining.all(ctx, b.s.now())
	}
	applied := b.reachedTimes() // before the snapshots: each has at least what was applied then
	read := func(key string, value []byte) error {
		s, err := readAt(value, b.s.now())
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
