// Package times reads times as other people's exports write them. Files, servers
// and flags share it. Times are exact to the nanosecond, and no float is involved.
//
// A time is one of
//
//	2026-01-31T12:00:00Z        RFC 3339, with T, t or spaces in the middle,
//	2026-01-31 12:00:00.5 UTC   up to nine digits of a fraction, and any zone:
//	2026-01-31 12:00+0100       Z, z, UTC, +01, +0100 or +01:00
//	2026-01-31                  a date: its midnight in UTC
//	1769860800.5                unix seconds
//
// A second of 60 means the first instant of the next minute, whatever its fraction.
package times

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest/numbers"
)

// Unit is what a number counts. The zero value is [Seconds].
type Unit int

// The units of numbers.
const (
	Seconds Unit = iota
	Milliseconds
	Microseconds
	Nanoseconds
)

var unitNames = [...]string{"s", "ms", "us", "ns"}

// ParseUnit reads s, ms, us or ns.
func ParseUnit(s string) (Unit, error) {
	for i, name := range unitNames {
		if s == name {
			return Unit(i), nil
		}
	}
	return 0, fmt.Errorf("%q is not a unit of time: give s, ms, us or ns", s)
}

// String is s, ms, us or ns.
func (u Unit) String() string { return unitNames[u] }

// Reader reads times. The zero value reads unix seconds, and no time of a day
// without a zone.
type Reader struct {
	UTC  bool   // a time without a zone is UTC; else it is an error
	Unit Unit   // of numbers
	Hint string // how to say that times of a file without a zone are UTC; empty: it is no file
}

// Parse reads a time. The empty text is "not given": a Stamp that is not Set. The
// error matches [hold.ErrTime]. A time outside the range of holds is returned as it
// stands, since hold.Draft.Check judges it.
func (r Reader) Parse(s string) (hold.Stamp, error) {
	if s == "" {
		return hold.Stamp{}, nil
	}
	var t hold.Stamp
	var wrong string
	if isDate(s) {
		t, wrong = r.parseDate(s)
	} else {
		t, wrong = r.parseNumber(s)
	}
	if wrong != "" {
		return hold.Stamp{}, fmt.Errorf("%w: %s %s", hold.ErrTime, quote(s), wrong)
	}
	return t, nil
}

// isDate reports whether a text begins as 2026-01-31 does.
func isDate(s string) bool {
	return len(s) >= len("2006-01-02") && s[4] == '-' && s[7] == '-'
}

const malformed = "is not a time, such as 2026-01-31T12:00:00Z"

// scan is what is left of a text.
type scan struct{ rest string }

// digits takes n digits off the front.
func (s *scan) digits(n int) (int, bool) {
	if len(s.rest) < n {
		return 0, false
	}
	v := 0
	for i := range n {
		c := s.rest[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + int(c-'0')
	}
	s.rest = s.rest[n:]
	return v, true
}

// take takes a character off the front, if it is there.
func (s *scan) take(c byte) bool {
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (r Reader) parseDate(text string) (hold.Stamp, string) {
	s := scan{text}
	year, ok1 := s.digits(4)
	s.take('-')
	month, ok2 := s.digits(2)
	s.take('-')
	day, ok3 := s.digits(2)
	if !ok1 || !ok2 || !ok3 {
		return hold.Stamp{}, malformed
	}
	if month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return hold.Stamp{}, "is not a day of the calendar"
	}
	seconds := daysSinceEpoch(year, month, day) * 86400
	if s.rest == "" {
		return hold.Stamp{Seconds: seconds, Set: true}, ""
	}
	if !s.take('T') && !s.take('t') && s.rest[0] != ' ' {
		return hold.Stamp{}, malformed
	}
	s.rest = strings.TrimLeft(s.rest, " ")
	clock, nanos, wrong := s.clock()
	if wrong != "" {
		return hold.Stamp{}, wrong
	}
	offset, zoned, wrong := s.zone()
	switch {
	case wrong != "":
		return hold.Stamp{}, wrong
	case !zoned && !r.UTC:
		wrong = "has no zone: write Z behind it if it is UTC"
		if r.Hint != "" {
			wrong = "has no zone: " + r.Hint
		}
		return hold.Stamp{}, wrong
	}
	return hold.Stamp{Seconds: seconds + int64(clock-offset), Nanos: nanos, Set: true}, ""
}

// clock reads 12:00, 12:00:00 or 12:00:00.5, in seconds of the day.
func (s *scan) clock() (seconds int, nanos int32, wrong string) {
	hour, ok := s.digits(2)
	if !ok || !s.take(':') {
		return 0, 0, malformed
	}
	minute, ok := s.digits(2)
	if !ok {
		return 0, 0, malformed
	}
	second := 0
	if s.take(':') {
		if second, ok = s.digits(2); !ok {
			return 0, 0, malformed
		}
		if s.take('.') {
			n := 0
			for n < len(s.rest) && '0' <= s.rest[n] && s.rest[n] <= '9' {
				n++
			}
			if n == 0 {
				return 0, 0, malformed
			}
			if nanos, ok = fraction(s.rest[:n]); !ok {
				return 0, 0, manyDigits
			}
			s.rest = s.rest[n:]
		}
	}
	if hour > 23 || minute > 59 || second > 60 {
		return 0, 0, "is not a time of a day"
	}
	if second == 60 {
		nanos = 0
	}
	return hour*3600 + minute*60 + second, nanos, ""
}

const manyDigits = "has more than nine fractional digits"

// fraction reads the digits behind a point in nanoseconds. Zeros beyond the
// ninth digit say nothing.
func fraction(digits string) (int32, bool) {
	if len(digits) > 9 {
		if strings.Trim(digits[9:], "0") != "" {
			return 0, false
		}
		digits = digits[:9]
	}
	var nanos int32
	for i := range 9 {
		nanos *= 10
		if i < len(digits) {
			nanos += int32(digits[i] - '0')
		}
	}
	return nanos, true
}

// zone reads what is behind a time of a day: an offset in seconds.
func (s *scan) zone() (offset int, given bool, wrong string) {
	s.rest = strings.TrimLeft(s.rest, " ")
	switch {
	case s.rest == "":
		return 0, false, ""
	case strings.EqualFold(s.rest, "z"), strings.EqualFold(s.rest, "utc"), strings.EqualFold(s.rest, "gmt"):
		return 0, true, ""
	}
	const unknown = "has a zone that is none of Z, UTC, +01, +0100, +01:00"
	negative := s.rest[0] == '-'
	if !negative && s.rest[0] != '+' {
		return 0, false, unknown
	}
	s.rest = s.rest[1:]
	if text, ok := strings.CutSuffix(s.rest, " UTC"); ok {
		if strings.Trim(text, "0:") != "" {
			return 0, false, "has two zones"
		}
		s.rest = text // as Go writes it: +0000 UTC
	}
	hours, ok := s.digits(2)
	if !ok {
		return 0, false, unknown
	}
	minutes := 0
	if s.rest != "" {
		s.take(':')
		if minutes, ok = s.digits(2); !ok || s.rest != "" {
			return 0, false, unknown
		}
	}
	if hours > 23 || minutes > 59 {
		return 0, false, "has an offset of a day or more"
	}
	offset = hours*3600 + minutes*60
	if negative {
		offset = -offset
	}
	return offset, true, ""
}

// monthDays is how many days the months of a year without a leap day have.
var monthDays = [...]int{31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

func daysIn(year, month int) int {
	if month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0) {
		return 29
	}
	return monthDays[month-1]
}

// daysSinceEpoch is the number of a day, by its date, counted from 1970-01-01. It is
// several times as fast as time.Date, which matters for files of many rows.
func daysSinceEpoch(year, month, day int) int64 {
	if month <= 2 { // years begin in March, so that the leap day is the last
		year, month = year-1, month+12
	}
	era := year
	if era < 0 {
		era -= 399
	}
	era /= 400
	ofEra := year - era*400
	ofYear := (153*(month-3)+2)/5 + day - 1
	const epoch = 719468 // from 0000-03-01 to 1970-01-01
	return int64(era*146097+ofEra*365+ofEra/4-ofEra/100+ofYear) - epoch
}

// latest is the latest time that a hold may have, in seconds.
const latest = hold.MaxTime / 1e9

func (r Reader) parseNumber(s string) (hold.Stamp, string) {
	seconds, nanos, wrong := unixSeconds(s)
	if wrong == notPlain {
		// A spreadsheet writes 1.7672256e9.
		d, err := numbers.Parse(s)
		if err != nil {
			return hold.Stamp{}, "is neither a date with a time nor unix seconds"
		}
		text, err := plain(d)
		if err != nil {
			return hold.Stamp{}, "is out of range"
		}
		seconds, nanos, wrong = unixSeconds(text)
	}
	if wrong != "" {
		return hold.Stamp{}, wrong
	}
	if r.Unit == Seconds {
		if date, ok := compactDate(s); ok {
			return hold.Stamp{}, fmt.Sprintf("is a date without hyphens, or else %s as unix seconds: write %s, or %s.0 for the seconds", time.Unix(seconds, 0).UTC().Format(time.DateOnly), date, s)
		}
		if seconds > latest {
			if date, ok := compactDate(s[:min(len(s), 8)]); ok && len(s) == len("20060102150405") {
				return hold.Stamp{}, "is a date and a time without separators: write " + date + "T" + s[8:10] + ":" + s[10:12] + ":" + s[12:] + "Z if it is UTC"
			}
			if unit, ok := likelyUnit(seconds); ok {
				what := "write it in seconds"
				if r.Hint != "" { // it is of a file, whose reading has options
					what = fmt.Sprintf("give the unit of times (--time-unit %s)", unit)
				}
				return hold.Stamp{}, fmt.Sprintf("is absurd as seconds and fits as %s: %s", unitWords[unit], what)
			}
		}
		return hold.Stamp{Seconds: seconds, Nanos: nanos, Set: true}, ""
	}
	per := []int64{1, 1e3, 1e6, 1e9}[r.Unit]
	if nanos != 0 && r.Unit == Nanoseconds || int64(nanos)%per != 0 {
		return hold.Stamp{}, "is finer than a nanosecond"
	}
	whole, rest := seconds/per, seconds%per
	if rest < 0 {
		whole, rest = whole-1, rest+per
	}
	return hold.Stamp{Seconds: whole, Nanos: int32(rest*(1e9/per) + int64(nanos)/per), Set: true}, ""
}

// compactDate returns the date that eight digits name, from 1990 to 2199. As seconds they
// would be of 1970, which nobody means.
func compactDate(s string) (string, bool) {
	if len(s) != 8 || !digitsOnly(s) || s < "19900101" || s > "21991231" {
		return "", false
	}
	date := s[:4] + "-" + s[4:6] + "-" + s[6:]
	_, err := time.Parse(time.DateOnly, date)
	return date, err == nil
}

var unitWords = [...]string{"seconds", "milliseconds", "microseconds", "nanoseconds"}

// likelyUnit is the unit in which a number is a time of 1990 to 2200.
func likelyUnit(n int64) (Unit, bool) {
	const from = 631152000 // 1990
	for unit, per := range [...]int64{Milliseconds: 1e3, Microseconds: 1e6, Nanoseconds: 1e9} {
		if per > 0 && n/per >= from && n/per <= latest {
			return Unit(unit), true
		}
	}
	return 0, false
}

// plain is a number of any sign without an exponent.
func plain(d numbers.Decimal) (string, error) {
	if !d.Negative() {
		return d.Plain(18, 9)
	}
	n, err := d.Int64()
	return strconv.FormatInt(n, 10), err
}

const notPlain = "is not a plain number"

// unixSeconds reads a plain decimal.
func unixSeconds(s string) (seconds int64, nanos int32, wrong string) {
	whole, digits, point := strings.Cut(s, ".")
	number := strings.TrimPrefix(whole, "-")
	if number == "" || !digitsOnly(number) || !digitsOnly(digits) || point && digits == "" {
		return 0, 0, notPlain
	}
	nanos, ok := fraction(digits)
	if !ok {
		return 0, 0, manyDigits
	}
	seconds, err := strconv.ParseInt(number, 10, 64)
	if err != nil || seconds == math.MaxInt64 {
		return 0, 0, "is out of range"
	}
	if whole[0] == '-' {
		seconds = -seconds
		if nanos > 0 { // nanoseconds count forward, so -0.5 is second -1 and a half
			seconds, nanos = seconds-1, 1e9-nanos
		}
	}
	return seconds, nanos, ""
}

func digitsOnly(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// quote is a text in quotes, short enough for an error.
func quote(s string) string {
	if len(s) > 60 {
		s = s[:60] + "..."
	}
	return strconv.Quote(s)
}
