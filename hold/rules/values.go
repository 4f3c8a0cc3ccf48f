package rules

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"holdmetrics/hold"
)

// parseMillionths reads a decimal of up to 6 digits on either side of its point
// as an integer of 1e-6 units (S8.11).
func parseMillionths(s string) (uint64, error) {
	whole, fraction, point := strings.Cut(s, ".")
	switch {
	case strings.HasPrefix(s, "-"):
		return 0, fmt.Errorf("%s is below 0", s)
	case !digits(whole) || point && !digits(fraction):
		return 0, fmt.Errorf("%q is not a plain decimal; write it like 2 or 0.25", s)
	case len(fraction) > 6:
		return 0, fmt.Errorf("%s has more than 6 digits after the point", s)
	case len(strings.TrimLeft(whole, "0")) > 6:
		return 0, fmt.Errorf("%s is 1000000 or more", s)
	}
	v, err := strconv.ParseUint(whole+(fraction + "000000")[:6], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a plain decimal; write it like 2 or 0.25", s)
	}
	return v, nil
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// formatMillionths is units of 1e-6 as a plain decimal.
func formatMillionths(units uint64) string {
	s := fmt.Sprintf("%07d", units)
	whole, fraction := s[:len(s)-6], strings.TrimRight(s[len(s)-6:], "0")
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}

// units of time, from the longest to the shortest.
var units = []struct {
	name string
	ns   int64
}{
	{"w", 7 * 24 * int64(time.Hour)},
	{"d", 24 * int64(time.Hour)},
	{"h", int64(time.Hour)},
	{"m", int64(time.Minute)},
	{"s", int64(time.Second)},
	{"ms", int64(time.Millisecond)},
	{"us", int64(time.Microsecond)},
	{"ns", 1},
}

// parseLength reads a length of time like 7d or 1d12h in nanoseconds (S8.11).
func parseLength(s string) (int64, error) {
	wrong := fmt.Errorf("%q is not a length of time; write it like 7d, 36h or 1d12h (w, d, h, m, s, ms, us, ns)", s)
	if s == "" {
		return 0, wrong
	}
	var total int64
	next := 0 // the longest unit that may come
	for rest := s; rest != ""; {
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		number := rest[:n]
		rest = rest[n:]
		n = 0
		for n < len(rest) && (rest[n] < '0' || rest[n] > '9') {
			n++
		}
		unit := -1
		for i := next; i < len(units); i++ {
			if units[i].name == rest[:n] {
				unit = i
			}
		}
		if number == "" || unit < 0 {
			return 0, wrong
		}
		rest, next = rest[n:], unit+1
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil || v > (hold.MaxTime-total)/units[unit].ns {
			return 0, fmt.Errorf("%s is longer than any hold can last", s)
		}
		total += v * units[unit].ns
	}
	return total, nil
}

// formatLength formats a length as parseLength reads it, with days instead of weeks.
func formatLength(ns int64) string {
	if ns == 0 {
		return "0s"
	}
	var out []byte
	for _, u := range units[1:] {
		if n := ns / u.ns; n > 0 {
			out = strconv.AppendInt(out, n, 10)
			out = append(out, u.name...)
			ns %= u.ns
		}
	}
	return string(out)
}

// parseInstant reads a time, or a date as its midnight in UTC, in nanoseconds (S8.11).
func parseInstant(s string) (int64, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, s); err != nil {
			return 0, fmt.Errorf("%q is not a time; write it like 2026-01-31T12:00:00Z, or 2026-01-31 for its midnight in UTC", s)
		}
	}
	if sec := t.Unix(); sec < 0 || sec > hold.MaxTime/1e9 || t.UnixNano() < 1 || t.UnixNano() > hold.MaxTime {
		return 0, fmt.Errorf("%s is not between 1970 and 2200", s)
	}
	return t.UnixNano(), nil
}

func formatInstant(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
