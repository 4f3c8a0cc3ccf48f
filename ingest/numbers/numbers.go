// Package numbers reads decimal numbers as other people's exports write them.
//
// It is exact. A number that cannot be represented without a loss is an error,
// never an approximation, and no float is involved. Files and servers share it.
package numbers

import (
	"errors"
	"strconv"
	"strings"

	"github.com/holiman/uint256"
)

// Errors of this package. They come bare: the caller knows the text and the field.
var (
	// ErrSyntax means that the text is not a number.
	ErrSyntax = errors.New("is not a whole or decimal number")
	// ErrNegative means that the number is below zero.
	ErrNegative = errors.New("is negative")
	// ErrTooLarge means that the number does not fit.
	ErrTooLarge = errors.New("is too large")
	// ErrInexact means that the number has more decimal places than are kept.
	ErrInexact = errors.New("has too many decimal places")
)

// maxDigits is how many decimal digits always fit 256 bits.
const maxDigits = 77

// Decimal is an exact decimal: digits x 10^exp. The zero value is 0. Its digits
// may alias the text that it was read from.
type Decimal struct {
	negative bool
	digits   string // without zeros at either end; empty: 0
	exp      int
}

// Format says how a source writes numbers.
type Format struct {
	// Thousands separates groups of three digits: one of , . ' _ or a space. With
	// a point, the decimal sign is a comma. Empty: there are no groups.
	Thousands string
}

// Check returns an error if the separator is not a known one.
func (f Format) Check() error {
	switch f.Thousands {
	case "", ",", ".", "'", "_", " ":
		return nil
	}
	return errors.New("a thousands separator is one of , . ' _ or a space")
}

// Parse reads a number: digits, optionally with a sign, a decimal point, an
// exponent and leading zeros, or 0x and hex digits. There may be no digit before the
// point, or none after it.
func Parse(s string) (Decimal, error) { return Format{}.Parse(s) }

// Parse reads a number as [Parse] does, with the groups of the format.
func (f Format) Parse(s string) (Decimal, error) {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	if n == len(s) && n > 0 {
		return normal(false, s, 0), nil // by far the most of them
	}
	return f.parse(s)
}

func (f Format) parse(s string) (Decimal, error) {
	negative := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		negative, s = s[0] == '-', s[1:]
	}
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		return parseHex(negative, s[2:])
	}
	if f.Thousands != "" {
		var ok bool
		if s, ok = f.ungroup(s); !ok {
			return Decimal{}, ErrSyntax
		}
	}
	exp := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		var err error
		if exp, err = parseExponent(s[i+1:]); err != nil {
			return Decimal{}, err
		}
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" && fraction == "" || !digitsOnly(whole) || !digitsOnly(fraction) {
		return Decimal{}, ErrSyntax
	}
	fraction = strings.TrimRight(fraction, "0")
	if fraction == "" {
		return normal(negative, whole, exp), nil
	}
	return normal(negative, whole+fraction, exp-len(fraction)), nil
}

// normal takes the zeros off both ends.
func normal(negative bool, digits string, exp int) Decimal {
	digits = strings.TrimLeft(digits, "0")
	kept := strings.TrimRight(digits, "0")
	if kept == "" {
		return Decimal{}
	}
	return Decimal{negative, kept, exp + len(digits) - len(kept)}
}

// maxExponent bounds exponents, so that sums of them do not overflow.
const maxExponent = 1 << 20

func parseExponent(s string) (int, error) {
	text := strings.TrimPrefix(s, "+")
	if text != s && strings.HasPrefix(text, "-") {
		return 0, ErrSyntax
	}
	if digits := strings.TrimPrefix(text, "-"); digits == "" || !digitsOnly(digits) {
		return 0, ErrSyntax
	}
	exp, err := strconv.Atoi(text)
	switch {
	case exp > maxExponent || err != nil && text[0] != '-':
		exp = maxExponent
	case exp < -maxExponent || err != nil:
		exp = -maxExponent
	}
	return exp, nil
}

func parseHex(negative bool, digits string) (Decimal, error) {
	for i := range len(digits) {
		if c := digits[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return Decimal{}, ErrSyntax
		}
	}
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		return Decimal{}, nil
	}
	if len(digits) > 64 {
		return Decimal{}, ErrTooLarge
	}
	n, err := uint256.FromHex("0x" + digits)
	if err != nil {
		return Decimal{}, ErrSyntax
	}
	return normal(negative, n.Dec(), 0), nil
}

// spaces makes a plain space of those that exports put between groups: no-break,
// narrow no-break, thin and figure spaces.
var spaces = strings.NewReplacer("\u00a0", " ", "\u202f", " ", "\u2009", " ", "\u2007", " ")

// ungroup takes the separators out of a number and reports whether they stood
// where they may.
func (f Format) ungroup(s string) (string, bool) {
	point := "."
	if f.Thousands == "." {
		point = ","
	}
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i:]
	}
	whole, fraction, hasPoint := strings.Cut(mantissa, point)
	if f.Thousands == " " {
		whole = spaces.Replace(whole)
	}
	groups := strings.Split(whole, f.Thousands)
	for i, group := range groups {
		if len(groups) > 1 && (len(group) > 3 || i > 0 && len(group) != 3 || group == "") {
			return "", false
		}
	}
	if strings.ContainsAny(fraction, ",.'_ ") {
		return "", false
	}
	s = strings.Join(groups, "")
	if hasPoint {
		s += "." + fraction
	}
	return s + exponent, true
}

func digitsOnly(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// Negative reports whether the number is below 0.
func (d Decimal) Negative() bool { return d.negative }

// Units returns the number times 10^scale as an integer. The error is
// [ErrNegative], [ErrTooLarge] or [ErrInexact].
func (d Decimal) Units(scale int) (uint256.Int, error) {
	var n uint256.Int
	if d.digits == "" {
		return n, nil
	}
	shift := d.exp + scale
	switch {
	case d.negative:
		return n, ErrNegative
	case len(d.digits)+shift > maxDigits:
		return n, ErrTooLarge
	case shift < 0:
		return n, ErrInexact
	}
	for digits := d.digits; digits != ""; {
		k := min(len(digits), 19)
		var v uint64
		for i := range k {
			v = v*10 + uint64(digits[i]-'0')
		}
		n.Mul(&n, &powers[k])
		n.AddUint64(&n, v)
		digits = digits[k:]
	}
	return *n.Mul(&n, &powers[shift]), nil
}

// Int64 returns the number as an integer. The error is [ErrTooLarge] or
// [ErrInexact].
func (d Decimal) Int64() (int64, error) {
	if d.exp < 0 {
		return 0, ErrInexact
	}
	if len(d.digits)+d.exp > 18 {
		return 0, ErrTooLarge
	}
	n, err := Decimal{digits: d.digits, exp: d.exp}.Units(0)
	if err != nil {
		return 0, err
	}
	if d.negative {
		return -int64(n.Uint64()), nil
	}
	return int64(n.Uint64()), nil
}

// Plain returns the number without an exponent, such as 12.5, with at most
// whole digits before the point and places after it. The error is
// [ErrNegative], [ErrTooLarge] or [ErrInexact].
func (d Decimal) Plain(whole, places int) (string, error) {
	switch {
	case d.digits == "":
		return "0", nil
	case d.negative:
		return "", ErrNegative
	case len(d.digits)+d.exp > whole:
		return "", ErrTooLarge
	case -d.exp > places:
		return "", ErrInexact
	case d.exp >= 0:
		return d.digits + strings.Repeat("0", d.exp), nil
	}
	point := len(d.digits) + d.exp
	if point <= 0 {
		return "0." + strings.Repeat("0", -point) + d.digits, nil
	}
	return d.digits[:point] + "." + d.digits[point:], nil
}

// Exact returns the text of a weight in the plain form that events carry: up to
// 37 digits before the point and 18 after it. A text of that form stays as it is.
func (f Format) Exact(s string) (string, error) {
	if plain(s) {
		return s, nil
	}
	d, err := f.Parse(s)
	if err != nil {
		return "", err
	}
	return d.Plain(37, 18)
}

// plain reports whether a text is a weight that needs no rewriting.
func plain(s string) bool {
	whole, fraction, point := strings.Cut(s, ".")
	return whole != "" && len(whole) <= 37 && digitsOnly(whole) &&
		(!point || fraction != "" && len(fraction) <= 18 && digitsOnly(fraction))
}

// powers are the powers of ten that fit.
var powers = func() (p [maxDigits + 1]uint256.Int) {
	p[0].SetOne()
	for i := 1; i < len(p); i++ {
		p[i].Mul(&p[i-1], uint256.NewInt(10))
	}
	return p
}()

// PowerOfTen returns 10^n, for n from 0 to 77.
func PowerOfTen(n int) *uint256.Int { return new(uint256.Int).Set(&powers[n]) }
