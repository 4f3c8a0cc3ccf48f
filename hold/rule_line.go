package hold

import (
	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// runLive is LiveAt where it matters how long something lasts.
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

// runSettled is SettledAt where it matters how long something lasts.
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

// runFigures is Figures where it matters how long something lasts.
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
		// The line between two instants that follow one another is what lies
		// between their figures. (A holder's held rate is the sum of those of its
		// pairs; it would take 2^64 ns of runs that become long enough in one and the
		// same nanosecond for it to wrap.)
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

// moment is what stands at the instant at, and what comes next. Runs are looked at
// one after the other, up to the first that is still to become long enough.
type moment struct {
	r  *Rule
	at int64

	start, end int64 // of the run that is looked at
	held       int64 // start of the run that covers the instant; 0: none does

	level Rate  // of pieces
	reach int64 // the latest that a hold reaches
	next  int64 // start, end or step of a boost after at
	jump  int64 // when the next run becomes long enough, as far as is known; forever: none
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

// endRun takes in a run that is whole now.
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

// rate is how the live figures grow at the instant. It sets next to where that
// may break, a jump aside.
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

// later is t + ns, forever where that is beyond any time.
func later(t, ns int64) int64 {
	if ns > forever-t {
		return forever
	}
	return t + ns
}
