package query

import (
	"context"
	"errors"
	"strings"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// ScoreQuery asks for exact figures.
type ScoreQuery struct {
	Window
	Holder  string  // empty: all
	Token   string  // empty: all
	ByToken bool    // a row a pair, else a row a holder
	Share   bool    // with the sums over all holders
	Digits  *uint32 // decimal places of exact shares; nil: DefaultDigits
	After   uint64  // 0: all that the log holds now

	rules hold.Rules // of the generation that answers; see named
}

// Check returns an error if the query cannot be answered. It does not check times.
func (q *ScoreQuery) Check() error {
	switch {
	case q.Digits != nil && *q.Digits > MaxDigits:
		return &hold.FieldError{Field: "digits", Err: ErrRange, Detail: RangeDetail(0, MaxDigits)}
	case q.Digits != nil && !q.Share:
		return &hold.FieldError{Field: "digits", Err: ErrTogether, Detail: "it is of share; ask for that too"}
	}
	return nil
}

// now reports whether the query is about the present, which the stored figures
// answer as long as their line holds.
func (q *ScoreQuery) now(f *hold.Figures) bool { return !q.asOf && f.Line.Holds(q.At) }

// Row is a holder, or a holder's token.
type Row struct {
	Token, Holder string
	Live, Settled hold.Amount // of a window settled.Score may be negative; see hold.Score.Net
	Weight, Rate  hold.Rate   // at the instant; of a window 0
	Applied       int64       // the log's time up to which the partition is applied; 0: nothing is
	Total         *Totals     // with share
	From          *Backend
}

// Totals are sums over all holders.
type Totals struct{ Live, Settled hold.Amount }

func (t *Totals) add(live, settled hold.Amount) {
	t.Live, t.Settled = t.Live.Add(live), t.Settled.Add(settled)
}

// add makes r the sum over one more pair.
func (r *Row) add(o *Row) {
	r.Live, r.Settled = r.Live.Add(o.Live), r.Settled.Add(o.Settled)
	r.Weight, r.Rate = r.Weight.Add(o.Weight), r.Rate.Add(o.Rate)
}

// scores emits the rows of a query, ordered by holder, then token. A holder
// without facts, or without facts of the token, is [projection.ErrNotFound]. A
// row is valid until emit returns.
func (b *Generation) scores(ctx context.Context, q ScoreQuery, emit func(*Row) error) error {
	q = q.named(b.Rules)
	rows := emit
	emit = func(r *Row) error {
		r.From = &b.Backend
		return rows(r)
	}
	views, sums, err := b.open(ctx, q)
	if err != nil {
		return err
	}
	defer closeViews(views)
	if q.Share {
		rows := emit
		emit = func(r *Row) error {
			if r.Total = sums.all(); q.ByToken {
				r.Total = sums.of(r.Token)
			}
			return rows(r)
		}
	}
	if q.Holder == "" {
		return storeError(ctx, b.S.mergeScores(ctx, q, views, emit))
	}
	return storeError(ctx, b.S.holderScores(ctx, b.S.viewOf(q.Holder, views), q, emit))
}

// open waits for what a query asks for, opens the views that it needs, and adds
// up all holders where it asks for shares. The views are the caller's to close.
func (b *Generation) open(ctx context.Context, q ScoreQuery) (views []projection.PartitionView, s *sums, err error) {
	if err := q.Check(); err != nil {
		return nil, nil, err
	}
	partitions := b.S.partitionsOf(q.Holder)
	if q.Share {
		partitions = b.S.partitionsOf("")
	}
	if err := b.awaitApplied(ctx, partitions, q.After); err != nil {
		return nil, nil, err
	}
	if views, err = b.views(ctx, partitions); err != nil {
		return nil, nil, err
	}
	for _, view := range views {
		if err := q.checkHorizon(horizonOf(view)); err != nil {
			closeViews(views)
			return nil, nil, err
		}
	}
	if !q.Share {
		return views, nil, nil
	}
	if s, err = b.sumAll(ctx, q, views); err != nil {
		closeViews(views)
		return nil, nil, storeError(ctx, err)
	}
	return views, s, nil
}

// viewOf is the view that a holder is in, of those of all partitions or of its own.
func (s *Service) viewOf(holder string, views []projection.PartitionView) projection.PartitionView {
	if len(views) == 1 {
		return views[0]
	}
	return views[ingest.Partition(holder, len(views))]
}

// partitionsOf is the partition of a holder, or all where none is named.
func (s *Service) partitionsOf(holder string) []int {
	n := s.cfg.Log.Partitions()
	if holder != "" {
		return []int{ingest.Partition(holder, n)}
	}
	all := make([]int, n)
	for p := range all {
		all[p] = p
	}
	return all
}

// views opens a view of each partition. All are opened before the first row goes
// out, so that a client that reads slowly still gets what was there when it asked.
func (b *Generation) views(ctx context.Context, partitions []int) (views []projection.PartitionView, err error) {
	for _, p := range partitions {
		view, err := b.view(ctx, p)
		if err != nil {
			closeViews(views)
			return nil, err
		}
		views = append(views, view)
	}
	return views, nil
}

func closeViews(views []projection.PartitionView) {
	for _, v := range views {
		v.Close()
	}
}

// holderView opens the view that answers for one holder in a window, once it has
// applied what was asked for.
func (b *Generation) holderView(ctx context.Context, holder string, w *Window, after uint64) (projection.PartitionView, error) {
	if holder == "" {
		return nil, &hold.FieldError{Field: "holder_id", Err: hold.ErrRequired}
	}
	partition := b.S.partitionsOf(holder)
	if err := b.awaitApplied(ctx, partition, after); err != nil {
		return nil, err
	}
	view, err := b.view(ctx, partition[0])
	if err != nil {
		return nil, err
	}
	if err := w.checkHorizon(horizonOf(view)); err != nil {
		view.Close()
		return nil, err
	}
	return view, nil
}

// view opens the view of a partition, and notes how far it is: no generation that
// comes later answers from less.
func (b *Generation) view(ctx context.Context, partition int) (projection.PartitionView, error) {
	view, err := b.Reader.View(ctx, partition)
	if err != nil {
		return nil, storeError(ctx, err)
	}
	c, _ := view.Checkpoint()
	seen := &b.S.seen[partition]
	for before := seen.Load(); before < c.Position && !seen.CompareAndSwap(before, c.Position); before = seen.Load() {
	}
	return view, nil
}

// holderScores emits the rows of one holder.
func (s *Service) holderScores(ctx context.Context, view projection.PartitionView, q ScoreQuery, emit func(*Row) error) error {
	turn, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer turn.Leave()
	emit = pausing(ctx, turn, emit)
	record, err := view.Holder(ctx, q.Holder)
	if err != nil {
		return err
	}
	applied := appliedThrough(view)
	sum := Row{Holder: q.Holder, Applied: applied}
	if !q.ByToken && q.Token == "" && q.now(&record.Figures) && q.rules.Version() == hold.NoRulesVersion {
		line := &record.Figures.Line
		sum.Live, sum.Settled, sum.Weight, sum.Rate = line.At(q.At), record.Figures.Settled, line.Rate, line.Rate
		return emit(&sum)
	}
	none := true
	err = holderPairs(ctx, view, q.Holder, q.Token, func(r *projection.PairRecord) error {
		none = false
		if err := turn.Yield(ctx); err != nil {
			return err
		}
		row, err := pairRow(r, q)
		if err != nil {
			return err
		}
		if !q.ByToken {
			sum.add(&row)
			return nil
		}
		row.Token, row.Holder, row.Applied = r.Key.Token, q.Holder, applied
		return emit(&row)
	})
	switch {
	case err != nil:
		return err
	case none && q.Token != "":
		return projection.ErrNotFound
	case q.ByToken:
		return nil
	}
	return emit(&sum)
}

// holderPairs walks the pairs of a holder, or the one of a token.
func holderPairs(ctx context.Context, view projection.PartitionView, holder, token string, fn func(*projection.PairRecord) error) error {
	return view.Pairs(ctx, holder, func(r *projection.PairRecord) error {
		if token != "" && r.Key.Token != token {
			return nil
		}
		return fn(r)
	})
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

// TimeOf is the form in which answers carry times.
func TimeOf(ns int64) time.Time { return time.Unix(0, ns).UTC() }
