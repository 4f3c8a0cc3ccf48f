package gateway

import (
	"context"

	"holdmetrics/projection"
)

// tokensKept is how many tokens of a holder are kept in memory while their sum,
// which comes before them, is added up. If there are more, they are read a second
// time.
const tokensKept = 256

// breakdown emits the sum over the tokens of a holder, then each token, in order. A
// row is valid until emit returns.
func (s *reads) breakdown(ctx context.Context, q scoreQuery, sum, token func(*scoreRow) error) error {
	return afresh(func(given func()) error {
		return s.with(func(b *backend) error { return b.breakdown(ctx, q, givenTo(given, sum), token) })
	})
}

func (b *backend) breakdown(ctx context.Context, q scoreQuery, emitSum, emitToken func(*scoreRow) error) error {
	q = q.named(b.Rules)
	views, sums, err := b.open(ctx, q)
	if err != nil {
		return err
	}
	defer closeViews(views)
	view := b.s.viewOf(q.holder, views)
	sum, count := scoreRow{holder: q.holder, from: &b.Backend, total: sums.all()}, 0
	var first []scoreRow // at most tokensKept
	err = holderScores(ctx, view, q, func(r *scoreRow) error {
		sum.add(r.live, r.settled)
		sum.applied = r.applied
		if count++; count <= tokensKept {
			kept := *r
			kept.token = keep(r.token, "")
			first = append(first, kept)
		}
		return nil
	})
	if err == nil && count == 0 {
		err = projection.ErrNotFound
	}
	if err != nil {
		return storeError(ctx, err)
	}
	if err := emitSum(&sum); err != nil {
		return err
	}
	emit := func(r *scoreRow) error {
		r.from, r.total = &b.Backend, sums.of(r.token)
		return emitToken(r)
	}
	for i := range first {
		if err := emit(&first[i]); err != nil {
			return err
		}
	}
	if count <= tokensKept {
		return nil
	}
	skip := tokensKept
	return storeError(ctx, holderScores(ctx, view, q, func(r *scoreRow) error {
		if skip > 0 {
			skip--
			return nil
		}
		return emit(r)
	}))
}
