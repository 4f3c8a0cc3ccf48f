package hold

import "math"

// byRuns says whether it matters how long something lasts. Else a rule is the
// curve of the policy, cut by the season, and costs no more than a plain one.
func (r *Rule) byRuns() bool { return r.Shortest > 0 || len(r.Boosts) > 0 }

// seasonTo is the end of the season as it compares.
func (r *Rule) seasonTo() int64 {
	if r.SeasonTo == 0 {
		return forever
	}
	return r.SeasonTo
}

func (r *Rule) hasSeason() bool { return r.SeasonFrom != 0 || r.SeasonTo != 0 }

// Figures are those of a pair by the rule: settled, of all ended holds, and the
// live line that holds at the instant at, with Since = at. It is true up to Until,
// that included, and Until is always later than at: where the score jumps, as a
// run becomes long enough, the line ends a nanosecond before, and that nanosecond
// is a steep line of its own.
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
	l.Until = r.until(at, next, p.reach(), forever)
}

// until is where a line that holds at the instant at may break: at its next break
// without a season, which ends or begins only where holds reach that far, or in
// any case at a jump. forever stands for never, but 0 is given.
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

// SettledAt is the settled amount of a pair as of t by the rule.
func (r *Rule) SettledAt(p *Pair, t int64) Amount {
	switch {
	case r.byRuns():
		return r.runSettled(p, t)
	case r.hasSeason():
		return r.scale(p.settledIn(t, r.SeasonFrom, r.seasonTo()))
	}
	return r.scale(p.SettledAt(t))
}

// Settled is SettledAt of the end of time: every ended hold.
func (r *Rule) Settled(p *Pair) Amount { return r.SettledAt(p, math.MaxInt64) }

// LiveAt is the live amount of a pair as of t by the rule.
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

// liveIn is the live amount as of t of what lies in [from, to).
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

// settledIn is the settled amount as of t of what lies in [from, to).
func (p *Pair) settledIn(t, from, to int64) Amount {
	if t <= from {
		return Amount{}
	}
	if p.timeline == nil {
		f := p.fold()
		total := p.settledRowsIn(&f, t, from, to)
		return total.amount()
	}
	defer p.guard()
	if p.failed() {
		return Amount{}
	}
	// As SettledAt has it: up to where the first hold begins that does not count the
	// curve is the kept one.
	kept := int64(forever)
	if p.root.lastEnd[endedHolds] > t {
		kept = min(t, p.root.firstAcross(t))
	}
	total := p.beforeAll(endedHolds, min(to, kept))
	less := p.beforeAll(endedHolds, min(from, kept))
	total.sub(&less)
	if a, b := max(from, kept), min(to, t); a < b {
		rest, _ := p.sweepArea(endedHolds, a, b, t, math.MaxInt)
		total.add(&rest)
	}
	return total.amount()
}

// beforeAll is before, for any t.
func (p *Pair) beforeAll(f family, t int64) area {
	if t <= 0 {
		return area{}
	}
	return p.before(f, min(t, MaxTime))
}

// settledRowsIn is settledRows of what lies in [from, to).
func (p *Pair) settledRowsIn(f *fold, t, from, to int64) area {
	var buf [smallMax]span
	spans, last := buf[:0], int64(0)
	p.eachRowSpan(f, func(s *span) bool {
		if a, b := max(s.start, from), min(s.end, to); s.end <= t && s.end != forever && a < b {
			spans = append(spans, span{start: a, end: b, weight: s.weight})
			last = max(last, b)
		}
		return true
	})
	var total area
	if len(spans) == 0 {
		return total
	}
	sweep(p.policy, spans, spans[0].start, last, func(from, to int64, level Weight, covered bool) {
		if covered {
			total.addLevel(&level, uint64(to-from), false)
			total.held += uint64(to - from)
		}
	})
	return total
}

// reach is the latest instant that a hold reaches, forever where one is open.
func (p *Pair) reach() int64 {
	if p.timeline != nil {
		return max(p.root.lastEnd[allHolds], p.root.lastStart)
	}
	f, reach := p.fold(), int64(0)
	p.eachRowSpan(&f, func(s *span) bool {
		reach = max(reach, s.end)
		return true
	})
	return reach
}
