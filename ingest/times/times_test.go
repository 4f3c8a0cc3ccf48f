package times

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

func TestOneInstantInManySpellings(t *testing.T) {
	t.Parallel()
	want := hold.Stamp{Seconds: 1767225600, Set: true} // 2026-01-01T00:00:00Z
	for _, s := range []string{
		"2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z", "2026-01-01 00:00:00 Z",
		"2026-01-01 00:00:00 UTC", "2026-01-01 00:00:00.000 UTC", "2026-01-01T00:00:00.000000000Z", "2026-01-01 00:00:00.000000000000 UTC",
		"2026-01-01 00:00:00+00", "2026-01-01 00:00:00+00:00", "2026-01-01 00:00:00+0000", "2026-01-01T00:00:00-00:00",
		"2026-01-01 00:00:00 +00:00", "2026-01-01 00:00:00utc", "2026-01-01 01:00:00+01", "2025-12-31T18:30:00-0530",
		"2026-01-01T05:45:00+05:45", "2026-01-01T00:00Z", "2026-01-01 00:00 UTC", "2026-01-01",
		"2025-12-31T23:59:60Z", "2025-12-31T23:59:60.5Z",
		"1767225600", "1767225600.0", "1.7672256e9", "1767225600.000000000", "0x6955b900",
	} {
		got, err := Reader{}.Parse(s)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"2026-01-01 00:00:00", "2026-01-01T00:00:00", "2026-01-01T00:00", "2026-01-01 00:00:00.000"} {
		if got, err := (Reader{UTC: true}).Parse(s); err != nil || got != want {
			t.Errorf("%q as UTC: %+v, %v", s, got, err)
		}
		if _, err := (Reader{Hint: "give --utc"}).Parse(s); !errors.Is(err, hold.ErrTime) || !strings.Contains(err.Error(), "has no zone: give --utc") {
			t.Errorf("%q: %v", s, err)
		}
	}
	for unit, s := range map[Unit]string{Milliseconds: "1767225600000", Microseconds: "1767225600000000", Nanoseconds: "1767225600000000000"} {
		if got, err := (Reader{Unit: unit}).Parse(s); err != nil || got != want {
			t.Errorf("%q in %s: %+v, %v", s, unit, got, err)
		}
		if _, err := (Reader{}).Parse(s); err == nil || !strings.Contains(err.Error(), "fits as "+unitWords[unit]+": write it in seconds") {
			t.Errorf("%s: %v; want the unit in words", s, err)
		}
		if _, err := (Reader{Hint: "give --utc"}).Parse(s); err == nil || !strings.Contains(err.Error(), "--time-unit "+unit.String()) {
			t.Errorf("%q: %v, want a hint at %s", s, err, unit)
		}
	}
	half := hold.Stamp{Seconds: 1767225600, Nanos: 500_000_000, Set: true}
	for unit, s := range map[Unit]string{Seconds: "1767225600.5", Milliseconds: "1767225600500", Microseconds: "1767225600500000.0", Nanoseconds: "1767225600500000000"} {
		if got, err := (Reader{Unit: unit}).Parse(s); err != nil || got != half {
			t.Errorf("%q in %s: %+v, %v", s, unit, got, err)
		}
	}
	if got, err := (Reader{Unit: Milliseconds}).Parse("-1500"); err != nil || got != (hold.Stamp{Seconds: -2, Nanos: 500_000_000, Set: true}) {
		t.Errorf("%+v, %v", got, err)
	}
	for s, seconds := range map[string]int64{"1.": 1, "20260101.0": 20260101, "20261301": 20261301, "19891231": 19891231, "22000101": 22000101, "2026010": 2026010} {
		if got, err := (Reader{}).Parse(s); err != nil || got != (hold.Stamp{Seconds: seconds, Set: true}) {
			t.Errorf("%s: %+v, %v", s, got, err)
		}
	}
	if got, err := (Reader{Unit: Milliseconds}).Parse("20260101"); err != nil || got.Seconds != 20260 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := (Reader{}).Parse(""); err != nil || got.Set {
		t.Errorf("nothing: %+v, %v", got, err)
	}
}

func TestWhatIsNoTime(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"soon":                            "is neither a date",
		"2026-02-30T00:00:00Z":            "is not a day of the calendar",
		"2026-13-01":                      "is not a day of the calendar",
		"2026-01-01T24:00:00Z":            "is not a time of a day",
		"2026-01-01T00:00:61Z":            "is not a time of a day",
		"2026-01-01T00:00:00 EST":         "has a zone that is none of",
		"2026-01-01T00:00:00+1":           "has a zone that is none of",
		"2026-01-01T00:00:00+25:00":       "has an offset of a day or more",
		"2026-01-01T00:00:00.0000000001Z": manyDigits,
		"1.0000000001":                    manyDigits,
		"2026-01-01T00:00:00,5Z":          "has a zone that is none of",
		"2026-01-01T":                     malformed,
		"2026-01-01x":                     malformed,
		"2026-01-01T0:00:00Z":             malformed,
		"99999999999999999999":            "is out of range",
		"1e30":                            "is out of range",
		".":                               "is neither a date",
		"20260101":                        "is a date without hyphens, or else 1970-08-23 as unix seconds: write 2026-01-01, or 20260101.0 for the seconds",
		"20260101123045":                  "write 2026-01-01T12:30:45Z",
		"-":                               "is neither a date",
	} {
		_, err := Reader{}.Parse(s)
		if !errors.Is(err, hold.ErrTime) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
	}
}

// TestEverySpellingIsTheInstant compares with the standard library.
func TestEverySpellingIsTheInstant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		instant := time.Unix(rapid.Int64Range(0, hold.MaxTime/1e9).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos"))
		zone := time.FixedZone("", 60*rapid.IntRange(-23*60, 23*60).Draw(t, "offset"))
		layout := rapid.SampledFrom([]string{
			time.RFC3339Nano, "2006-01-02 15:04:05.999999999-07:00", "2006-01-02t15:04:05.000000000-0700", "2006-01-02 15:04:05.999999999 Z07:00",
		}).Draw(t, "layout")
		s := instant.In(zone).Format(layout)
		got, err := Reader{}.Parse(s)
		if err != nil || got.Seconds != instant.Unix() || int64(got.Nanos) != int64(instant.Nanosecond()) {
			t.Fatalf("%q: %+v, %v", s, got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"2026-01-01T00:00:00Z", "1767225600", "2026-01-01 00:00:00.5 +01", "-1.5", "1e9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, unit := range []Unit{Seconds, Milliseconds, Microseconds, Nanoseconds} {
			got, err := Reader{UTC: true, Unit: unit}.Parse(s)
			if err != nil && (got.Set || !errors.Is(err, hold.ErrTime)) || got.Nanos < 0 || got.Nanos > 999_999_999 {
				t.Errorf("%q: %+v, %v", s, got, err)
			}
		}
	})
}

// TestEveryDay compares the arithmetic of dates with that of the standard library.
func TestEveryDay(t *testing.T) {
	t.Parallel()
	for day := time.Date(-1, 12, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2500; day = day.AddDate(0, 0, 1) {
		if got := daysSinceEpoch(day.Year(), int(day.Month()), day.Day()); got*86400 != day.Unix() {
			t.Fatalf("%s is day %d, want %d", day, got, day.Unix()/86400)
		}
		if last := day.AddDate(0, 1, -day.Day()); day.Year() >= 0 && daysIn(day.Year(), int(day.Month())) != last.Day() {
			t.Fatalf("%s: the month has %d days", day, last.Day())
		}
	}
}
