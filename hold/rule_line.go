package hold

import (
	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// runLive is LiveAt for a rule that measures runs or ages.
func (r *Rule) runLive(p *Pair, t int64) Amount {
	live := newTally(r)
	p.eachSpan(func(s *interval.Span) bool {
		if s.Start >= t {
			return false
		}
		live.add(s.Start, min(s.End, t), &s.Weight)
		return true
	})
	return live.amount()
}

// runSettled is SettledAt for a rule that measures runs or ages.
func (r *Rule) runSettled(p *Pair, t int64) Amount {
	settled := newTally(r)
	p.eachSpan(func(s *interval.Span) bool {
		if s.Start >= t {
			return false
		}
		if s.End != forever && s.End <= t {
			settled.add(s.Start, s.End, &s.Weight)
		}
		return true
	})
	return settled.amount()
}

// runFigures is Figures for a rule that measures runs or ages.
func (r *Rule) runFigures(p *Pair, at int64) Figures {
	settled, live, now := newTally(r), newTally(r), moment{r: r, at: at, next: forever, jump: forever}
	p.eachSpan(func(s *interval.Span) bool {
		if s.End != forever {
			settled.add(s.Start, s.End, &s.Weight)
		}
		if s.Start < at {
			live.add(s.Start, min(s.End, at), &s.Weight)
		}
		now.note(s)
		return true
	})
	f := Figures{
		Settled: settled.amount(),
		Line:    Line{Base: live.amount(), Since: at},
		Waiting: uint64(p.Waiting()),
	}
	now.endRun()
	switch {
	case now.jump == later(at, 1):
		// Between two consecutive instants, the rate is the difference of their
		// figures. A holder's held rate is the sum over its pairs. It would wrap only
		// if runs of 2^64 ns together became long enough in the same nanosecond.
		over := r.runLive(p, now.jump).Sub(f.Line.Base)
		f.Line.Rate, f.Line.HeldRate, f.Line.Until = Rate(over.Score), over.Held[0], now.jump
		return f
	case now.jump != forever:
		now.jump--
	}
	f.Line.Rate, f.Line.HeldRate = now.rate()
	f.Line.Until = r.until(at, now.next, now.reach, now.jump)
	return f
}

// moment is the state at the instant at, and the next instant that changes it. It
// visits runs in order, up to the first run that has yet to become long enough.
type moment struct {
	r  *Rule
	at int64

	start, end int64 // of the current run
	held       int64 // start of the run that covers the instant; 0: none

	level Rate  // of pieces
	reach int64 // the latest end of a hold
	next  int64 // the first start, end or boost step after at
	jump  int64 // when the next known run becomes long enough; forever: none
}

func (m *moment) note(s *interval.Span) {
	m.reach = max(m.reach, s.End)
	if s.Start > m.end {
		m.endRun()
		m.start = s.Start
	}
	m.end = max(m.end, s.End)
	switch {
	case s.Start > m.at:
		m.next = min(m.next, s.Start)
	case s.End > m.at:
		m.next = min(m.next, s.End)
		m.cover(s)
	}
}

// endRun takes in the current run, which is complete.
func (m *moment) endRun() {
	if m.start <= m.at && m.at < m.end {
		m.held = m.start
	}
	at := later(m.start, m.r.Shortest)
	if m.r.Shortest > 0 && m.jump == forever && at > m.at && at <= m.end && at > m.r.SeasonFrom && m.start < m.r.seasonTo() {
		m.jump = at
	}
}

// cover takes in a hold that covers the instant.
func (m *moment) cover(s *interval.Span) {
	var rate Rate
	copy(rate[:], s.Weight[:])
	if m.r.boostsHolds() {
		step, after := m.r.stepAt(m.at - s.Start)
		limbs.Mul(rate[:], s.Weight[:], m.r.factor(step))
		m.next = min(m.next, later(s.Start, after))
	}
	switch {
	case m.r.Policy == Sum:
		m.level = m.level.Add(rate)
	case limbs.Cmp(m.level[:], rate[:]) < 0:
		m.level = rate
	}
}

// rate returns the rates of the live figures at the instant. It sets next to the first
// instant at which they may change, apart from a jump.
func (m *moment) rate() (Rate, uint64) {
	if m.r.Shortest > 0 && (m.held == 0 || m.at-m.held < m.r.Shortest) {
		// Only a jump changes what does not count, not the end of a season.
		m.next, m.reach = forever, min(m.reach, m.r.seasonTo())
		return Rate{}, 0
	}
	if m.held == 0 {
		return Rate{}, 0
	}
	if !m.r.boostsHolds() {
		_, after := m.r.stepAt(m.at - m.held)
		m.next = min(m.next, later(m.held, after))
	}
	if m.at < m.r.SeasonFrom || m.at >= m.r.seasonTo() {
		return Rate{}, 0
	}
	return Rate(m.r.levelScore(&m.level, m.held, m.at, later(m.at, 1))), 1
}

// later returns t + ns, or forever if that overflows.
func later(t, ns int64) int64 {
	if ns > forever-t {
		return forever
	}
	return t + ns
}
