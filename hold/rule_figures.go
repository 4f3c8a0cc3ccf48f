package hold

import (
	"math"
	"sort"

	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// byRuns reports whether the rule measures runs or ages. Otherwise its figures are the
// curve of the policy, cut by the season, and cost no more than those of a plain rule.
func (r *Rule) byRuns() bool { return r.Shortest > 0 || len(r.Boosts) > 0 }

// seasonTo returns the end of the season, or forever if it has none.
func (r *Rule) seasonTo() int64 {
	if r.SeasonTo == 0 {
		return forever
	}
	return r.SeasonTo
}

func (r *Rule) hasSeason() bool { return r.SeasonFrom != 0 || r.SeasonTo != 0 }

// Figures returns the figures of a pair by the rule: the settled amount of all ended
// holds, and the live line at the instant at, with Since = at. The line holds up to and
// including Until, which is later than at. If a run becomes long enough, the score
// jumps: the line ends one nanosecond before, and that nanosecond is a steep line of
// its own.
func (r *Rule) Figures(p *Pair, at int64) Figures {
	if r.byRuns() {
		return r.runFigures(p, at)
	}
	f := p.Figures(at)
	if r.hasSeason() {
		f.Settled = p.settledIn(math.MaxInt64, r.SeasonFrom, r.seasonTo())
		r.cutLine(p, &f.Line)
	}
	if r.Multiplier != MultiplierOne {
		f.Settled.Score = f.Settled.Score.scaled(r.Multiplier)
		f.Line.Base.Score = f.Line.Base.Score.scaled(r.Multiplier)
		f.Line.Rate = Rate(Score(f.Line.Rate).scaled(r.Multiplier))
	}
	return f
}

// cutLine cuts a line of the whole curve by the season.
func (r *Rule) cutLine(p *Pair, l *Line) {
	from, to, at := r.SeasonFrom, r.seasonTo(), l.Since
	next := l.Until
	if next == 0 {
		next = forever
	}
	if at < from || at >= to {
		l.Base = p.liveIn(at, from, to)
		l.Rate, l.HeldRate = Rate{}, 0
	} else if from != 0 {
		l.Base = l.Base.Sub(p.LiveAt(from))
	}
	l.Until = r.until(at, next, p.facts().reach(), forever)
}

// until returns the first instant at which a line that holds at the instant at may
// bend, or 0 if there is none. next is that instant without a season. The limits of
// the season matter only if holds reach that far; a jump always does. In the arguments,
// forever stands for never.
func (r *Rule) until(at, next, reach, jump int64) int64 {
	from, to := r.SeasonFrom, r.seasonTo()
	switch {
	case at < from && reach > from:
		next, jump = from, forever // nothing counts before
	case at < from || at >= to:
		next = forever
	case reach > to:
		next = min(next, to)
	}
	if next = min(next, jump); next == forever {
		return 0
	}
	return next
}

// SettledAt returns the settled amount of a pair as of t by the rule.
func (r *Rule) SettledAt(p *Pair, t int64) Amount {
	switch {
	case r.byRuns():
		return r.runSettled(p, t)
	case r.hasSeason():
		return r.scale(p.settledIn(t, r.SeasonFrom, r.seasonTo()))
	}
	return r.scale(p.SettledAt(t))
}

// Settled returns the settled amount of every ended hold of a pair by the rule.
func (r *Rule) Settled(p *Pair) Amount { return r.SettledAt(p, math.MaxInt64) }

// LiveAt returns the live amount of a pair as of t by the rule.
func (r *Rule) LiveAt(p *Pair, t int64) Amount {
	switch {
	case r.byRuns():
		return r.runLive(p, t)
	case r.hasSeason():
		return r.scale(p.liveIn(t, r.SeasonFrom, r.seasonTo()))
	}
	return r.scale(p.LiveAt(t))
}

func (r *Rule) scale(a Amount) Amount {
	a.Score = a.Score.scaled(r.Multiplier)
	return a
}

// liveIn returns the live amount as of t of the time in [from, to).
func (p *Pair) liveIn(t, from, to int64) Amount {
	if t <= from {
		return Amount{}
	}
	a := p.LiveAt(min(t, to))
	if from > 0 {
		a = a.Sub(p.LiveAt(from))
	}
	return a
}

// settledIn returns the settled amount as of t of the time in [from, to).
func (p *Pair) settledIn(t, from, to int64) Amount {
	if t <= from {
		return Amount{}
	}
	total := p.facts().settled(t, from, to)
	return amountOf(&total)
}

// Series adds up the figures of pairs, each by its rule, as of fixed instants. A pair
// costs what changes of it between the instants, not their number: a figure that goes on
// in a line is added where the line begins and taken away where it ends. Scores wrap
// meanwhile, which does no harm.
type Series struct {
	at     []int64
	begins []seriesLine // at the instants; the last one is behind them
}

// seriesLine is the sum of lines as they would be at time 0, and what is settled.
type seriesLine struct {
	base     Amount
	rate     Rate
	heldRate Held
	settled  Amount
	weight   Rate
}

// SeriesPoint is the sum of pairs as of an instant.
type SeriesPoint struct {
	Live, Settled Amount
	Rate          Rate // of the live score
	Weight        Rate // what is held, by the policies of the pairs, whatever the rules
}

// NewSeries returns a series that has no pairs. The instants must ascend, and must not
// be changed.
func NewSeries(at []int64) *Series {
	return &Series{at: at, begins: make([]seriesLine, len(at)+1)}
}

// Add adds a pair. It calls more before each reading of the pair, with about how many of
// its holds that looks at; if more returns false, it gives up and returns false, and the
// series has no meaning.
func (s *Series) Add(r *Rule, p *Pair, more func(holds int) bool) bool {
	holds := 1
	if r.byRuns() {
		holds = p.Len() // runs are followed from the beginning
	}
	for i := 0; i < len(s.at); {
		if !more(holds) {
			return false
		}
		at := s.at[i]
		line, until := r.Figures(p, at).Line, p.nextBreak(at)
		if line.Until != 0 {
			until = min(until, line.Until)
		}
		l := seriesLine{base: line.Base, rate: line.Rate, heldRate: HeldOf(line.HeldRate), settled: r.SettledAt(p, at), weight: line.Rate}
		if r.byRuns() || r.hasSeason() || r.Multiplier != MultiplierOne {
			l.weight = p.Figures(at).Line.Rate
		}
		var held Held
		limbs.Mul(held[:], l.heldRate[:], uint64(at))
		l.base = l.base.Sub(Amount{l.rate.Times(uint64(at)), held})
		end := i + sort.Search(len(s.at)-i, func(j int) bool { return s.at[i+j] >= until })
		end = max(end, i+1)
		s.begins[i].add(&l)
		s.begins[end].sub(&l)
		i = end
	}
	return true
}

// nextBreak returns the first start or end of a hold after t, or forever.
func (p *Pair) nextBreak(t int64) int64 {
	if p.grown != nil {
		return p.grown.nextBreak(t)
	}
	next := int64(forever)
	p.eachSpan(func(s *interval.Span) bool {
		if s.Start > t {
			next = min(next, s.Start)
		} else if s.End > t {
			next = min(next, s.End)
		}
		return s.Start <= t
	})
	return next
}

func (t *timeline) nextBreak(at int64) int64 {
	defer t.tree.Guard()
	if t.err() != nil {
		return forever
	}
	return interval.NextBreak(&t.tree, at)
}

func (l *seriesLine) add(m *seriesLine) {
	l.base, l.rate, l.heldRate = l.base.Add(m.base), l.rate.Add(m.rate), l.heldRate.Add(m.heldRate)
	l.settled, l.weight = l.settled.Add(m.settled), l.weight.Add(m.weight)
}

func (l *seriesLine) sub(m *seriesLine) {
	l.base, l.rate, l.heldRate = l.base.Sub(m.base), l.rate.Sub(m.rate), l.heldRate.Sub(m.heldRate)
	l.settled, l.weight = l.settled.Sub(m.settled), l.weight.Sub(m.weight)
}

// Points returns the sums, one for each instant.
func (s *Series) Points() []SeriesPoint {
	points := make([]SeriesPoint, len(s.at))
	var l seriesLine
	for i := range points {
		l.add(&s.begins[i])
		var held Held
		limbs.Mul(held[:], l.heldRate[:], uint64(s.at[i]))
		points[i] = SeriesPoint{
			Live:    l.base.Add(Amount{l.rate.Times(uint64(s.at[i])), held}),
			Settled: l.settled, Rate: l.rate, Weight: l.weight,
		}
	}
	return points
}
