package query

import (
	"context"
	"fmt"
	"strconv"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/stall"
	"holdmetrics/projection"
)

// MaxHolders is how many holders one read of snapshots may name.
const MaxHolders = 1000

// StatsQuery asks for snapshots.
type StatsQuery struct {
	Holders []string // empty: all; no holder comes twice
	After   uint64   // wait until the snapshots are there; 0: do not
	Window  *Window  // from the stored facts instead; nil: snapshots
}

// Check returns an error if the query cannot be answered, and makes its holders distinct. It
// does not check times.
func (q *StatsQuery) Check() error {
	if len(q.Holders) > MaxHolders {
		return &hold.FieldError{Field: "holder_ids", Err: ErrRange, Detail: fmt.Sprintf("%d holders; %s", len(q.Holders), RangeDetail(0, MaxHolders))}
	}
	seen := map[string]bool{}
	distinct := q.Holders[:0:0]
	for i, h := range q.Holders {
		if h == "" {
			return &hold.FieldError{Field: "holder_ids", Err: hold.ErrRequired, Detail: "number " + strconv.Itoa(i) + " is empty"}
		}
		if !seen[h] {
			seen[h] = true
			distinct = append(distinct, h)
		}
	}
	q.Holders = distinct
	return nil
}

// partitions are those of the holders of the query.
func (q *StatsQuery) partitions(s *Service) []int {
	if len(q.Holders) == 0 {
		return s.partitionsOf("")
	}
	var partitions []int
	seen := map[int]bool{}
	for _, h := range q.Holders {
		if p := s.partitionsOf(h)[0]; !seen[p] {
			seen[p] = true
			partitions = append(partitions, p)
		}
	}
	return partitions
}

// awaitCurrent waits for the first load of the snapshots, and for what a query
// asks for.
func (b *Generation) awaitCurrent(ctx context.Context, q *StatsQuery) error {
	// A first load may take long, as long as it moves.
	if err := stall.Wait(ctx, b.S.cfg.PrepareStall, b.Snapshots.Last, b.Snapshots.Wait); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return unavailable("the snapshots", b.explained(ctx, fmt.Errorf("generation %s, %d holders so far: %w", b.Generation, b.Snapshots.Len(), err)))
	}
	return b.awaitSnapshots(ctx, q.partitions(b.S), q.After)
}

// current calls fn for the snapshots of a query: all by holder key, or those of
// the named holders in their order. Where one of these has no snapshot it is
// [projection.ErrNotFound], before the first call. An error of fn ends it. Call
// awaitCurrent before.
func (b *Generation) current(ctx context.Context, q *StatsQuery, fn func(*Snapshot) error) error {
	var keys []string
	for _, h := range q.Holders {
		keys = append(keys, ingest.SubjectToken(h))
	}
	applied := b.reachedTimes() // before the snapshots: each has at least what was applied then
	read := func(key string, value []byte) error {
		s, err := readAt(value, b.S.Now())
		if err != nil {
			return err
		}
		holder, err := ingest.HolderOf(key)
		if err != nil {
			return err
		}
		s.Applied = max(s.Applied, applied[ingest.Partition(holder, len(applied))])
		return fn(&s)
	}
	if keys != nil {
		values := make([][]byte, 0, len(keys))
		for _, key := range keys {
			c, ok := b.Snapshots.Lookup(key)
			if !ok && b.Snapshots.IsDamaged(key) {
				return unavailable("the snapshots", fmt.Errorf("that of key %s cannot be read, and is published again from the store", key))
			}
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
func (b *Generation) stored(ctx context.Context, q *StatsQuery, emit func(*Row) error) error {
	q = q.Named(b.Rules)
	scores := ScoreQuery{Window: *q.Window, After: q.After}
	if len(q.Holders) == 0 {
		return b.scores(ctx, scores, emit)
	}
	rows := make([]Row, 0, len(q.Holders))
	for _, scores.Holder = range q.Holders {
		err := b.scores(ctx, scores, func(r *Row) error { rows = append(rows, *r); return nil })
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
