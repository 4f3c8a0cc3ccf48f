package processor

import (
	"math/bits"

	"holdmetrics/hold"
)

// sum is the figures of a holder, kept so that one pair can be taken out and put
// back without looking at the others, however many there are.
//
// Settled figures just add up. Lines do not, because each begins at another
// instant: pair by pair, base + rate x (t - since). So a line is kept as what it
// would be at time zero, base - rate x since, and its rate; those add up, and
// the sum at t is origin + rate x t. The origin of a line is usually negative.
// That is no trouble: scores wrap modulo 2^384 (held times modulo 2^128), where
// addition and subtraction are exact, and what comes out at a t where the lines
// hold is the true sum, which fits.
//
// For the same reason it does not matter at which instant of a line's piece the
// line was taken: the origin and the rate are those of the piece.
type sum struct {
	settled  hold.Amount
	origin   hold.Amount // of all lines, at time zero
	rate     hold.Rate
	heldRate uint64
	waiting  uint64
}

func (s *sum) add(f *hold.Figures) {
	s.settled = s.settled.Add(f.Settled)
	s.origin = s.origin.Add(originOf(&f.Line))
	s.rate = s.rate.Add(f.Line.Rate)
	s.heldRate += f.Line.HeldRate
	s.waiting += f.Waiting
}

func (s *sum) sub(f *hold.Figures) {
	s.settled = s.settled.Sub(f.Settled)
	s.origin = s.origin.Sub(originOf(&f.Line))
	s.rate = s.rate.Sub(f.Line.Rate)
	s.heldRate -= f.Line.HeldRate
	s.waiting -= f.Waiting
}

// at is the sum with its line beginning at t, where every line that was added
// must hold. until is the first break of any of them, 0 where none is known.
func (s *sum) at(t, until int64) hold.Figures {
	return hold.Figures{
		Settled: s.settled,
		Line: hold.Line{
			Base:     s.origin.Add(growth(s.rate, s.heldRate, t)),
			Rate:     s.rate,
			HeldRate: s.heldRate,
			Since:    t,
			Until:    until,
		},
		Waiting: s.waiting,
	}
}

// originOf is the line at time zero, as if it had always been one.
func originOf(l *hold.Line) hold.Amount {
	if l.HeldRate == 0 && l.Rate.IsZero() {
		return l.Base
	}
	return l.Base.Sub(growth(l.Rate, l.HeldRate, l.Since))
}

// growth is what the rates gather in t nanoseconds, modulo the width.
func growth(rate hold.Rate, heldRate uint64, t int64) hold.Amount {
	hi, lo := bits.Mul64(heldRate, uint64(t))
	return hold.Amount{Score: rate.Times(uint64(t)), Held: hold.Held{lo, hi}}
}
