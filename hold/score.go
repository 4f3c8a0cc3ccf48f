package hold

import (
	"fmt"
	"math/bits"

	"holdmetrics/hold/internal/limbs"
)

// scoreDigits is how many decimal digits of a score stand after the point.
const scoreDigits = 33

// Score is an exact sum of weight x time in units of 1e-33 weight-seconds, 384
// bits wide (S7.3): one hold at the extremes takes 245.4 bits as weight x nanoseconds,
// and a multiplier and a boost factor at most 59.8 more. With a bit for the sign of a
// difference this leaves room for 2^77 such holds. Scores compare with ==.
type Score [6]uint64

// Rate is how a score grows, in units of 1e-24 weight: rate x nanoseconds is a
// score.
type Rate [6]uint64

// Held is a length of time in nanoseconds (S7.4), 128 bits wide, since it adds up over
// tokens. Helds compare with ==.
type Held [2]uint64

// Add is s + t.
func (s Score) Add(t Score) Score {
	limbs.Add(s[:], t[:])
	return s
}

// Sub is s - t. Where t is greater it wraps; adding t gives s again.
func (s Score) Sub(t Score) Score {
	limbs.Sub(s[:], t[:])
	return s
}

// Cmp is -1, 0 or 1 where s is less than, equal to or greater than t.
func (s Score) Cmp(t Score) int { return limbs.Cmp(s[:], t[:]) }

// IsZero reports whether the score is 0.
func (s Score) IsZero() bool { return s == Score{} }

// String is the exact decimal in weight-seconds, without exponent or trailing zeros.
func (s Score) String() string { return string(s.AppendText(nil)) }

// AppendText appends what String gives.
func (s Score) AppendText(dst []byte) []byte { return limbs.AppendDecimal(dst, s[:], scoreDigits) }

// Float64 is the double nearest to the score, in weight-seconds.
func (s Score) Float64() float64 { return limbs.Float64(s[:], scoreDigits) }

// Approx is the score in weight-seconds to within a few units in the last place. It is for
// metrics, and costs a hundredth of Float64.
func (s Score) Approx() float64 {
	f := 0.0
	for i := len(s) - 1; i >= 0; i-- {
		f = f*(1<<64) + float64(s[i])
	}
	return f / 1e33
}

// Add is r + q.
func (r Rate) Add(q Rate) Rate {
	limbs.Add(r[:], q[:])
	return r
}

// Sub is r - q. Where q is greater it wraps; adding q gives r again.
func (r Rate) Sub(q Rate) Rate {
	limbs.Sub(r[:], q[:])
	return r
}

// IsZero reports whether the rate is 0.
func (r Rate) IsZero() bool { return r == Rate{} }

// Times is the score that the rate gathers in ns nanoseconds.
func (r Rate) Times(ns uint64) Score {
	var s Score
	limbs.Mul(s[:], r[:], ns)
	return s
}

// String is the exact decimal in weight-seconds a second.
func (r Rate) String() string { return string(limbs.AppendDecimal(nil, r[:], scoreDigits-9)) }

// Float64 is the double nearest to the rate.
func (r Rate) Float64() float64 { return limbs.Float64(r[:], scoreDigits-9) }

// HeldOf is ns nanoseconds.
func HeldOf(ns uint64) Held { return Held{ns} }

// Add is h + g.
func (h Held) Add(g Held) Held {
	limbs.Add(h[:], g[:])
	return h
}

// Sub is h - g. Where g is greater it wraps; adding g gives h again.
func (h Held) Sub(g Held) Held {
	limbs.Sub(h[:], g[:])
	return h
}

// Cmp is -1, 0 or 1 where h is less than, equal to or greater than g.
func (h Held) Cmp(g Held) int { return limbs.Cmp(h[:], g[:]) }

// Seconds is the whole seconds of it; beyond what an int64 takes, the largest int64.
func (h Held) Seconds() int64 {
	if h[1] >= 1e9 {
		return 1<<63 - 1
	}
	q, _ := bits.Div64(h[1], h[0], 1e9)
	return int64(min(q, 1<<63-1))
}

// String is the exact decimal in seconds.
func (h Held) String() string { return string(limbs.AppendDecimal(nil, h[:], 9)) }

// Float64 is the double nearest to it, in seconds.
func (h Held) Float64() float64 { return limbs.Float64(h[:], 9) }

// ParseScore reads what [Score.String] gives: a decimal in weight-seconds with up
// to 33 digits after the point. Its errors wrap [ErrCorrupt].
func ParseScore(s string) (Score, error) {
	var out Score
	err := parseDecimal(out[:], s, scoreDigits)
	return out, err
}

// ParseRate reads what [Rate.String] gives. Its errors wrap [ErrCorrupt].
func ParseRate(s string) (Rate, error) {
	var out Rate
	err := parseDecimal(out[:], s, scoreDigits-9)
	return out, err
}

// ParseHeld reads what [Held.String] gives. Its errors wrap [ErrCorrupt].
func ParseHeld(s string) (Held, error) {
	var out Held
	err := parseDecimal(out[:], s, 9)
	return out, err
}

// parseDecimal sets dst to the number in units of 10^-scale.
func parseDecimal(dst []uint64, s string, scale int) error {
	if !limbs.ParseDecimal(dst, s, scale) {
		return fmt.Errorf("%w: %.100q is not a decimal of this kind", ErrCorrupt, s)
	}
	return nil
}

// scaled returns s x m / 1e6. s was made with a multiplier of 1, so nothing is lost.
func (s Score) scaled(m uint64) Score {
	if m == MultiplierOne {
		return s
	}
	limbs.Div(s[:], MultiplierOne)
	return s.times(m)
}

// times returns s x m.
func (s Score) times(m uint64) Score {
	limbs.Mul(s[:], s[:], m)
	return s
}

// less is s - t, but not below 0.
func (s Score) less(t Score) Score {
	if s.Cmp(t) <= 0 {
		return Score{}
	}
	return s.Sub(t)
}

// Change is the difference of two scores, such as the score of a window (S1.9). Changes compare with ==.
type Change struct {
	By       Score
	Negative bool
}

func changeOf(from, to Score) Change {
	if from.Cmp(to) > 0 {
		return Change{from.Sub(to), true}
	}
	return Change{By: to.Sub(from)}
}

// String is the exact decimal in weight-seconds, with a minus where it is negative.
func (c Change) String() string {
	if c.Negative {
		return "-" + c.By.String()
	}
	return c.By.String()
}

// Net is what a score that came of Sub, and of Add with others like it, is below zero
// too: the sums of scores that are not differences do not reach the highest bit.
func (s Score) Net() Change {
	if s[len(s)-1]>>63 == 0 {
		return Change{By: s}
	}
	return Change{By: Score{}.Sub(s), Negative: true}
}

// Float64 is the double nearest to the change, in weight-seconds.
func (c Change) Float64() float64 {
	if c.Negative {
		return -c.By.Float64()
	}
	return c.By.Float64()
}
