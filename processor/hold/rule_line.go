package hold

// runLive is LiveAt where it matters how long something lasts.
func (r *Rule) runLive(p *Pair, t int64) Amount {
	live := newTally(r)
	p.eachSpan(func(s *span) bool {
		if s.start >= t {
			return false
		}
		live.add(s.start, min(s.end, t), &s.weight)
		return true
	})
	return live.amount()
}

// runSettled is SettledAt where it matters how long something lasts.
func (r *Rule) runSettled(p *Pair, t int64) Amount {
	settled := newTally(r)
	p.eachSpan(func(s *span) bool {
		if s.start >= t {
			return false
		}
		if s.end != forever && s.end <= t {
			settled.add(s.start, s.end, &s.weight)
		}
		return true
	})
	return settled.amount()
}

// runFigures is Figures where it matters how long something lasts.
func (r *Rule) runFigures(p *Pair, at int64) Figures {
	settled, live, now := newTally(r), newTally(r), moment{r: r, at: at, next: forever}
	p.eachSpan(func(s *span) bool {
		if s.end != forever {
			settled.add(s.start, s.end, &s.weight)
		}
		if s.start < at {
			live.add(s.start, min(s.end, at), &s.weight)
		}
		now.note(s)
		return true
	})
	f := Figures{
		Settled: settled.amount(),
		Line:    Line{Base: live.amount(), Since: at},
		Waiting: uint64(p.Waiting()),
	}
	jump := now.jump()
	switch {
	case jump == later(at, 1):
		// The line between two instants that follow one another is what lies
		// between their figures. (A holder's held rate is the sum of those of its
		// pairs; it would take 2^64 ns of runs that become long enough in one and the
		// same nanosecond for it to wrap.)
		over := r.runLive(p, jump).Sub(f.Line.Base)
		f.Line.Rate, f.Line.HeldRate, f.Line.Until = Rate(over.Score), over.Held[0], jump
		return f
	case jump != forever:
		jump--
	}
	f.Line.Rate, f.Line.HeldRate = now.rate()
	f.Line.Until = r.until(at, now.next, now.reach, jump)
	return f
}

// moment is what stands at the instant at, and what comes next.
type moment struct {
	r  *Rule
	at int64

	start, end int64 // of the run that covers the instant, once passed or the walk is over
	passed     bool

	level Rate  // of pieces
	reach int64 // the latest that a hold reaches
	next  int64 // start, end or step of a boost after at
}

func (m *moment) note(s *span) {
	m.reach = max(m.reach, s.end)
	switch {
	case m.passed:
	case s.start <= m.end:
		m.end = max(m.end, s.end)
	case m.end > m.at:
		m.passed = true // at lies in that run, or before it
	default:
		m.start, m.end = s.start, s.end
	}
	switch {
	case s.start > m.at:
		m.next = min(m.next, s.start)
	case s.end > m.at:
		m.next = min(m.next, s.end)
		m.cover(s)
	}
}

// cover takes in a hold that covers the instant.
func (m *moment) cover(s *span) {
	var rate Rate
	copy(rate[:], s.weight[:])
	if m.r.boostsHolds() {
		step, after := m.r.stepAt(m.at - s.start)
		mul(rate[:], s.weight[:], m.r.factor(step))
		m.next = min(m.next, later(s.start, after))
	}
	switch {
	case m.r.Policy == Sum:
		m.level = m.level.Add(rate)
	case cmp(m.level[:], rate[:]) < 0:
		m.level = rate
	}
}

// held says whether a run covers the instant.
func (m *moment) held() bool { return m.start <= m.at && m.at < m.end }

// jump is when the run that covers the instant becomes long enough; forever where
// it is already, or will not be, or that changes nothing as far as is known.
func (m *moment) jump() int64 {
	if !m.held() || m.at-m.start >= m.r.Shortest {
		return forever
	}
	at := later(m.start, m.r.Shortest)
	if at > m.end || at <= m.r.SeasonFrom || m.start >= m.r.seasonTo() {
		return forever
	}
	return at
}

// rate is how the live figures grow at the instant; what breaks that by a boost of
// the run is noted as the next break.
func (m *moment) rate() (Rate, uint64) {
	if !m.held() {
		return Rate{}, 0
	}
	if !m.r.boostsHolds() {
		_, after := m.r.stepAt(m.at - m.start)
		m.next = min(m.next, later(m.start, after))
	}
	if m.at < m.r.SeasonFrom || m.at >= m.r.seasonTo() || m.at-m.start < m.r.Shortest {
		return Rate{}, 0
	}
	return Rate(m.r.levelScore(&m.level, m.start, m.at, later(m.at, 1))), 1
}
