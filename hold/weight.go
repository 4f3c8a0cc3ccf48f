package hold

import (
	"math"
	"strconv"

	"github.com/holiman/uint256"

	"holdmetrics/hold/internal/interval"
	"holdmetrics/hold/internal/limbs"
)

const (
	weightIntDigits  = 37
	weightFracDigits = 18
)

// Weight is a decimal with up to 37 digits before the point and 18 after it,
// as an integer of 1e-18 units (S7.2). The zero value is 0. Weights compare with ==.
type Weight uint256.Int

// One is the weight of a hold that was given none.
var One = Weight{1_000_000_000_000_000_000}

// maxWeight is the first integer of units that is too large: 10^(37+18).
var maxWeight = func() Weight {
	ten := uint256.NewInt(10)
	return Weight(*new(uint256.Int).Exp(ten, uint256.NewInt(weightIntDigits+weightFracDigits)))
}()

// ParseWeight reads the exact form of a weight: 1 to 37 digits, then optionally
// a point and 1 to 18 digits, and nothing else (S6.9). Its errors wrap [ErrWeight].
func ParseWeight(s string) (Weight, error) {
	intPart, frac := s, ""
	for i := 0; i < len(s); i++ {
		if s[i] == '.' {
			intPart, frac = s[:i], s[i+1:]
			if len(frac) == 0 {
				return Weight{}, weightError("no digits after the point")
			}
			break
		}
	}
	switch {
	case len(intPart) == 0:
		return Weight{}, weightError("no digits before the point")
	case len(intPart) > weightIntDigits:
		return Weight{}, weightError("more than 37 digits before the point")
	case len(frac) > weightFracDigits:
		return Weight{}, weightError("more than 18 digits after the point")
	}
	var w uint256.Int
	if !appendDigits(&w, intPart) || !appendDigits(&w, frac) {
		return Weight{}, weightError("something other than digits and one point")
	}
	for i := len(frac); i < weightFracDigits; i++ {
		w.Mul(&w, uint256.NewInt(10))
	}
	return Weight(w), nil
}

// appendDigits sets w to w x 10^len(digits) + digits, in steps of at most 19 digits.
func appendDigits(w *uint256.Int, digits string) bool {
	for len(digits) > 0 {
		n := min(len(digits), 19)
		var v, scale uint64 = 0, 1
		for i := range n {
			d := digits[i] - '0'
			if d > 9 {
				return false
			}
			v, scale = v*10+uint64(d), scale*10
		}
		w.Mul(w, uint256.NewInt(scale))
		w.Add(w, uint256.NewInt(v))
		digits = digits[n:]
	}
	return true
}

// WeightFromFloat is the weight that a double means: its shortest decimal form
// that reads back as the same double, rounded half-even to 18 digits after the
// point. Its errors wrap [ErrWeight]: negative, not a number, infinite, or 10^37
// and more.
func WeightFromFloat(f float64) (Weight, error) {
	switch {
	case math.IsNaN(f):
		return Weight{}, weightError("not a number")
	case math.IsInf(f, 0):
		return Weight{}, weightError("infinite")
	case f < 0:
		return Weight{}, weightError("negative")
	case f == 0:
		return Weight{}, nil
	case f < 1<<53 && f == math.Trunc(f):
		// Most weights are small whole numbers, whose shortest form is themselves.
		var w uint256.Int
		w.Mul(uint256.NewInt(uint64(f)), (*uint256.Int)(&One))
		return Weight(w), nil
	}
	// d.ddde±xx: the digits and the exponent, without building a long fixed form.
	var buf [32]byte
	text := strconv.AppendFloat(buf[:0], f, 'e', -1, 64)
	var digits [32]byte
	n, i := 0, 0
	for ; text[i] != 'e'; i++ {
		if text[i] != '.' {
			digits[n] = text[i]
			n++
		}
	}
	exp, err := strconv.Atoi(string(text[i+1:]))
	if err != nil {
		return Weight{}, weightError("not a decimal")
	}
	// The value in units is digits x 10^shift.
	shift := exp - (n - 1) + weightFracDigits
	if exp >= weightIntDigits {
		return Weight{}, weightError("10^37 or more")
	}
	var w uint256.Int
	if shift >= 0 {
		appendDigits(&w, string(digits[:n]))
		for range shift {
			w.Mul(&w, uint256.NewInt(10))
		}
		return Weight(w), nil
	}
	keep := n + shift // digits that stay before the rounding place
	if keep < 0 {
		return Weight{}, nil
	}
	appendDigits(&w, string(digits[:keep]))
	rest := digits[keep:n]
	if roundsUp(rest, keep > 0 && (digits[keep-1]-'0')%2 == 1) {
		w.AddUint64(&w, 1)
	}
	return Weight(w), nil
}

// roundsUp reports whether the digits after the rounding place round up, half to even.
func roundsUp(rest []byte, odd bool) bool {
	if len(rest) == 0 || rest[0] < '5' {
		return false
	}
	if rest[0] > '5' {
		return true
	}
	for _, d := range rest[1:] {
		if d != '0' {
			return true
		}
	}
	return odd
}

// WeightFromUnits is the weight of that many units of 1e-18. It errs with
// [ErrWeight] where there are 10^55 of them or more.
func WeightFromUnits(units *uint256.Int) (Weight, error) {
	w := Weight(*units)
	if w.Cmp(maxWeight) >= 0 {
		return Weight{}, weightError("more than 37 digits before the point")
	}
	return w, nil
}

// Units is the weight as a number of 1e-18 units.
func (w Weight) Units() *uint256.Int { return (*uint256.Int)(&w) }

// IsZero reports whether the weight is 0.
func (w Weight) IsZero() bool { return w == Weight{} }

// Cmp is -1, 0 or 1 where w is less than, equal to or greater than v.
func (w Weight) Cmp(v Weight) int {
	return (*interval.Weight)(&w).Cmp((*interval.Weight)(&v))
}

// String is the exact decimal, without exponent or trailing zeros.
func (w Weight) String() string { return string(limbs.AppendDecimal(nil, w[:], weightFracDigits)) }

// Float64 is the double nearest to the weight.
func (w Weight) Float64() float64 { return limbs.Float64(w[:], weightFracDigits) }
