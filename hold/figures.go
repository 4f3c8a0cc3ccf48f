package hold

import (
	"encoding/binary"
	"fmt"

	"holdmetrics/hold/internal/coding"
	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

// Amount is a score (S1.4) and the time held beside it (S1.5).
type Amount struct {
	Score Score
	Held  Held
}

// Add is a + b.
func (a Amount) Add(b Amount) Amount {
	return Amount{Score: a.Score.Add(b.Score), Held: a.Held.Add(b.Held)}
}

// Sub is a - b. Where b is greater it wraps; adding b gives a again.
func (a Amount) Sub(b Amount) Amount {
	return Amount{Score: a.Score.Sub(b.Score), Held: a.Held.Sub(b.Held)}
}

// amountOf returns an area with a multiplier of 1.
func amountOf(a *interval.Area) Amount {
	out := Amount{Held: HeldOf(a.Held)}
	limbs.Mul(out.Score[:], a.Sum[:], MultiplierOne)
	return out
}

// Line is a live score between events: at T in [Since, Until) it is
// Base + Rate x (T - Since). Until is the first instant at which the line may
// break; nobody extrapolates past it.
type Line struct {
	Base     Amount
	Rate     Rate
	HeldRate uint64 // pairs that are held: nanoseconds a nanosecond
	Since    int64  // ns
	Until    int64  // ns; 0: no break is known
}

// At is the live amount at t, which must lie in [Since, Until).
func (l *Line) At(t int64) Amount {
	a := l.Base
	if t > l.Since {
		ns := uint64(t - l.Since)
		a.Score = a.Score.Add(l.Rate.Times(ns))
		var held Held
		limbs.Mul(held[:], []uint64{l.HeldRate}, ns)
		a.Held = a.Held.Add(held)
	}
	return a
}

// Holds reports whether the line may be read at t.
func (l *Line) Holds(t int64) bool { return t >= l.Since && (l.Until == 0 || t < l.Until) }

// Plus is the sum of two lines: it begins where the later one does and ends
// where the first of them may break. Where the later one begins only after the
// other may have broken, the sum holds nowhere: Since is not before Until.
func (l Line) Plus(m Line) Line {
	since := max(l.Since, m.Since)
	until := l.Until
	if until == 0 || m.Until != 0 && m.Until < until {
		until = m.Until
	}
	return Line{
		Base:     l.At(since).Add(m.At(since)),
		Rate:     l.Rate.Add(m.Rate),
		HeldRate: l.HeldRate + m.HeldRate,
		Since:    since,
		Until:    until,
	}
}

// Figures are what is kept of a pair, or of a holder as the sum of its pairs (S1.6).
// With the effective holds they are the canonical state (S10.1).
type Figures struct {
	Settled Amount // ended holds only
	Line    Line   // every hold
	Waiting uint64 // facts that found nothing to act on
}

// Plus is the sum of both.
func (f Figures) Plus(g Figures) Figures {
	return Figures{Settled: f.Settled.Add(g.Settled), Line: f.Line.Plus(g.Line), Waiting: f.Waiting + g.Waiting}
}

// Append appends the binary form of the figures. The same figures always give
// the same bytes, and the bytes delimit themselves.
func (f *Figures) Append(dst []byte) []byte {
	dst = f.Settled.append(dst)
	dst = f.Line.Base.append(dst)
	dst = coding.AppendLimbs(dst, f.Line.Rate[:])
	dst = binary.AppendUvarint(dst, f.Line.HeldRate)
	dst = binary.AppendUvarint(dst, uint64(f.Line.Since))
	dst = binary.AppendUvarint(dst, uint64(f.Line.Until))
	return binary.AppendUvarint(dst, f.Waiting)
}

func (a *Amount) append(dst []byte) []byte {
	return coding.AppendLimbs(coding.AppendLimbs(dst, a.Score[:]), a.Held[:])
}

// ParseFigures reads what Append wrote and gives the bytes behind it. Its
// errors wrap [ErrCorrupt].
func ParseFigures(b []byte) (Figures, []byte, error) {
	r := coding.Reader{Rest: b}
	var f Figures
	r.Limbs(f.Settled.Score[:])
	r.Limbs(f.Settled.Held[:])
	r.Limbs(f.Line.Base.Score[:])
	r.Limbs(f.Line.Base.Held[:])
	r.Limbs(f.Line.Rate[:])
	f.Line.HeldRate = r.Uvarint()
	// Since is the time of a reading, which a wrong clock may put past the horizon.
	since, until := r.Uvarint(), r.Uvarint()
	f.Line.Since, f.Line.Until = int64(since), int64(until)
	f.Waiting = r.Uvarint()
	if r.Bad || f.Line.Since < 0 || f.Line.Until < 0 {
		return Figures{}, nil, fmt.Errorf("%w: figures", ErrCorrupt)
	}
	return f, r.Rest, nil
}

// Question is which figures of pairs are asked for. Times are in nanoseconds.
type Question struct {
	At        int64 // of the live amount and of the rates
	SettledAt int64 // of the settled amount; [MaxTime]: every ended hold
	From      int64 // with Window: the beginning of the window that ends at At
	Window    bool
}

// Answer is the figures of a pair, or of several as their sum.
type Answer struct {
	Live, Settled    Amount
	LiveFrom, Before Amount // of a window: the live and the settled amount at its beginning
	Weight, Rate     Rate   // without a window: by the policy alone, and by the whole rule
}

// Add is a + b.
func (a *Answer) Add(b *Answer) {
	a.Live, a.Settled = a.Live.Add(b.Live), a.Settled.Add(b.Settled)
	a.LiveFrom, a.Before = a.LiveFrom.Add(b.LiveFrom), a.Before.Add(b.Before)
	a.Weight, a.Rate = a.Weight.Add(b.Weight), a.Rate.Add(b.Rate)
}

// Answer returns the figures of a pair by the rule.
func (r *Rule) Answer(p *Pair, q *Question) Answer {
	if q.Window {
		return Answer{
			Live: r.LiveAt(p, q.At), Settled: r.SettledAt(p, q.SettledAt),
			LiveFrom: r.LiveAt(p, q.From), Before: r.SettledAt(p, q.From),
		}
	}
	f := r.Figures(p, q.At)
	a := Answer{Live: f.Line.Base, Settled: f.Settled, Rate: f.Line.Rate, Weight: f.Line.Rate}
	if q.SettledAt != MaxTime {
		a.Settled = r.SettledAt(p, q.SettledAt)
	}
	if !r.isPlain() {
		plain := Rule{Policy: p.Policy(), Multiplier: MultiplierOne}
		a.Weight = plain.Figures(p, q.At).Line.Rate
	}
	return a
}

// isPlain reports whether the rule counts weights as they are.
func (r *Rule) isPlain() bool { return r.Multiplier == MultiplierOne && !r.hasSeason() && !r.byRuns() }
