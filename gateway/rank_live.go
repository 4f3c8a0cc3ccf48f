package gateway

import (
	"math"
	"slices"
	"strings"

	"holdmetrics/processor/hold"
)

// A ranking by live score is made anew for each instant. One pass looks at every
// line as two doubles. Their error is bounded, so an item has a least and a
// greatest score; who is certainly not among the first is left out, and the few
// that remain are compared by their exact scores. Holders with equal scores cannot
// be told apart by doubles: where very many have the same one, the pass costs what
// their exact comparison costs.

// liveError is the relative error of the doubles of a line, some twenty roundings
// with room to spare; longest is longer than any time that a line is drawn over,
// in seconds.
const (
	liveError = 8e-15
	longest   = 1e10
)

// between is the least and the greatest live score of an item, seconds after the epoch.
func (it *rankItem) between(seconds float64) (least, greatest float64) {
	score := it.origin + it.rate*seconds
	e := liveError * (math.Abs(it.origin) + it.rate*longest)
	return score - e, score + e
}

// livePlace is a place in the order by live score.
type livePlace struct {
	score hold.Score
	row   *rankRow
}

func (p livePlace) compare(o livePlace) int {
	if c := o.score.Cmp(p.score); c != 0 {
		return c
	}
	return strings.Compare(p.row.holder, o.row.holder)
}

func (it *rankItem) placeAt(t int64) livePlace {
	f := it.row.read()
	live, _ := figuresAt(&f.line, t)
	return livePlace{live.Score, it.row}
}

// liveTop gives the first rows by live score at t that come after a place, nil
// for the very first, in order.
func (s *rankState) liveTop(t int64, after *livePlace, limit int) []livePlace {
	top := liveTop{at: t, seconds: s.seconds(t), limit: limit, after: after}
	if after != nil {
		top.below = roughly(after.score, 1e-33)
	}
	s.tree.Walk(func(items []rankItem) bool {
		for i := range items {
			top.look(&items[i])
		}
		return true
	})
	top.settle()
	return top.best
}

// liveRank is how many rows come before a row.
func (s *rankState) liveRank(t int64, row *rankRow) (before int) {
	mine := (&rankItem{row: row}).placeAt(t)
	score := roughly(mine.score, 1e-33)
	least, greatest := score*(1-liveError), score*(1+liveError)
	seconds := s.seconds(t)
	s.tree.Walk(func(items []rankItem) bool {
		for i := range items {
			it := &items[i]
			low, high := it.between(seconds)
			if low > greatest || high >= least && it.row != row && it.placeAt(t).compare(mine) < 0 {
				before++
			}
		}
		return true
	})
	return before
}

func (s *rankState) seconds(t int64) float64 { return float64(t-s.epoch) * 1e-9 }

// liveTop is a pass under way.
type liveTop struct {
	at      int64
	seconds float64
	limit   int
	after   *livePlace
	below   float64 // the score of after, roughly

	lows  []float64   // a heap of the limit greatest least scores, the smallest on top
	maybe []maybeTop  // what is not left out yet
	best  []livePlace // what was compared exactly, in order
}

type maybeTop struct {
	item     rankItem
	greatest float64
}

func (p *liveTop) look(it *rankItem) {
	low, high := it.between(p.seconds)
	if len(p.lows) == p.limit && high < p.lows[0] {
		return
	}
	if p.after != nil {
		if low > p.below*(1+liveError) {
			return
		}
		if high >= p.below*(1-liveError) && it.placeAt(p.at).compare(*p.after) <= 0 {
			return
		}
	}
	p.push(low)
	p.maybe = append(p.maybe, maybeTop{*it, high})
	if len(p.maybe) > 8*p.limit+4096 {
		p.settle()
	}
}

// push keeps the greatest of the least scores: where limit rows have at least so
// much, who has less for certain is not among them.
func (p *liveTop) push(low float64) {
	if len(p.lows) < p.limit {
		p.lows = append(p.lows, low)
		for i := len(p.lows) - 1; i > 0 && p.lows[i] < p.lows[(i-1)/2]; i = (i - 1) / 2 {
			p.lows[i], p.lows[(i-1)/2] = p.lows[(i-1)/2], p.lows[i]
		}
		return
	}
	if low <= p.lows[0] {
		return
	}
	p.lows[0] = low
	for i := 0; ; {
		down := 2*i + 1
		if down >= len(p.lows) {
			return
		}
		if down+1 < len(p.lows) && p.lows[down+1] < p.lows[down] {
			down++
		}
		if p.lows[i] <= p.lows[down] {
			return
		}
		p.lows[i], p.lows[down] = p.lows[down], p.lows[i]
		i = down
	}
}

// settle compares what is not left out exactly, and keeps the best.
func (p *liveTop) settle() {
	for i := range p.maybe {
		if m := &p.maybe[i]; len(p.lows) < p.limit || m.greatest >= p.lows[0] {
			p.best = append(p.best, m.item.placeAt(p.at))
		}
	}
	clear(p.maybe)
	p.maybe = p.maybe[:0]
	slices.SortFunc(p.best, livePlace.compare)
	if len(p.best) > p.limit {
		clear(p.best[p.limit:])
		p.best = p.best[:p.limit]
	}
}
