package limbs

import (
	"math/bits"
	"strconv"
	"strings"
)

// AppendDecimal appends a x 10^-scale in plain notation, without trailing zeros
// after the point. a has at most 384 bits.
func AppendDecimal(dst []byte, a []uint64, scale int) []byte {
	// 384 bits are at most 116 digits, and are taken 19 at a time.
	var digits [7 * 19]byte
	n := len(digits)
	var work [6]uint64
	rest := work[:copy(work[:], a)]
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

// Float64 returns the double nearest to a x 10^-scale. The standard library reads
// decimals correctly rounded, so this needs no arithmetic on floats.
func Float64(a []uint64, scale int) float64 {
	f, _ := strconv.ParseFloat(string(AppendDecimal(nil, a, scale)), 64)
	return f
}

// ParseDecimal sets a to the decimal s in units of 10^-scale. It reports whether s
// is one: digits, then optionally a point and up to scale digits, within the width
// of a.
func ParseDecimal(a []uint64, s string, scale int) bool {
	whole, fraction, point := strings.Cut(s, ".")
	if whole == "" || point && fraction == "" || len(fraction) > scale {
		return false
	}
	zeros := scale - len(fraction)
	for _, digits := range []string{whole, fraction} {
		for len(digits) > 0 {
			n := min(len(digits), 19)
			var v uint64
			for i := range n {
				d := digits[i] - '0'
				if d > 9 {
					return false
				}
				v = v*10 + uint64(d)
			}
			if !shiftDecimal(a, n, v) {
				return false
			}
			digits = digits[n:]
		}
	}
	for ; zeros > 0; zeros -= min(zeros, 19) {
		if !shiftDecimal(a, min(zeros, 19), 0) {
			return false
		}
	}
	return true
}

// shiftDecimal sets a to a x 10^digits + v and reports whether that fits.
func shiftDecimal(a []uint64, digits int, v uint64) bool {
	scale := uint64(1)
	for range digits {
		scale *= 10
	}
	for i := range a {
		hi, lo := bits.Mul64(a[i], scale)
		var carry uint64
		a[i], carry = bits.Add64(lo, v, 0)
		v = hi + carry
	}
	return v == 0
}
