package query

import (
	"math"
	"slices"
	"strings"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// A ranking by live score is computed for each instant. One pass looks at every
// line as two floats of 32 bits, eight bytes a holder one behind the other, so that
// a million take a few milliseconds. Their error is bounded, so a line has a least
// and a greatest score; who is certainly not among the first is left out, and the
// few that remain are compared by their exact scores. Holders with equal scores
// cannot be distinguished by floats: where very many have the same one, the pass costs
// what their exact comparison costs.

// roughLine is a line: weight-seconds at the epoch, and a second.
type roughLine struct{ origin, rate float32 }

// noLine is below every score.
var noLine = roughLine{origin: -math.MaxFloat32}

// roughError is the relative error of a roughLine's terms: each was rounded to 24
// bits, after some roundings to 53.
const roughError = 1.25e-7

// between is the least and the greatest score, seconds after the epoch.
func (l roughLine) between(seconds float64) (least, greatest float64) {
	origin, gain := float64(l.origin), float64(l.rate)*seconds
	e := roughError * (math.Abs(origin) + math.Abs(gain))
	return origin + gain - e, origin + gain + e
}

func roughlyLine(l *hold.Line, epoch int64) roughLine {
	rate := roughly(l.Rate, 1e-24)
	origin := roughly(l.Base.Score, 1e-33) - rate*float64(l.Since-epoch)*1e-9
	return roughLine{float32(origin), float32(rate)}
}

// liveLines are the lines of a board, in chunks that states share until they change.
type liveLines struct {
	epoch  int64 // of the lines, unix nanoseconds
	chunks []*liveChunk
	size   int   // slots in use, or free among them
	free   []int // slots
	owner  *int  // of the chunks that no state has
}

const liveChunkSize = 512

type liveChunk struct {
	owner *int
	lines [liveChunkSize]roughLine
	rows  [liveChunkSize]*rankRow
}

// frozenLines are lines that stand still.
type frozenLines struct {
	epoch  int64
	chunks []*liveChunk
}

func (l *liveLines) freeze() frozenLines {
	l.owner = new(int) // all chunks are shared now
	return frozenLines{l.epoch, slices.Clone(l.chunks)}
}

// at is the chunk of a slot, to be written to.
func (l *liveLines) at(slot int) *liveChunk {
	if l.owner == nil {
		l.owner = new(int)
	}
	i := slot / liveChunkSize
	if i == len(l.chunks) {
		c := &liveChunk{owner: l.owner}
		for j := range c.lines {
			c.lines[j] = noLine
		}
		l.chunks = append(l.chunks, c)
	}
	c := l.chunks[i]
	if c.owner != l.owner {
		own := *c
		own.owner = l.owner
		c, l.chunks[i] = &own, &own
	}
	return c
}

func (l *liveLines) add(row *rankRow, line *hold.Line) {
	slot := l.size
	if n := len(l.free); n > 0 {
		slot, l.free = l.free[n-1], l.free[:n-1]
	} else {
		l.size++
	}
	row.slot = slot
	c := l.at(slot)
	c.lines[slot%liveChunkSize], c.rows[slot%liveChunkSize] = roughlyLine(line, l.epoch), row
}

func (l *liveLines) remove(slot int) {
	c := l.at(slot)
	c.lines[slot%liveChunkSize], c.rows[slot%liveChunkSize] = noLine, nil
	l.free = append(l.free, slot)
}

func (f *frozenLines) seconds(t int64) float64 { return float64(t-f.epoch) * 1e-9 }

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

func (r *rankRow) placeAt(t int64) livePlace {
	f := r.read()
	live, _ := projection.LineAt(&f.line, t)
	return livePlace{live.Score, r}
}

// about are bounds of a score.
func about(s hold.Score) (least, greatest float64) {
	score := roughly(s, 1e-33)
	return score * (1 - 1e-14), score * (1 + 1e-14)
}

// liveTop gives the first rows by live score at t that come after a place, nil
// for the very first, in order.
func (s *rankState) liveTop(t int64, after *livePlace, limit int) []livePlace {
	top := liveTop{at: t, limit: limit}
	below := math.Inf(1)
	if after != nil {
		_, below = about(after.score)
	}
	seconds := s.lines.seconds(t)
	for _, c := range s.lines.chunks {
		for i := range c.lines {
			low, high := c.lines[i].between(seconds)
			if high < top.least || low > below || c.rows[i] == nil {
				continue
			}
			place := c.rows[i].placeAt(t)
			if after == nil || place.compare(*after) > 0 {
				top.take(place)
			}
		}
	}
	top.settle()
	return top.best
}

// liveRank is how many rows come before a row.
func (s *rankState) liveRank(t int64, row *rankRow) (before int) {
	mine := row.placeAt(t)
	least, greatest := about(mine.score)
	seconds := s.lines.seconds(t)
	for _, c := range s.lines.chunks {
		for i := range c.lines {
			// Half of the lines are above, in no order that a processor could foresee;
			// so the branch is on whether it is in doubt, which it hardly ever is.
			low, high := c.lines[i].between(seconds)
			above := 0
			if low > greatest {
				above = 1
			}
			before += above
			// A line beyond the range of a float32 has no bounds; it is in doubt, too.
			if !(max(low-greatest, least-high) > 0) && c.rows[i] != nil && c.rows[i].placeAt(t).compare(mine) < 0 {
				before++
			}
		}
	}
	return before
}

// liveTop keeps the first places of those that it is given.
type liveTop struct {
	at    int64
	limit int
	least float64     // who has less than this is not among the first
	best  []livePlace // the first limit of those before the last settle in order, then others
}

func (p *liveTop) take(place livePlace) {
	p.best = append(p.best, place)
	if len(p.best) >= 2*p.limit+64 {
		p.settle()
	}
}

// settle puts the places into order and keeps the first.
func (p *liveTop) settle() {
	slices.SortFunc(p.best, livePlace.compare)
	if p.limit > 0 && len(p.best) >= p.limit {
		clear(p.best[p.limit:])
		p.best = p.best[:p.limit]
		p.least, _ = about(p.best[p.limit-1].score)
	}
}
