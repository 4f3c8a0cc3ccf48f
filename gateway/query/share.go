package query

import (
	"context"
	"math/big"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// maxSums is how many reads may add up everything at the same time. Each goes
// through every pair of the store, and more of them side by side only take longer.
const maxSums = 2

// sumPatience is how long such a read waits for its turn.
const sumPatience = 30 * time.Second

// sums are sums over all holders. A nil *sums has none.
type sums struct {
	total  Totals
	tokens map[string]*Totals // of the tokens that are asked for
}

// all is the sum over all tokens, or of the one that was asked for.
func (s *sums) all() *Totals {
	if s == nil {
		return nil
	}
	return &s.total
}

func (s *sums) of(token string) *Totals {
	if s == nil {
		return nil
	}
	return s.tokens[token]
}

// sumAll adds up all holders in the window of a query, from the views that the
// rows are read from, so that shares are of the very sum that they are part of.
func (b *Generation) sumAll(ctx context.Context, q ScoreQuery, views []projection.PartitionView) (*sums, error) {
	patience := time.NewTimer(sumPatience)
	defer patience.Stop()
	select {
	case b.S.sums <- struct{}{}:
		defer func() { <-b.S.sums }()
	case <-patience.C:
		return nil, ErrCrowded
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	all := &sums{tokens: map[string]*Totals{}}
	switch {
	case !q.ByToken:
	case q.Token != "":
		all.tokens[q.Token] = &Totals{}
	default:
		err := b.S.viewOf(q.Holder, views).Pairs(ctx, q.Holder, func(r *projection.PairRecord) error {
			all.tokens[keep(r.Key.Token, "")] = &Totals{}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	own := make([]*sums, len(views))
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, view := range views {
		group.Go(func() (err error) {
			own[i], err = sumView(within, q, view, all.tokens)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, s := range own {
		all.total.add(s.total.Live, s.total.Settled)
		for token, t := range s.tokens {
			all.tokens[token].add(t.Live, t.Settled)
		}
	}
	return all, nil
}

// sumView adds up one partition. It only reads which tokens are asked for.
func sumView(ctx context.Context, q ScoreQuery, view projection.PartitionView, asked map[string]*Totals) (*sums, error) {
	own := &sums{tokens: map[string]*Totals{}}
	return own, view.AllPairs(ctx, func(r *projection.PairRecord) error {
		if q.Token != "" && r.Key.Token != q.Token {
			return nil
		}
		live, settled, err := amounts(r, q)
		if err != nil {
			return err
		}
		own.total.add(live, settled)
		if _, ok := asked[r.Key.Token]; !ok {
			return nil
		}
		t := own.tokens[r.Key.Token]
		if t == nil {
			t = &Totals{}
			own.tokens[keep(r.Key.Token, "")] = t
		}
		t.add(live, settled)
		return nil
	})
}

// ShareOf is part/whole, the nearest double; 0 of nothing.
func ShareOf(part, whole hold.Score) float64 {
	if whole.IsZero() {
		return 0
	}
	f, _ := new(big.Rat).SetFrac(scoreInt(part), scoreInt(whole)).Float64()
	return f
}

// scoreInt is a score, or a difference of scores, in its own units.
func scoreInt(s hold.Score) *big.Int {
	var b [48]byte
	net := s.Net()
	for i, limb := range net.By {
		for j := range 8 {
			b[len(b)-1-8*i-j] = byte(limb >> (8 * j))
		}
	}
	n := new(big.Int).SetBytes(b[:])
	if net.Negative {
		n.Neg(n)
	}
	return n
}
