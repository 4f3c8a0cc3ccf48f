package query

import (
	"context"
	"fmt"
	"math/bits"

	"holdmetrics/hold"
	"holdmetrics/internal/fair"
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
	turn, err := b.S.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer turn.Leave()
	from := q.From
	if !q.HasFrom {
		if from, err = firstStart(ctx, view, turn, q); err != nil {
			return nil, storeError(ctx, err)
		}
		from = max(from, horizonOf(view))
	}
	instants := make([]int64, n)
	for i := range instants {
		hi, lo := bits.Mul64(uint64(q.At-from), uint64(i))
		step, _ := bits.Div64(hi, lo, n-1)
		instants[i] = from + int64(step)
	}
	series := hold.NewSeries(instants)
	none, left := true, b.S.cfg.Bounds.HistoryCost
	err = holderPairs(ctx, view, q.Holder, q.Token, func(r *projection.PairRecord) error {
		none = false
		pair, err := r.Open()
		if err != nil {
			return err
		}
		whole := series.Add(b.Rules.Of(r.Key.Token), pair, func(holds int) bool {
			left -= int64(holds)
			return left >= 0 && turn.Yield(ctx) == nil
		})
		switch {
		case whole:
			return r.Check(pair)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		return &hold.FieldError{Field: "points", Err: ErrCostly, Detail: fmt.Sprintf("with %d instants more than %d readings of holds would be needed; ask for fewer points, or for one token", n, b.S.cfg.Bounds.HistoryCost)}
	})
	if err == nil && none {
		err = projection.ErrNotFound
	}
	if err != nil {
		return nil, storeError(ctx, err)
	}
	points, applied := make([]Point, n), appliedThrough(view)
	for i, p := range series.Points() {
		points[i] = Point{At: instants[i], Live: p.Live, Settled: p.Settled, Weight: p.Weight, Rate: p.Rate, Applied: applied, From: &b.Backend}
	}
	return points, nil
}

// firstStart returns the start of the first hold that a history is about, or the end
// of the history if no hold starts before it.
func firstStart(ctx context.Context, view projection.PartitionView, turn *fair.Turn, q HistoryQuery) (int64, error) {
	first := q.At
	err := holderPairs(ctx, view, q.Holder, q.Token, func(r *projection.PairRecord) error {
		if err := turn.Yield(ctx); err != nil {
			return err
		}
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
