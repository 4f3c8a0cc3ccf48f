package query

import (
	"context"
	"errors"
	"fmt"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// ExplainQuery asks for the holds behind the score of a holder.
type ExplainQuery struct {
	Window
	Holder, Token string // an empty token: all
	After         uint64
}

// Contribution is a row of an answer to it.
type Contribution struct {
	hold.Contribution
	Token   string
	Rule    string // that counts for the token; empty: none of its own
	Policy  hold.Policy
	Applied int64
	From    *Backend
	Sealed  bool // it is all holds that were sealed, which have no start and no weight
	settles bool // Settled is reported
}

// WeightText is the weight of a hold as a text.
func (c *Contribution) WeightText() string {
	if c.Sealed {
		return ""
	}
	return c.Weight.String()
}

// SettledText is what a hold counts in the settled score, as a text.
func (c *Contribution) SettledText() string {
	if !c.settles {
		return ""
	}
	return c.Settled.Score.String()
}

// ruleOf names the rule of a token, where the rules have names for theirs.
func (b *Generation) ruleOf(token string) string {
	if named, ok := b.Rules.(interface{ NameOf(token string) string }); ok {
		return named.NameOf(token)
	}
	return ""
}

// explain emits what each hold of a holder contributes, by token, then in the
// order of [hold.Pair.Holds]. A row is valid until emit returns.
func (b *Generation) explain(ctx context.Context, q ExplainQuery, emit func(*Contribution) error) error {
	q.Holder, q.Token = b.Rules.Holder(q.Holder), b.Rules.Token(q.Token)
	view, err := b.holderView(ctx, q.Holder, &q.Window, q.After)
	if err != nil {
		return err
	}
	defer view.Close()
	turn, err := b.S.turn(ctx)
	if err != nil {
		return err
	}
	defer turn.Leave()
	emit = pausing(ctx, turn, emit)
	applied := appliedThrough(view)
	none := true
	err = holderPairs(ctx, view, q.Holder, q.Token, func(r *projection.PairRecord) error {
		none = false
		if err := turn.Yield(ctx); err != nil {
			return err
		}
		pair, err := r.Open()
		if err != nil {
			return err
		}
		if pair.Len() > largePair {
			turn.Pause() // it may wait for long
			large := b.S.gates.large.Turn(ClientOf(ctx))
			if err := large.Enter(ctx); err != nil {
				return crowded(err, "explanations of pairs with many holds", "or for a window")
			}
			defer large.Leave()
			if err := turn.Resume(ctx); err != nil {
				return err
			}
		}
		rule := b.Rules.Of(r.Key.Token)
		row := Contribution{
			Token: r.Key.Token, Rule: b.ruleOf(r.Key.Token), Policy: pair.Policy(),
			Applied: applied, From: &b.Backend, settles: q.From == 0,
		}
		if sealed, is := rule.ExplainSealed(pair); is && !q.HasFrom {
			if err := r.Check(pair); err != nil {
				return err
			}
			row.Sealed, row.Contribution = true, sealed
			if err := emit(&row); err != nil {
				return err
			}
			row.Sealed = false
		}
		var failed error
		err = rule.EachContribution(pair, q.From, q.At, func() error { return turn.Yield(ctx) }, func(c *hold.Contribution) bool {
			row.Contribution = *c
			failed = emit(&row)
			return failed == nil
		})
		switch {
		case failed != nil:
			return failed
		case errors.Is(err, hold.ErrEntangled):
			return &hold.FieldError{Field: "from", Err: ErrCostly, Detail: fmt.Sprintf("%v (token %q); ask for a window that fewer holds reach into", err, r.Key.Token)}
		case err != nil:
			return err
		}
		if err := r.Check(pair); err != nil {
			return err
		}
		return ctx.Err()
	})
	if err == nil && none {
		err = projection.ErrNotFound
	}
	return storeError(ctx, err)
}
