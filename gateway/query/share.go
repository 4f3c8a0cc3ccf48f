package query

import (
	"context"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// sums are sums over all holders. A nil *sums has none.
type sums struct {
	total  Totals
	tokens map[string]*Totals // of the tokens that are asked for
	every  bool               // of every token
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
	leave, err := b.S.walk(ctx, ClientOf(ctx), "reads that add up all holders")
	if err != nil {
		return nil, err
	}
	defer leave()
	all := &sums{tokens: map[string]*Totals{}}
	switch {
	case !q.ByToken:
	case q.Token != "":
		all.tokens[q.Token] = &Totals{}
	case q.Holder == "":
		all.every = true
	default:
		err := b.S.viewOf(q.Holder, views).Pairs(ctx, q.Holder, func(r *projection.PairRecord) error {
			all.tokens[keep(r.Key.Token, "")] = &Totals{}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	asked := map[string]bool{}
	for token := range all.tokens {
		asked[token] = true
	}
	var mu sync.Mutex // of all
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, view := range views {
		group.Go(func() error {
			tokens := map[string]*Totals{}
			total, err := b.S.sumView(within, q, view, func(r *projection.PairRecord, live, settled hold.Amount) error {
				if !all.every && !asked[r.Key.Token] {
					return nil
				}
				t := tokens[r.Key.Token]
				if t == nil {
					if len(tokens) == tokensSummed {
						if err := all.take(&mu, tokens); err != nil {
							return err
						}
					}
					t = &Totals{}
					tokens[keep(r.Key.Token, "")] = t
				}
				t.add(live, settled)
				return nil
			})
			if err != nil {
				return err
			}
			if err := all.take(&mu, tokens); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all.total.add(total.Live, total.Settled)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return all, nil
}

// tokensSummed is how many tokens a partition adds up by itself before it adds its
// sums to those of all, and maxTokens how many tokens all have at most.
const (
	tokensSummed = 4096
	maxTokens    = 1 << 20
)

// take moves sums by token into s.
func (s *sums) take(mu *sync.Mutex, tokens map[string]*Totals) error {
	mu.Lock()
	defer mu.Unlock()
	for token, t := range tokens {
		sum := s.tokens[token]
		if sum == nil {
			if len(s.tokens) == maxTokens {
				return &hold.FieldError{Field: "share", Err: ErrTogether, Detail: fmt.Sprintf("there are more than %d tokens to add up: name a token or a holder", maxTokens)}
			}
			sum = &Totals{}
			s.tokens[token] = sum
		}
		sum.add(t.Live, t.Settled)
	}
	clear(tokens)
	return nil
}

// sumView adds up one partition and calls each for every pair.
func (s *Service) sumView(ctx context.Context, q ScoreQuery, view projection.PartitionView, each func(r *projection.PairRecord, live, settled hold.Amount) error) (total Totals, err error) {
	turn, err := s.turn(ctx)
	if err != nil {
		return total, err
	}
	defer turn.Leave()
	err = view.AllPairs(ctx, func(r *projection.PairRecord) error {
		if err := turn.Yield(ctx); err != nil {
			return err
		}
		if q.Token != "" && r.Key.Token != q.Token {
			return nil
		}
		live, settled, err := amounts(r, q)
		if err != nil {
			return err
		}
		total.add(live, settled)
		return each(r, live, settled)
	})
	return total, err
}

// DefaultDigits is how many decimal places an exact share has unless a read asks for
// another number, and MaxDigits the most that it may ask for.
const (
	DefaultDigits = 18
	MaxDigits     = 1000
)

// ShareText returns part/whole as a decimal of the places that the query asks for,
// rounded down, without trailing zeros; "0" of nothing.
func (q *ScoreQuery) ShareText(part, whole hold.Score) string {
	digits := DefaultDigits
	if q.Digits != nil {
		digits = int(*q.Digits)
	}
	if whole.IsZero() {
		return "0"
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	fraction := new(big.Rat).SetFrac(scoreInt(part), scoreInt(whole))
	// Div rounds down, since a denominator is positive.
	n := new(big.Int).Div(scale.Mul(scale, fraction.Num()), fraction.Denom())
	sign := ""
	if n.Sign() < 0 {
		sign = "-"
		n.Abs(n)
	}
	text := n.String()
	if digits == 0 {
		return sign + text
	}
	if missing := digits + 1 - len(text); missing > 0 {
		text = strings.Repeat("0", missing) + text
	}
	text = strings.TrimRight(text[:len(text)-digits]+"."+text[len(text)-digits:], "0")
	return sign + strings.TrimSuffix(text, ".")
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
