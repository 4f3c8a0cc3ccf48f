package gateway

import (
	"context"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// explainQuery asks for the holds behind the score of a holder.
type explainQuery struct {
	window
	holder, token string // an empty token: all
	after         uint64
}

// contribution is a row of an answer to it.
type contribution struct {
	hold.Contribution
	token   string
	rule    string // that counts for the token; empty: none of its own
	policy  hold.Policy
	applied int64
	from    *Backend
	sealed  bool // it is all holds that were sealed, which have no start and no weight
	settles bool // Settled is told
}

// weight is the weight of a hold as a text.
func (c *contribution) weight() string {
	if c.sealed {
		return ""
	}
	return c.Weight.String()
}

// settled is what a hold counts in the settled score, as a text.
func (c *contribution) settled() string {
	if !c.settles {
		return ""
	}
	return c.Settled.Score.String()
}

// ruleOf names the rule of a token, where the rules have names for theirs.
func (b *backend) ruleOf(token string) string {
	if named, ok := b.Rules.(interface{ NameOf(token string) string }); ok {
		return named.NameOf(token)
	}
	return ""
}

// explain emits what each hold of a holder contributes, by token, then in the
// order of [hold.Pair.Holds]. A row is valid until emit returns.
func (b *backend) explain(ctx context.Context, q explainQuery, emit func(*contribution) error) error {
	q.holder, q.token = b.Rules.Holder(q.holder), b.Rules.Token(q.token)
	view, err := b.holderView(ctx, q.holder, &q.window, q.after)
	if err != nil {
		return err
	}
	defer view.Close()
	applied := appliedThrough(view)
	none := true
	err = holderPairs(ctx, view, q.holder, q.token, func(r *projection.PairRecord) error {
		none = false
		pair, err := r.Open()
		if err != nil {
			return err
		}
		rule := b.Rules.Of(r.Key.Token)
		row := contribution{
			token: r.Key.Token, rule: b.ruleOf(r.Key.Token), policy: pair.Policy(),
			applied: applied, from: &b.Backend, settles: q.from == 0,
		}
		parts := rule.Explain(pair, q.from, q.at)
		if err := r.Check(pair); err != nil {
			return err
		}
		if sealed, is := rule.ExplainSealed(pair); is && !q.hasFrom {
			row.sealed, row.Contribution = true, sealed
			if err := emit(&row); err != nil {
				return err
			}
			row.sealed = false
		}
		for _, row.Contribution = range parts {
			if err := emit(&row); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err == nil && none {
		err = projection.ErrNotFound
	}
	return storeError(ctx, err)
}
