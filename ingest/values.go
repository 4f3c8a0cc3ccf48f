package ingest

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"holdmetrics/hold"
)

// ParseTime reads a time as every text format takes it: RFC 3339, or unix seconds
// in plain decimal, both with up to nine fractional digits. It is exact; no float
// is involved. The empty text is "not given": a Stamp that is not Set. A time
// before the epoch is read as it stands, since hold.Draft.Check judges it.
// The error matches hold.ErrTime.
func ParseTime(s string) (hold.Stamp, error) {
	if s == "" {
		return hold.Stamp{}, nil
	}
	t, detail := parseTime(s)
	if detail != "" {
		return hold.Stamp{}, fmt.Errorf("%w: %s", hold.ErrTime, detail)
	}
	return t, nil
}

// ParseRevision reads a revision, an integer from 0 to 2^64-1 in decimal digits.
// The empty text is 0, which means "not given". The error matches ErrRevision.
func ParseRevision(s string) (uint64, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %q", ErrRevision, clip(s))
	}
	return n, nil
}

// ParseBool reads "true" or "false". The empty text is false. The error matches ErrBool.
func ParseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	return false, fmt.Errorf("%w: %q", ErrBool, clip(s))
}

// ParseWeight reads a weight as a JSON number is read: the nearest double. given
// is false for the empty text alone, so an explicit 0 is a weight. Weights that need
// more than a double go in weight_exact. The error matches hold.ErrWeight.
func ParseWeight(s string) (weight float64, given bool, err error) {
	if s == "" {
		return 0, false, nil
	}
	if !isNumber(s) {
		return 0, false, fmt.Errorf("%w: %q is not a decimal number", hold.ErrWeight, clip(s))
	}
	weight, err = strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(weight, 0) {
		return 0, false, fmt.Errorf("%w: %s is out of range", hold.ErrWeight, clip(s))
	}
	if weight == 0 {
		weight = 0 // -0 is 0
	}
	return weight, true, nil
}

const manyDigits = "has more than nine fractional digits"

// parseTime returns what is wrong as a detail, or "" when nothing is.
func parseTime(s string) (hold.Stamp, string) {
	if len(s) >= len("2006-01-02T") && s[4] == '-' && s[7] == '-' {
		return parseRFC3339(s)
	}
	return parseUnix(s)
}

func parseRFC3339(s string) (hold.Stamp, string) {
	if _, fraction, ok := strings.Cut(s, "."); ok && countDigits(fraction) > 9 {
		return hold.Stamp{}, strconv.Quote(clip(s)) + " " + manyDigits
	}
	var t time.Time
	err := t.UnmarshalText([]byte(s)) // stricter than time.Parse, but for the comma
	if err != nil || strings.Contains(s, ",") {
		return hold.Stamp{}, strconv.Quote(clip(s)) + " is not RFC 3339, such as 2021-07-13T23:30:32Z" + reason(err)
	}
	return hold.Stamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond()), Set: true}, ""
}

func reason(err error) string {
	if p := (*time.ParseError)(nil); errors.As(err, &p) && p.Message != "" {
		return p.Message // begins with ": "
	}
	return ""
}

func parseUnix(s string) (hold.Stamp, string) {
	whole, fraction, point := strings.Cut(s, ".")
	digits := strings.TrimPrefix(whole, "-")
	if digits == "" || countDigits(digits) != len(digits) || countDigits(fraction) != len(fraction) || point && fraction == "" {
		return hold.Stamp{}, strconv.Quote(clip(s)) + " is neither RFC 3339 nor unix seconds in plain decimal"
	}
	if len(fraction) > 9 {
		return hold.Stamp{}, strconv.Quote(clip(s)) + " " + manyDigits
	}
	seconds, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return hold.Stamp{}, strconv.Quote(clip(s)) + " is out of range"
	}
	var nanos int32
	for i := range 9 {
		nanos *= 10
		if i < len(fraction) {
			nanos += int32(fraction[i] - '0')
		}
	}
	if whole[0] == '-' {
		seconds = -seconds
		if nanos > 0 { // nanoseconds count forward, so -0.5 is second -1 and half
			seconds, nanos = seconds-1, 1e9-nanos
		}
	}
	return hold.Stamp{Seconds: seconds, Nanos: nanos, Set: true}, ""
}

// countDigits is the number of decimal digits that s begins with.
func countDigits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}

// isNumber reports whether s is a number in the grammar of JSON.
func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	n := countDigits(s)
	if n == 0 || n > 1 && s[0] == '0' {
		return false
	}
	s = s[n:]
	if fraction, ok := strings.CutPrefix(s, "."); ok {
		if n = countDigits(fraction); n == 0 {
			return false
		}
		s = fraction[n:]
	}
	if s != "" && (s[0] == 'e' || s[0] == 'E') {
		s = s[1:]
		if s != "" && (s[0] == '+' || s[0] == '-') {
			s = s[1:]
		}
		if n = countDigits(s); n == 0 {
			return false
		}
		s = s[n:]
	}
	return s == ""
}
