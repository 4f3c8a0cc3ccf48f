package query

import (
	"context"

	"holdmetrics/gateway/auth"
	"holdmetrics/projection"
)

// tokensKept is how many tokens of a holder are kept in memory while their sum,
// which comes before them, is added up. If there are more, they are read a second
// time.
const tokensKept = 256

// Breakdown emits the sum over the tokens of a holder, then each token, in order. A
// row is valid until emit returns.
func (s *Service) Breakdown(ctx context.Context, q ScoreQuery, sum, token func(*Row) error) error {
	asked := auth.Reading{Token: q.Token, Holders: named(q.Holder), Compared: q.Share}
	return ask(ctx, s, asked, sum, func(b *Generation, sum func(*Row) error) error { return b.breakdown(ctx, q, sum, token) })
}

func (b *Generation) breakdown(ctx context.Context, q ScoreQuery, emitSum, emitToken func(*Row) error) error {
	q = q.named(b.Rules)
	views, sums, err := b.open(ctx, q)
	if err != nil {
		return err
	}
	defer closeViews(views)
	view := b.S.viewOf(q.Holder, views)
	sum, count := Row{Holder: q.Holder, From: &b.Backend, Total: sums.all()}, 0
	var first []Row // at most tokensKept
	err = b.S.holderScores(ctx, view, q, func(r *Row) error {
		sum.add(r)
		sum.Applied = r.Applied
		if count++; count <= tokensKept {
			kept := *r
			kept.Token = keep(r.Token, "")
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
	emit := func(r *Row) error {
		r.From, r.Total = &b.Backend, sums.of(r.Token)
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
	return storeError(ctx, b.S.holderScores(ctx, view, q, func(r *Row) error {
		if skip > 0 {
			skip--
			return nil
		}
		return emit(r)
	}))
}
