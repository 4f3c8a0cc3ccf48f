package query

import (
	"context"
	"math/bits"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

const (
	MaxPoints     = 1000 // the most instants that a history has
	DefaultPoints = 100  // if the query names no number
)

// HistoryQuery asks for the score of a holder over time.
type HistoryQuery struct {
	Window               // the last instant, and the first where hasFrom
	Holder, Token string // an empty token: summed over all
	Points        uint64 // 0: DefaultPoints
	After         uint64
}

// Point is the score as of an instant.
type Point struct {
	At            int64
	Live, Settled hold.Amount
	Weight, Rate  hold.Rate
	Applied       int64
	From          *Backend
}

// history gives the exact score at evenly spaced instants, the first and the last
// of the window among them. Without a first one it begins with the first hold.
func (b *Generation) history(ctx context.Context, q HistoryQuery) ([]Point, error) {
	q.Holder, q.Token = b.Rules.Holder(q.Holder), b.Rules.Token(q.Token)
	n := q.Points
	switch {
	case n == 0:
		n = DefaultPoints
	case n < 2 || n > MaxPoints:
		return nil, &hold.FieldError{Field: "points", Err: ErrRange, Detail: RangeDetail(2, MaxPoints)}
	}
	view, err := b.holderView(ctx, q.Holder, &q.Window, q.After)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	from := q.From
	if !q.HasFrom {
		if from, err = firstStart(ctx, view, q); err != nil {
			return nil, storeError(ctx, err)
		}
		from = max(from, horizonOf(view))
	}
	points := make([]Point, n)
	applied := appliedThrough(view)
	for i := range points {
		hi, lo := bits.Mul64(uint64(q.At-from), uint64(i))
		step, _ := bits.Div64(hi, lo, n-1)
		points[i] = Point{At: from + int64(step), Applied: applied, From: &b.Backend}
	}
	none := true
	err = holderPairs(ctx, view, q.Holder, q.Token, func(r *projection.PairRecord) error {
		none = false
		pair, err := r.Open()
		if err != nil {
			return err
		}
		rule := b.Rules.Of(r.Key.Token)
		for i := range points {
			if err := ctx.Err(); err != nil {
				return err
			}
			p := &points[i]
			at := Window{At: p.At}
			f := at.of(rule, pair)
			p.Live, p.Settled = p.Live.Add(f.live), p.Settled.Add(f.settled)
			p.Weight, p.Rate = p.Weight.Add(f.weight), p.Rate.Add(f.rate)
		}
		return r.Check(pair)
	})
	if err == nil && none {
		err = projection.ErrNotFound
	}
	return points, storeError(ctx, err)
}

// firstStart returns the start of the first hold that a history is about, or the end
// of the history if no hold starts before it.
func firstStart(ctx context.Context, view projection.PartitionView, q HistoryQuery) (int64, error) {
	first := q.At
	err := holderPairs(ctx, view, q.Holder, q.Token, func(r *projection.PairRecord) error {
		pair, err := r.Open()
		if err != nil {
			return err
		}
		for h := range pair.Holds() {
			first = min(first, h.Start)
			break
		}
		return r.Check(pair)
	})
	return first, err
}
