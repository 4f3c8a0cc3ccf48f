package hold

import "math"

// byRuns reports whether it matters how long something lasts. Else a rule is the
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
	l.Until = r.until(at, next, p.facts().reach(), forever)
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

// settledIn returns the settled amount as of t of the time in [from, to).
func (p *Pair) settledIn(t, from, to int64) Amount {
	if t <= from {
		return Amount{}
	}
	total := p.facts().settled(t, from, to)
	return amountOf(&total)
}
