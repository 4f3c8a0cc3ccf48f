// Package limbs calculates with unsigned integers of a fixed width: slices of
// 64-bit limbs, the least significant first. All arithmetic is modulo the width.
package limbs

import "math/bits"

// Add sets a to a + b. Both have the same length.
func Add(a, b []uint64) {
	var carry uint64
	for i := range a {
		a[i], carry = bits.Add64(a[i], b[i], carry)
	}
}

// Sub sets a to a - b. Both have the same length.
func Sub(a, b []uint64) {
	var borrow uint64
	for i := range a {
		a[i], borrow = bits.Sub64(a[i], b[i], borrow)
	}
}

// Mul sets dst to a x m. a may be shorter than dst, and may be dst.
func Mul(dst, a []uint64, m uint64) {
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

// Div sets a to a / d, rounded down.
func Div(a []uint64, d uint64) {
	var rest uint64
	for i := len(a) - 1; i >= 0; i-- {
		a[i], rest = bits.Div64(rest, a[i], d)
	}
}

// Cmp returns -1, 0 or 1 if a is less than, equal to or greater than b, which has
// the same length.
func Cmp(a, b []uint64) int {
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
