package hold

import "math"

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
