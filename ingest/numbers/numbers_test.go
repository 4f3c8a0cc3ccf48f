package numbers

import (
	"errors"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text, want string
		err        error
	}{
		{"0", "0", nil},
		{"007", "007", nil}, // a weight already
		{"+12", "12", nil},
		{"12.0", "12.0", nil},
		{"12.50", "12.50", nil},
		{"+12.50", "12.5", nil},
		{"0.000000000000000001", "0.000000000000000001", nil},
		{"1e3", "1000", nil},
		{"1.5E+2", "150", nil},
		{"1.25e1", "12.5", nil},
		{"2.5e-1", "0.25", nil},
		{"1500e-3", "1.5", nil},
		{"0e999999999999", "0", nil},
		{"-0.0", "0", nil},
		{"0x10", "16", nil},
		{"0X00ff", "255", nil},
		{"0x0000000000000000000000000000000000000000000000000000000000000000", "0", nil},
		{"9999999999999999999999999999999999999", "9999999999999999999999999999999999999", nil},
		{"", "", ErrSyntax},
		{"-", "", ErrSyntax},
		{"1,5", "", ErrSyntax},
		{"1.", "1", nil},
		{".5", "0.5", nil},
		{"+.5e1", "5", nil},
		{"-.0", "0", nil},
		{".", "", ErrSyntax},
		{"+.", "", ErrSyntax},
		{".e1", "", ErrSyntax},
		{"1e", "", ErrSyntax},
		{"1e+-2", "", ErrSyntax},
		{"0x", "", ErrSyntax},
		{"0xg", "", ErrSyntax},
		{"NaN", "", ErrSyntax},
		{"inf", "", ErrSyntax},
		{"1 000", "", ErrSyntax},
		{"١", "", ErrSyntax},
		{"-1", "", ErrNegative},
		{"1e37", "", ErrTooLarge},
		{"1e999999999999", "", ErrTooLarge},
		{"0x" + strings.Repeat("f", 65), "", ErrTooLarge},
		{"1e-19", "", ErrInexact},
		{"1e-999999999999", "", ErrInexact},
	} {
		got, err := Format{}.Exact(tt.text)
		if got != tt.want || !errors.Is(err, tt.err) {
			t.Errorf("%q: %q, %v, want %q, %v", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ separator, text, want string }{
		{",", "1,234,567.5", "1234567.5"},
		{",", "999", "999"},
		{",", "1234", "1234"},
		{".", "1.234.567,5", "1234567.5"},
		{".", "0,25", "0.25"},
		{"'", "1'000", "1000"},
		{" ", "1 000", "1000"},
		{"_", "1_000e2", "100000"},
		{",", "1,23", ""},
		{",", "1,2345", ""},
		{",", ",123", ""},
		{",", "1234,567", ""},
		{",", "1.234,567", ""},
		{",", "1,,234", ""},
		{".", "1,234.5", ""},
		{",", "1,234.", "1234"},
		{",", ".5", "0.5"},
		{".", ",5", "0.5"},
	} {
		got, err := Format{Thousands: tt.separator}.Exact(tt.text)
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%q by %q: %q, %v, want %q", tt.text, tt.separator, got, err, tt.want)
		}
	}
	if (Format{Thousands: "x"}).Check() == nil || (Format{Thousands: ","}).Check() != nil {
		t.Error("the separators that Check accepts are not those of Parse")
	}
}

// TestUnitsAgainstBig compares every spelling with math/big.
func TestUnitsAgainstBig(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[+]?[0-9]{1,30}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "text")
		scale := rapid.IntRange(-20, 36).Draw(t, "scale")
		want, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatal(text)
		}
		factor := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(max(scale, -scale))), nil))
		if scale < 0 {
			factor.Inv(factor)
		}
		want.Mul(want, factor)
		d, err := Parse(text)
		if err != nil {
			t.Fatal(text, err)
		}
		got, err := d.Units(scale)
		switch {
		case !want.IsInt():
			if !errors.Is(err, ErrInexact) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%s at %d: %s, %v, want an inexact number", text, scale, got.Dec(), err)
			}
		case len(want.Num().String()) > maxDigits:
			if !errors.Is(err, ErrTooLarge) {
				t.Fatalf("%s at %d: %v, want a number that is too large", text, scale, err)
			}
		case err != nil || got.Dec() != want.Num().String():
			t.Fatalf("%s at %d: %s, %v, want %s", text, scale, got.Dec(), err, want.Num())
		}
	})
}

func TestInt64(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"12.0": "12", "1e3": "1000", "-5": "-5", "0x1f": "31", "1.5": "", "1e18": "", "999999999999999999": "999999999999999999",
	} {
		d, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		n, err := d.Int64()
		if got := strconv.FormatInt(n, 10); err == nil && got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
}
