package hold

import (
	"fmt"
	"math/bits"
	"strings"
)

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

// parseDecimal sets limbs to the number in units of 10^-scale.
func parseDecimal(limbs []uint64, s string, scale int) error {
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || point && fraction == "" || len(fraction) > scale {
		return notADecimal(s)
	}
	zeros := scale - len(fraction)
	for _, digits := range []string{whole, fraction} {
		for len(digits) > 0 {
			n := min(len(digits), 19)
			var v uint64
			for i := range n {
				d := digits[i] - '0'
				if d > 9 {
					return notADecimal(s)
				}
				v = v*10 + uint64(d)
			}
			if !shiftDecimal(limbs, n, v) {
				return notADecimal(s)
			}
			digits = digits[n:]
		}
	}
	for ; zeros > 0; zeros -= min(zeros, 19) {
		if !shiftDecimal(limbs, min(zeros, 19), 0) {
			return notADecimal(s)
		}
	}
	return nil
}

// shiftDecimal sets limbs to limbs x 10^digits + v; false where that does not fit.
func shiftDecimal(limbs []uint64, digits int, v uint64) bool {
	scale := uint64(1)
	for range digits {
		scale *= 10
	}
	for i := range limbs {
		hi, lo := bits.Mul64(limbs[i], scale)
		var carry uint64
		limbs[i], carry = bits.Add64(lo, v, 0)
		v = hi + carry
	}
	return v == 0
}

func notADecimal(s string) error {
	return fmt.Errorf("%w: %.100q is not a decimal of this kind", ErrCorrupt, s)
}
