package gateway

import (
	"context"
	"errors"
	"strings"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/processor/hold"
	"holdmetrics/projection"
)

// scoreQuery asks for exact figures.
type scoreQuery struct {
	holder  string // empty: all
	byToken bool   // a row a pair, else a row a holder
	at      int64  // the instant, unix nanoseconds; the time of the request without asOf
	asOf    bool   // at was asked for
	after   uint64 // 0: all that the log holds now
}

// scoreRow is a holder, or a holder's token.
type scoreRow struct {
	token, holder string
	live, settled hold.Amount
	applied       int64 // the log's time up to which the partition is applied; 0: nothing is
}

// add makes r the sum over one more pair.
func (r *scoreRow) add(live, settled hold.Amount) {
	r.live, r.settled = r.live.Add(live), r.settled.Add(settled)
}

// asOfTime checks the instant of a query. It is the rule of both doors.
func asOfTime(t hold.Stamp) (int64, error) {
	ns := int64(0)
	ok := t.Nanos >= 0 && t.Nanos < 1e9 && t.Seconds >= 0 && t.Seconds <= hold.Horizon/1e9
	if ok {
		ns = t.Seconds*1e9 + int64(t.Nanos)
		ok = ns <= hold.Horizon
	}
	if !ok {
		return 0, &hold.FieldError{Field: "as_of", Err: hold.ErrTime}
	}
	return ns, nil
}

// instant sets what the query is about: the time that was given, or now.
func (g *Gateway) instant(q *scoreQuery, t hold.Stamp) (err error) {
	if q.asOf = t.Set; !q.asOf {
		q.at = g.cfg.Now()
		return nil
	}
	q.at, err = asOfTime(t)
	return err
}

// scores emits the rows of a query, ordered by holder, then token. A holder
// without facts is [projection.ErrNotFound]. A row is valid until emit returns.
func (g *Gateway) scores(ctx context.Context, q scoreQuery, emit func(*scoreRow) error) error {
	partitions := []int{}
	if q.holder != "" {
		partitions = append(partitions, ingest.Partition(q.holder, g.cfg.Log.Partitions()))
	} else {
		for p := range g.cfg.Log.Partitions() {
			partitions = append(partitions, p)
		}
	}
	if err := g.awaitApplied(ctx, partitions, q.after); err != nil {
		return err
	}
	if q.holder == "" {
		return g.allScores(ctx, q, partitions, emit)
	}
	view, err := g.cfg.Reader.View(ctx, partitions[0])
	if err != nil {
		return storeError(ctx, err)
	}
	defer view.Close()
	return storeError(ctx, holderScores(ctx, view, q, emit))
}

// holderScores emits the rows of one holder.
func holderScores(ctx context.Context, view projection.PartitionView, q scoreQuery, emit func(*scoreRow) error) error {
	record, err := view.Holder(ctx, q.holder)
	if err != nil {
		return err
	}
	applied := appliedThrough(view)
	sum := scoreRow{holder: q.holder, applied: applied}
	if !q.byToken && !q.asOf && record.Figures.Line.Holds(q.at) {
		sum.live, sum.settled = record.Figures.Line.At(q.at), record.Figures.Settled
		return emit(&sum)
	}
	err = view.Pairs(ctx, q.holder, func(r *projection.PairRecord) error {
		live, settled, err := amounts(r, q)
		if err != nil {
			return err
		}
		if !q.byToken {
			sum.add(live, settled)
			return nil
		}
		return emit(&scoreRow{token: r.Key.Token, holder: q.holder, live: live, settled: settled, applied: applied})
	})
	if err != nil || q.byToken {
		return err
	}
	return emit(&sum)
}

// amounts are the figures of one pair. What is stored beside the pair is enough
// where now is asked for and no line breaks before it; else the pair is opened.
func amounts(r *projection.PairRecord, q scoreQuery) (live, settled hold.Amount, err error) {
	if !q.asOf && r.Figures.Line.Holds(q.at) {
		return r.Figures.Line.At(q.at), r.Figures.Settled, nil
	}
	pair, err := r.Open()
	if err != nil {
		return hold.Amount{}, hold.Amount{}, err
	}
	if q.asOf {
		return pair.LiveAt(q.at), pair.SettledAt(q.at), nil
	}
	return pair.LiveAt(q.at), r.Figures.Settled, nil
}

// appliedThrough is the log's time of what a view holds.
func appliedThrough(view projection.PartitionView) int64 {
	c, ok := view.Checkpoint()
	if !ok {
		return 0
	}
	return c.LogTime
}

// storeError leaves the ends of contexts and what callers decide on as they are.
func storeError(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(err, projection.ErrNotFound) {
		return context.Cause(ctx)
	}
	return err
}

// keep gives a copy of what a callback was lent, so that it can be passed on.
func keep(s, last string) string {
	if s == last {
		return last
	}
	return strings.Clone(s)
}

// timeOf is the form in which answers carry times.
func timeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }
