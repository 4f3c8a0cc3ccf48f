package transfers

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holiman/uint256"

	"holdmetrics/hold"
	"holdmetrics/ingest/numbers"
	"holdmetrics/ingest/rows"
)

// parseValue reads a number and divides it by 10^decimals. The units are 1e-18, or
// 1e-36 if it is fine.
func (o *Options) parseValue(s string, decimals int) (units uint256.Int, fine bool, err error) {
	if s == "" {
		return units, false, fmt.Errorf("%w: it is empty", ErrValue)
	}
	d, err := o.Numbers.Parse(s)
	if err == nil {
		if units, err = d.Units(18 - decimals); errors.Is(err, numbers.ErrInexact) {
			fine = true
			if units, err = d.Units(36 - decimals); err == nil && o.Round == RoundNever {
				err = numbers.ErrInexact
			}
		}
	}
	if err != nil {
		return units, fine, o.valueError(err, s, decimals)
	}
	return units, fine, nil
}

func (o *Options) valueError(err error, s string, decimals int) error {
	with := rows.Quote(s)
	if decimals > 0 {
		with = fmt.Sprintf("%s with %d decimals", with, decimals)
	}
	switch {
	case errors.Is(err, numbers.ErrTooLarge):
		return fmt.Errorf("%w: %s", ErrTooLarge, with)
	case errors.Is(err, numbers.ErrInexact) && o.Round != RoundNever:
		return fmt.Errorf("%w: %s, and more than 36", ErrPlaces, with)
	case errors.Is(err, numbers.ErrInexact):
		return fmt.Errorf("%w: %s: cut them on request (--round down, --round half-even)", ErrPlaces, with)
	case errors.Is(err, numbers.ErrNegative):
		return fmt.Errorf("%w: %s is negative", ErrValue, with)
	case strings.ContainsAny(s, ",'_ ") && o.Numbers.Thousands == "":
		return fmt.Errorf("%w: %s: name the separator of thousands (--thousands)", ErrValue, with)
	}
	return fmt.Errorf("%w: %s", ErrValue, with)
}

// tokenID is an id of a token as its plain decimal, so that 0x07, 007 and 7 are one.
func tokenID(s string) (string, error) {
	d, err := numbers.Parse(s)
	if err == nil {
		// Up to 2^256, which is 78 digits.
		s, err = d.Plain(78, 0)
	}
	if err != nil {
		return "", fmt.Errorf("%w: an id is a whole number in digits or hex, not %s", ErrValue, rows.Quote(s))
	}
	return s, nil
}

// splitList splits the text of a list, such as [7,8] or {7,8}.
func splitList(s string) ([]string, bool) {
	if len(s) < 2 || !(s[0] == '[' && s[len(s)-1] == ']' || s[0] == '{' && s[len(s)-1] == '}') {
		return nil, false
	}
	inner := rows.Trim(s[1 : len(s)-1])
	if inner == "" {
		return nil, true
	}
	separator := ","
	if !strings.Contains(inner, ",") {
		separator = " " // as numpy writes it
		if strings.Contains(inner, ";") {
			separator = ";"
		}
	}
	var parts []string
	for _, part := range strings.Split(inner, separator) {
		part = strings.Trim(rows.Trim(part), `"'`)
		if part == "" && separator == " " {
			continue
		}
		parts = append(parts, rows.Trim(part))
	}
	return parts, true
}

// kinds of tokens.
type kind uint8

const (
	kindUnknown kind = iota
	kindAmount       // ERC-20
	kindOne          // ERC-721
	kindMany         // ERC-1155
	kindNone         // no token: the coin of the chain
)

func parseKind(s string) (kind, bool) {
	lower := strings.ToLower(s)
	switch {
	case s == "":
		return kindUnknown, true
	case strings.HasSuffix(lower, "1155"):
		return kindMany, true
	case strings.HasSuffix(lower, "721"):
		return kindOne, true
	case strings.HasSuffix(lower, "20"):
		return kindAmount, true
	case lower == "native", lower == "external", lower == "internal":
		return kindNone, true
	}
	return kindUnknown, false
}

// oneUnit is the weight 1.
var oneUnit = uint256.NewInt(1_000_000_000_000_000_000)

// fineUnits is how many units of 1e-36 are one of 1e-18.
var fineUnits = numbers.PowerOfTen(18)

// round makes units of 1e-18 of units of 1e-36. It reports whether digits were lost.
func (r Round) round(fine *uint256.Int) (uint256.Int, bool) {
	var units, rest uint256.Int
	units.DivMod(fine, fineUnits, &rest)
	if rest.IsZero() {
		return units, false
	}
	if r == RoundHalfEven {
		half := new(uint256.Int).Rsh(fineUnits, 1)
		if c := rest.Cmp(half); c > 0 || c == 0 && units[0]&1 == 1 {
			units.AddUint64(&units, 1)
		}
	}
	return units, true
}

func text(units *uint256.Int) string { return hold.Weight(*units).String() }
