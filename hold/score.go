package hold

import (
	"math/bits"
	"strconv"
)

// scoreDigits is how many decimal digits of a score stand after the point.
const scoreDigits = 33

// Score is an exact sum of weight x time in units of 1e-33 weight-seconds, 384
// bits wide: one hold at the extremes takes 245.4 bits as weight x nanoseconds,
// which leaves room for 2^64 of them and a multiplier below 10^6 of 6 digits
// after the point. Scores compare with ==.
type Score [6]uint64

// Rate is how a score grows, in units of 1e-24 weight: rate x nanoseconds is a
// score.
type Rate [6]uint64

// Held is a length of time in nanoseconds, 128 bits wide, since it adds up over
// tokens. Helds compare with ==.
type Held [2]uint64

// Add is s + t.
func (s Score) Add(t Score) Score {
	add(s[:], t[:])
	return s
}

// Sub is s - t. Where t is greater it wraps; adding t gives s again.
func (s Score) Sub(t Score) Score {
	sub(s[:], t[:])
	return s
}

// Cmp is -1, 0 or 1 where s is less than, equal to or greater than t.
func (s Score) Cmp(t Score) int { return cmp(s[:], t[:]) }

// IsZero says whether the score is 0.
func (s Score) IsZero() bool { return s == Score{} }

// String is the exact decimal in weight-seconds, without exponent or trailing zeros.
func (s Score) String() string { return string(s.AppendText(nil)) }

// AppendText appends what String gives.
func (s Score) AppendText(dst []byte) []byte { return appendDecimal(dst, s[:], scoreDigits) }

// Float64 is the double nearest to the score, in weight-seconds.
func (s Score) Float64() float64 { return decimalFloat(s[:], scoreDigits) }

// Add is r + q.
func (r Rate) Add(q Rate) Rate {
	add(r[:], q[:])
	return r
}

// Sub is r - q. Where q is greater it wraps; adding q gives r again.
func (r Rate) Sub(q Rate) Rate {
	sub(r[:], q[:])
	return r
}

// IsZero says whether the rate is 0.
func (r Rate) IsZero() bool { return r == Rate{} }

// Times is the score that the rate gathers in ns nanoseconds.
func (r Rate) Times(ns uint64) Score {
	var s Score
	mul(s[:], r[:], ns)
	return s
}

// String is the exact decimal in weight-seconds a second.
func (r Rate) String() string { return string(appendDecimal(nil, r[:], scoreDigits-9)) }

// Float64 is the double nearest to the rate.
func (r Rate) Float64() float64 { return decimalFloat(r[:], scoreDigits-9) }

// HeldOf is ns nanoseconds.
func HeldOf(ns uint64) Held { return Held{ns} }

// Add is h + g.
func (h Held) Add(g Held) Held {
	add(h[:], g[:])
	return h
}

// Sub is h - g. Where g is greater it wraps; adding g gives h again.
func (h Held) Sub(g Held) Held {
	sub(h[:], g[:])
	return h
}

// Cmp is -1, 0 or 1 where h is less than, equal to or greater than g.
func (h Held) Cmp(g Held) int { return cmp(h[:], g[:]) }

// Seconds is the whole seconds of it; beyond what an int64 takes, the largest int64.
func (h Held) Seconds() int64 {
	if h[1] >= 1e9 {
		return 1<<63 - 1
	}
	q, _ := bits.Div64(h[1], h[0], 1e9)
	return int64(min(q, 1<<63-1))
}

// String is the exact decimal in seconds.
func (h Held) String() string { return string(appendDecimal(nil, h[:], 9)) }

// Float64 is the double nearest to it, in seconds.
func (h Held) Float64() float64 { return decimalFloat(h[:], 9) }

// add sets a to a + b; limbs are little endian, both of one length.
func add(a, b []uint64) {
	var carry uint64
	for i := range a {
		a[i], carry = bits.Add64(a[i], b[i], carry)
	}
}

// sub sets a to a - b, modulo its width.
func sub(a, b []uint64) {
	var borrow uint64
	for i := range a {
		a[i], borrow = bits.Sub64(a[i], b[i], borrow)
	}
}

// mul sets dst to a x m, modulo its width.
func mul(dst, a []uint64, m uint64) {
	var carry uint64
	for i := range dst {
		var x uint64
		if i < len(a) {
			x = a[i]
		}
		hi, lo := bits.Mul64(x, m)
		var c uint64
		dst[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
}

func cmp(a, b []uint64) int {
	for i := len(a) - 1; i >= 0; i-- {
		if a[i] != b[i] {
			if a[i] < b[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// appendDecimal appends limbs x 10^-scale in plain notation without trailing zeros.
func appendDecimal(dst []byte, limbs []uint64, scale int) []byte {
	// 384 bits are at most 116 digits, and are taken 19 at a time.
	var digits [7 * 19]byte
	n := len(digits)
	var work [6]uint64
	rest := work[:copy(work[:], limbs)]
	for len(rest) > 0 {
		if rest[len(rest)-1] == 0 {
			rest = rest[:len(rest)-1]
			continue
		}
		var rem uint64
		for i := len(rest) - 1; i >= 0; i-- {
			rest[i], rem = bits.Div64(rem, rest[i], 1e19)
		}
		for range 19 {
			n--
			digits[n] = byte('0' + rem%10)
			rem /= 10
		}
	}
	for n < len(digits) && digits[n] == '0' {
		n++
	}
	for len(digits)-n <= scale {
		n--
		digits[n] = '0'
	}
	point, end := len(digits)-scale, len(digits)
	for end > point && digits[end-1] == '0' {
		end--
	}
	dst = append(dst, digits[n:point]...)
	if end > point {
		dst = append(dst, '.')
		dst = append(dst, digits[point:end]...)
	}
	return dst
}

// decimalFloat is the double nearest to limbs x 10^-scale: the standard
// library's reading of a decimal is correctly rounded, so no arithmetic on
// floats is needed.
func decimalFloat(limbs []uint64, scale int) float64 {
	f, _ := strconv.ParseFloat(string(appendDecimal(nil, limbs, scale)), 64)
	return f
}
