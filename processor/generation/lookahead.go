package generation

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// A holder's figures do not end with its last event: holds begin or end later, a season
// has edges, a run becomes long enough, a boost steps up. Of two generations with equal
// figures today, one may have a hold that begins tomorrow and the other not. So if a
// line has a break ahead, the lookahead is compared too: what the pairs have at one
// instant, and at which later instants their slope changes, up to the last that is known.
// Both sides write it in one canonical form, and the hash of that is compared.

// lookaheadFor is how long one answer works on lookaheads, about, before it leaves the
// other holders to the next one.
const lookaheadFor = 3 * time.Second

// slope is by how much something grows from an instant on.
type slope struct {
	At   int64     `json:"at"`
	Rate hold.Rate `json:"rate"`
	Held uint64    `json:"held"`
}

// slopesMost is how many slopes one answer has.
const slopesMost = 256

// slopes calls yield for each slope of a pair from an instant on, up to the last break
// that is known, until it returns false, and returns the amount at that instant. No slope
// equals the one before it.
func slopes(ctx context.Context, r *hold.Rule, p *hold.Pair, at int64, yield func(slope) bool) (base hold.Amount, err error) {
	line := r.Figures(p, at).Line
	base = line.Base
	for last, first := (slope{}), true; ; first = false {
		s := slope{At: at, Rate: line.Rate, Held: line.HeldRate}
		if first || s.Rate != last.Rate || s.Held != last.Held {
			if !yield(s) {
				return base, nil
			}
			last = s
		}
		if line.Until <= at { // none is known
			return base, nil
		}
		if err := ctx.Err(); err != nil {
			return base, err
		}
		at = line.Until
		line = r.Figures(p, at).Line
	}
}

// digest returns the hash of a pair's lookahead. It reports false if the pair has nothing
// and never will.
func (g *Instance) digest(ctx context.Context, r *projection.PairRecord, at int64) (sum []byte, something bool, err error) {
	pair, err := r.Open()
	if err != nil {
		return nil, false, err
	}
	h := sha256.New()
	base, err := slopes(ctx, g.Rules.Of(r.Key.Token), pair, at, func(s slope) bool {
		something = something || !s.Rate.IsZero() || s.Held != 0
		s.hash(h)
		return true
	})
	if err == nil {
		err = r.Check(pair)
	}
	something = something || base != hold.Amount{}
	for _, limbs := range [][]uint64{base.Score[:], base.Held[:]} {
		hashLimbs(h, limbs)
	}
	return h.Sum(nil)[:16], something, err
}

func (s *slope) hash(h hash.Hash) {
	hashLimbs(h, []uint64{uint64(s.At), s.Held})
	hashLimbs(h, s.Rate[:])
}

func hashLimbs(h hash.Hash, limbs []uint64) {
	var b [8]byte
	for _, l := range limbs {
		binary.LittleEndian.PutUint64(b[:], l)
		h.Write(b[:]) // never fails
	}
}

// lookahead returns the hash of the lookaheads of all pairs of a holder.
func (g *Instance) lookahead(ctx context.Context, view projection.PartitionView, holder string, at int64) ([]byte, error) {
	h := sha256.New()
	err := view.Pairs(ctx, holder, func(r *projection.PairRecord) error {
		sum, something, err := g.digest(ctx, r, at)
		if err == nil && something {
			hashLimbs(h, []uint64{uint64(len(r.Key.Token))})
			h.Write([]byte(r.Key.Token))
			h.Write(sum)
		}
		return err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the lookahead of holder %q is too long to be compared within %s", holder, answerWithin)
	}
	return h.Sum(nil)[:16], err
}

// readLookahead answers askLookahead: the lookaheads of a holder's pairs as hashes, or that
// of one pair as slopes.
func (g *Instance) readLookahead(ctx context.Context, partition int, q *question, a *answered) error {
	return g.walkPairs(ctx, partition, q, a, func(p *projection.PairRecord) (*pairAnswer, int, error) {
		out := &pairAnswer{Token: strings.Clone(p.Key.Token)}
		if q.Token == "" {
			sum, something, err := g.digest(ctx, p, q.At)
			if err != nil || !something {
				return nil, 0, err
			}
			out.Digest = sum
			return out, 0, nil
		}
		pair, err := p.Open()
		if err != nil {
			return nil, 0, err
		}
		out.Base, err = slopes(ctx, g.Rules.Of(out.Token), pair, q.At, func(s slope) bool {
			out.Slopes = append(out.Slopes, s)
			return len(out.Slopes) < slopesMost
		})
		if err == nil {
			err = p.Check(pair)
		}
		return out, 0, err
	})
}

// explainLookahead names the tokens whose lookaheads differ, and from which instant on. If
// the holder has had another event meanwhile, it names only the two hashes.
func (c *Comparison) explainLookahead(ctx context.Context, d *Difference, a, b *holderAnswer, at int64) error {
	tokensA, err := c.digests(ctx, c.A.Name, d, a.Position, at)
	if err != nil {
		return err
	}
	tokensB, err := c.digests(ctx, c.B.Name, d, b.Position, at)
	if err != nil {
		return err
	}
	if tokensA != nil && tokensB != nil {
		for token, sum := range tokensA {
			if string(tokensB[token]) != string(sum) {
				d.Tokens = append(d.Tokens, token)
			}
		}
		for token := range tokensB {
			if tokensA[token] == nil {
				d.Tokens = append(d.Tokens, token)
			}
		}
		d.Tokens = firstOf(d.Tokens)
		for _, token := range d.Tokens[:min(len(d.Tokens), tokensMost)] {
			figure, err := c.parting(ctx, d, token, a.Position, b.Position, at)
			if err != nil {
				return err
			}
			if figure != nil {
				d.Figures = append(d.Figures, *figure)
			}
		}
	}
	if len(d.Figures) == 0 {
		d.Figures = []Figure{{"hash of what is known from " + instant(at), fmt.Sprintf("%x", a.Lookahead), fmt.Sprintf("%x", b.Lookahead)}}
	}
	return nil
}

// digests returns the lookaheads of a holder's pairs as hashes, or nil if the holder has
// had another event.
func (c *Comparison) digests(ctx context.Context, name string, d *Difference, position uint64, at int64) (map[string][]byte, error) {
	all := map[string][]byte{}
	for q := (question{Ask: askLookahead, Holder: d.Holder, At: at}); ; {
		page, err := c.ask(ctx, name, d.Partition, &q)
		if err != nil || page.Position != position {
			return nil, err
		}
		for _, p := range page.Pairs {
			all[p.Token] = p.Digest
			q.After = p.Token
		}
		if !page.More || len(all) > 100*settleMost {
			return all, nil
		}
	}
}

// parting returns the first difference between two lookaheads of a pair, or nil if the
// holder has had another event.
func (c *Comparison) parting(ctx context.Context, d *Difference, token string, positionA, positionB uint64, at int64) (*Figure, error) {
	for {
		q := question{Ask: askLookahead, Holder: d.Holder, Token: token, At: at}
		ofA, err := c.ask(ctx, c.A.Name, d.Partition, &q)
		if err != nil {
			return nil, err
		}
		ofB, err := c.ask(ctx, c.B.Name, d.Partition, &q)
		if err != nil || ofA.Position != positionA || ofB.Position != positionB {
			return nil, err
		}
		a, b := onePair(ofA, at), onePair(ofB, at)
		if a.Base != b.Base {
			name := "live_score of " + token + " at " + instant(at)
			if a.Base.Score == b.Base.Score {
				return &Figure{"live_held_seconds of " + token + " at " + instant(at), a.Base.Held.String(), b.Base.Held.String()}, nil
			}
			return &Figure{name, a.Base.Score.String(), b.Base.Score.String()}, nil
		}
		last := slope{At: at}
		for i, j := 0, 0; i < len(a.Slopes) || j < len(b.Slopes); i, j = i+1, j+1 {
			switch {
			case i < len(a.Slopes) && j < len(b.Slopes) && a.Slopes[i] == b.Slopes[j]:
				last = a.Slopes[i]
				continue
			// One that has no slope there goes on as before.
			case j >= len(b.Slopes) || i < len(a.Slopes) && a.Slopes[i].At < b.Slopes[j].At:
				return partingRates(token, a.Slopes[i].At, &a.Slopes[i], &last), nil
			case i >= len(a.Slopes) || b.Slopes[j].At < a.Slopes[i].At:
				return partingRates(token, b.Slopes[j].At, &last, &b.Slopes[j]), nil
			}
			return partingRates(token, a.Slopes[i].At, &a.Slopes[i], &b.Slopes[j]), nil
		}
		if len(a.Slopes) < slopesMost {
			return nil, nil
		}
		at = last.At // which comes again, with others after it
	}
}

func partingRates(token string, at int64, a, b *slope) *Figure {
	if a.Rate == b.Rate {
		return &Figure{"held_rate of " + token + " from " + instant(at), fmt.Sprint(a.Held), fmt.Sprint(b.Held)}
	}
	return &Figure{"rate of " + token + " from " + instant(at), a.Rate.String(), b.Rate.String()}
}

// onePair returns the pair of an answer about one, or an empty pair if it is not there.
func onePair(a *answered, at int64) *pairAnswer {
	if len(a.Pairs) == 0 {
		return &pairAnswer{Slopes: []slope{{At: at}}}
	}
	return &a.Pairs[0]
}

func instant(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
