package gateway

import (
	"context"
	"math/bits"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

const (
	// MaxPoints is the most instants that a history has, DefaultPoints how many it
	// has unless it is asked for another number.
	MaxPoints     = 1000
	DefaultPoints = 100
)

// historyQuery asks for the score of a holder over time.
type historyQuery struct {
	window               // the last instant, and the first where hasFrom
	holder, token string // an empty token: summed over all
	points        uint64 // 0: DefaultPoints
	after         uint64
}

// scorePoint is the score as of an instant.
type scorePoint struct {
	at            int64
	live, settled hold.Amount
	applied       int64
	from          *Backend
}

// history gives the exact score at evenly spaced instants, the first and the last
// of the window among them. Without a first one it begins with the first hold.
func (b *backend) history(ctx context.Context, q historyQuery) ([]scorePoint, error) {
	q.holder, q.token = b.Rules.Holder(q.holder), b.Rules.Token(q.token)
	n := q.points
	switch {
	case n == 0:
		n = DefaultPoints
	case n < 2 || n > MaxPoints:
		return nil, &hold.FieldError{Field: "points", Err: ErrRange, Detail: rangeDetail(2, MaxPoints)}
	}
	view, err := b.holderView(ctx, q.holder, &q.window, q.after)
	if err != nil {
		return nil, err
	}
	defer view.Close()
	from := q.from
	if !q.hasFrom {
		if from, err = firstStart(ctx, view, q); err != nil {
			return nil, storeError(ctx, err)
		}
		from = max(from, horizonOf(view))
	}
	points := make([]scorePoint, n)
	applied := appliedThrough(view)
	for i := range points {
		hi, lo := bits.Mul64(uint64(q.at-from), uint64(i))
		step, _ := bits.Div64(hi, lo, n-1)
		points[i] = scorePoint{at: from + int64(step), applied: applied, from: &b.Backend}
	}
	none := true
	err = holderPairs(ctx, view, q.holder, q.token, func(r *projection.PairRecord) error {
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
			p.live, p.settled = p.live.Add(rule.LiveAt(pair, p.at)), p.settled.Add(rule.SettledAt(pair, p.at))
		}
		return r.Check(pair)
	})
	if err == nil && none {
		err = projection.ErrNotFound
	}
	return points, storeError(ctx, err)
}

// firstStart is when the first hold that a history is about starts; its end where
// there is none before.
func firstStart(ctx context.Context, view projection.PartitionView, q historyQuery) (int64, error) {
	first := q.at
	err := holderPairs(ctx, view, q.holder, q.token, func(r *projection.PairRecord) error {
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
