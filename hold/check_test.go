package hold_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"holdmetrics/hold"
)

// checkNow is the clock of the servers in these tests.
var checkNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano()

func goodDraft() hold.Draft {
	return hold.Draft{Token: "t", Holder: "h", Start: hold.Stamp{Seconds: 100, Set: true}, End: hold.Stamp{Seconds: 200, Set: true}}
}

func at(seconds int64, nanos int32) hold.Stamp {
	return hold.Stamp{Seconds: seconds, Nanos: nanos, Set: true}
}

// ahead is a stamp that much ahead of the clock.
func ahead(d time.Duration) hold.Stamp { return hold.StampOf(checkNow + int64(d)) }

var never hold.Stamp

// TestCheck walks section 6 of docs/semantics.md, each rule on both sides of its edge.
func TestCheck(t *testing.T) {
	t.Parallel()
	last := hold.MaxTime / 1e9
	tests := []struct {
		name  string
		set   func(d *hold.Draft)
		field string
		err   error
	}{
		{"good", func(d *hold.Draft) {}, "", nil},

		// "token_id and holder_id: required, valid UTF-8, no control characters
		// (Unicode Cc), 1 to 256 bytes. hold_id: optional (empty is absent), the
		// same."
		{"no token", func(d *hold.Draft) { d.Token = "" }, "token_id", hold.ErrRequired},
		{"no holder", func(d *hold.Draft) { d.Holder = "" }, "holder_id", hold.ErrRequired},
		{"no hold_id", func(d *hold.Draft) { d.HoldID = "" }, "", nil},
		{"token of 256 bytes", func(d *hold.Draft) { d.Token = strings.Repeat("a", 256) }, "", nil},
		{"token of 257 bytes", func(d *hold.Draft) { d.Token = strings.Repeat("a", 257) }, "token_id", hold.ErrTooLong},
		{"holder of 256 bytes", func(d *hold.Draft) { d.Holder = strings.Repeat("é", 128) }, "", nil},
		{"holder of 258 bytes in 129 letters", func(d *hold.Draft) { d.Holder = strings.Repeat("é", 129) }, "holder_id", hold.ErrTooLong},
		{"hold_id of 256 bytes", func(d *hold.Draft) { d.HoldID = strings.Repeat("a", 256) }, "", nil},
		{"hold_id of 257 bytes", func(d *hold.Draft) { d.HoldID = strings.Repeat("a", 257) }, "hold_id", hold.ErrTooLong},
		{"token not UTF-8", func(d *hold.Draft) { d.Token = "a\xff" }, "token_id", hold.ErrNotUTF8},
		{"holder is a half surrogate", func(d *hold.Draft) { d.Holder = "\xed\xa0\x80" }, "holder_id", hold.ErrNotUTF8},
		{"hold_id overlong", func(d *hold.Draft) { d.HoldID = "\xc0\x80" }, "hold_id", hold.ErrNotUTF8},
		{"spaces and marks are no control characters", func(d *hold.Draft) { d.Token, d.Holder = " ", "\u00a0\u200b\ufeff\u2028" }, "", nil},

		// "start is required except in a stop, the retract of one, and a retract
		// by id (a present start of zero is no stop)"
		{"neither start nor end", func(d *hold.Draft) { d.Start, d.End = never, never }, "start", hold.ErrRequired},
		{"neither, with an id", func(d *hold.Draft) { d.Start, d.End, d.HoldID = never, never, "a" }, "start", hold.ErrRequired},
		{"a stop", func(d *hold.Draft) { d.Start = never }, "", nil},
		{"a stop by id", func(d *hold.Draft) { d.Start, d.HoldID = never, "a" }, "", nil},
		{"retract a stop", func(d *hold.Draft) { d.Start, d.Retract = never, true }, "", nil},
		{"retract a stop by id", func(d *hold.Draft) { d.Start, d.Retract, d.HoldID = never, true, "a" }, "", nil},
		{"retract by id alone", func(d *hold.Draft) { d.Start, d.End, d.Retract, d.HoldID = never, never, true, "a" }, "", nil},
		{"retract by id with content", func(d *hold.Draft) { d.Retract, d.HoldID = true, "a" }, "", nil},
		{"retract of nothing", func(d *hold.Draft) { d.Start, d.End, d.Retract = never, never, true }, "start", hold.ErrRequired},
		{"retract an open hold", func(d *hold.Draft) { d.End, d.Retract = never, true }, "", nil},
		{"an open hold", func(d *hold.Draft) { d.End = never }, "", nil},

		// "An end at the epoch is an absent end; a start at the epoch, and any
		// time before it, is an error."
		{"end at the epoch", func(d *hold.Draft) { d.End = at(0, 0) }, "", nil},
		{"an end at the epoch is no stop", func(d *hold.Draft) { d.Start, d.End = never, at(0, 0) }, "start", hold.ErrRequired},
		{"start at the epoch", func(d *hold.Draft) { d.Start = at(0, 0) }, "start", hold.ErrTime},
		{"a present start of zero is no stop", func(d *hold.Draft) { d.Start = at(0, 0); d.HoldID = "a" }, "start", hold.ErrTime},
		{"nor is it one in a retract by id", func(d *hold.Draft) { d.Start, d.Retract, d.HoldID = at(0, 0), true, "a" }, "start", hold.ErrTime},
		{"start a nanosecond after the epoch", func(d *hold.Draft) { d.Start = at(0, 1) }, "", nil},
		{"end a nanosecond after the epoch", func(d *hold.Draft) { d.Start, d.End = never, at(0, 1) }, "", nil},
		{"start before the epoch", func(d *hold.Draft) { d.Start = at(-1, 999_999_999) }, "start", hold.ErrTime},
		{"end before the epoch", func(d *hold.Draft) { d.End = at(-1, 0) }, "end", hold.ErrTime},
		{"end just before the epoch", func(d *hold.Draft) { d.Start, d.End = never, at(-1, 999_999_999) }, "end", hold.ErrTime},
		{"the least seconds", func(d *hold.Draft) { d.Start = at(math.MinInt64, 0) }, "start", hold.ErrTime},
		{"the most seconds", func(d *hold.Draft) { d.Start = at(math.MaxInt64, 0) }, "start", hold.ErrTime},
		{"nanos below 0", func(d *hold.Draft) { d.Start = at(100, -1) }, "start", hold.ErrTime},
		{"nanos of a second", func(d *hold.Draft) { d.Start = at(100, 1_000_000_000) }, "start", hold.ErrTime},
		{"all nanos", func(d *hold.Draft) { d.Start = at(100, 999_999_999) }, "", nil},
		{"an end's nanos below 0", func(d *hold.Draft) { d.End = at(200, -1) }, "end", hold.ErrTime},
		{"zero seconds and bad nanos are no absent end", func(d *hold.Draft) { d.End = at(0, -1) }, "end", hold.ErrTime},

		// "end >= start; end absent means open; end == start is accepted and
		// scores zero."
		{"end at start", func(d *hold.Draft) { d.End = d.Start }, "", nil},
		{"end a nanosecond before start", func(d *hold.Draft) { d.End = at(99, 999_999_999) }, "end", hold.ErrOrder},
		{"end before start where it says nothing", func(d *hold.Draft) { d.End, d.Retract, d.HoldID = at(99, 0), true, "a" }, "end", hold.ErrOrder},

		// "start at most max_clock_skew (5 min) ahead; end at most max_future_end
		// ahead (5 min)"
		{"start five minutes ahead", func(d *hold.Draft) { d.Start, d.End = ahead(5*time.Minute), never }, "", nil},
		{"start a nanosecond more", func(d *hold.Draft) { d.Start, d.End = ahead(5*time.Minute+1), never }, "start", hold.ErrFuture},
		{"end five minutes ahead", func(d *hold.Draft) { d.End = ahead(5 * time.Minute) }, "", nil},
		{"end a nanosecond more", func(d *hold.Draft) { d.End = ahead(5*time.Minute + 1) }, "end", hold.ErrFuture},
		{"a stop five minutes ahead", func(d *hold.Draft) { d.Start, d.End = never, ahead(5*time.Minute) }, "", nil},
		{"a stop a nanosecond more", func(d *hold.Draft) { d.Start, d.End = never, ahead(5*time.Minute+1) }, "end", hold.ErrFuture},
		{"a retract by id checks its start, though it says nothing", func(d *hold.Draft) { d.Start, d.End, d.Retract, d.HoldID = ahead(time.Hour), never, true, "a" }, "start", hold.ErrFuture},

		// "Negative, NaN, infinite or too large is an error." "Every field is
		// checked, also where it says nothing."
		{"weight 1.5", func(d *hold.Draft) { d.Weight = 1.5 }, "", nil},
		{"weight -0", func(d *hold.Draft) { d.Weight = math.Copysign(0, -1) }, "", nil},
		{"weight below 0", func(d *hold.Draft) { d.Weight = -1 }, "weight", hold.ErrWeight},
		{"the least below 0", func(d *hold.Draft) { d.Weight = -math.SmallestNonzeroFloat64 }, "weight", hold.ErrWeight},
		{"weight NaN", func(d *hold.Draft) { d.Weight = math.NaN() }, "weight", hold.ErrWeight},
		{"weight infinite", func(d *hold.Draft) { d.Weight = math.Inf(1) }, "weight", hold.ErrWeight},
		{"weight infinite below 0", func(d *hold.Draft) { d.Weight = math.Inf(-1) }, "weight", hold.ErrWeight},
		{"weight 1e37", func(d *hold.Draft) { d.Weight = 1e37 }, "weight", hold.ErrWeight},
		{"the largest below 1e37", func(d *hold.Draft) { d.Weight = math.Nextafter(1e37, 0) }, "", nil},
		{"the largest double", func(d *hold.Draft) { d.Weight = math.MaxFloat64 }, "weight", hold.ErrWeight},
		{"a bad weight beside a good exact one", func(d *hold.Draft) { d.Weight, d.WeightExact = -1, "2" }, "weight", hold.ErrWeight},
		{"a bad weight in a stop", func(d *hold.Draft) { d.Start, d.Weight = never, -1 }, "weight", hold.ErrWeight},
		{"a bad exact weight in a stop", func(d *hold.Draft) { d.Start, d.WeightExact = never, "x" }, "weight_exact", hold.ErrWeight},
		{"a bad weight in a retract by id", func(d *hold.Draft) { d.Retract, d.HoldID, d.Weight = true, "a", math.NaN() }, "weight", hold.ErrWeight},

		// Order of nothing else: a bad field is found beside good ones.
		{"a bad hold_id in a stop", func(d *hold.Draft) { d.Start, d.HoldID = never, "\x00" }, "hold_id", hold.ErrControl},

		// "Times up to 2200"
		{"up to 2200", func(d *hold.Draft) { d.End = at(last, 0) }, "end", hold.ErrFuture},
		{"beyond 2200", func(d *hold.Draft) { d.Start = at(last, 1) }, "start", hold.ErrTime},
		{"a second beyond 2200", func(d *hold.Draft) { d.End = at(last+1, 0) }, "end", hold.ErrTime},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := goodDraft()
			test.set(&d)
			e, err := d.Check(checkNow, hold.DefaultLimits())
			requireFieldError(t, err, test.field, test.err)
			if err != nil && e != (hold.Event{}) {
				t.Errorf("an event beside an error: %+v", e)
			}
		})
	}
}

func requireFieldError(t *testing.T, err error, field string, sentinel error) {
	t.Helper()
	if sentinel == nil {
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		return
	}
	var fe *hold.FieldError
	if !errors.As(err, &fe) || !errors.Is(err, sentinel) || fe.Field != field {
		t.Fatalf("got %v, want field %s: %v", err, field, sentinel)
	}
	if !strings.Contains(err.Error(), field) {
		t.Errorf("%q does not name its field", err)
	}
}

// TestCheckControlCharacters: U+0000 to U+001F, U+007F and U+0080 to U+009F, in
// every id, and no other of the first thousand.
func TestCheckControlCharacters(t *testing.T) {
	t.Parallel()
	for r := rune(0); r < 1000; r++ {
		control := r <= 0x1f || r >= 0x7f && r <= 0x9f
		for field, set := range map[string]func(*hold.Draft, string){
			"token_id":  func(d *hold.Draft, id string) { d.Token = id },
			"holder_id": func(d *hold.Draft, id string) { d.Holder = id },
			"hold_id":   func(d *hold.Draft, id string) { d.HoldID = id },
		} {
			for _, id := range []string{string(r), "a" + string(r), string(r) + "é"} {
				d := goodDraft()
				set(&d, id)
				_, err := d.Check(checkNow, hold.DefaultLimits())
				if control {
					requireFieldError(t, err, field, hold.ErrControl)
				} else {
					requireFieldError(t, err, "", nil)
				}
			}
		}
	}
}

// TestCheckFarLimits: an end may lie as far ahead as the limits allow, up to 2200.
func TestCheckFarLimits(t *testing.T) {
	t.Parallel()
	last := hold.MaxTime / 1e9
	if want := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Unix(); last != want {
		t.Fatalf("the horizon is %d, want %d", last, want)
	}
	wide := hold.Limits{MaxClockSkew: int64(5 * time.Minute), MaxFutureEnd: math.MaxInt64}
	d := goodDraft()
	d.End = at(last, 0)
	e, err := d.Check(checkNow, wide)
	requireFieldError(t, err, "", nil)
	if e.End != hold.MaxTime {
		t.Errorf("end %d", e.End)
	}
	d.End = at(last, 1)
	_, err = d.Check(checkNow, wide)
	requireFieldError(t, err, "end", hold.ErrTime)
	d = goodDraft()
	d.Start, d.End = ahead(time.Hour), never
	_, err = d.Check(checkNow, wide)
	requireFieldError(t, err, "start", hold.ErrFuture)
	// "against the log's timestamp plus a minute"
	d.Start = ahead(6 * time.Minute)
	_, err = d.Check(checkNow, hold.DefaultLimits().Plus(int64(time.Minute)))
	requireFieldError(t, err, "", nil)
	d.Start = ahead(6*time.Minute + 1)
	_, err = d.Check(checkNow, hold.DefaultLimits().Plus(int64(time.Minute)))
	requireFieldError(t, err, "start", hold.ErrFuture)
}

// TestCheckWeight: what the forms of a weight come to.
func TestCheckWeight(t *testing.T) {
	t.Parallel()
	nines := strings.Repeat("9", 37)
	tests := []struct {
		name   string
		weight float64
		given  bool
		exact  string
		want   string // "none": not given
	}{
		{"nothing", 0, false, "", "none"},
		{"a double of 0 on the wire", 0, false, "", "none"},
		{"an explicit 0", 0, true, "", "0"},
		{"an explicit -0", math.Copysign(0, -1), true, "", "0"},
		{"a double", 2.5, false, "", "2.5"},
		{"a double that is no binary fraction", 0.1, false, "", "0.1"},
		{"exact beats the double", 2.5, true, "3", "3"},
		{"exact 0 beats the double", 2.5, true, "0", "0"},
		{"exact 0 is given", 0, false, "0.0", "0"},
		{"exact with zeros in front", 0, false, "007.50", "7.5"},
		{"37 digits and 18", 0, false, nines + ".999999999999999999", nines + ".999999999999999999"},
		{"37 zeros", 0, false, strings.Repeat("0", 37), "0"},
		{"18 decimals", 0, false, "0.000000000000000001", "0.000000000000000001"},
		{"half-even down", 1e-18 / 2, false, "", "0"},
		{"half-even up", 1.5e-18, false, "", "0.000000000000000002"},
		{"half-even to even", 2.5e-18, false, "", "0.000000000000000002"},
		{"above half", 2.5000000000000004e-18, false, "", "0.000000000000000003"},
		{"rounds to nothing and is given", 1e-30, false, "", "0"},
		{"the least double", math.SmallestNonzeroFloat64, false, "", "0"},
		{"the largest double below 1e37", math.Nextafter(1e37, 0), false, "", "9999999999999998000000000000000000000"},
		{"above 2^53", 1 << 60, false, "", "1152921504606847000"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := goodDraft()
			d.Weight, d.WeightGiven, d.WeightExact = test.weight, test.given, test.exact
			e, err := d.Check(checkNow, hold.DefaultLimits())
			requireFieldError(t, err, "", nil)
			got := "none"
			if e.HasWeight {
				got = e.Weight.String()
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if !e.HasWeight && !e.Weight.IsZero() {
				t.Errorf("a weight that was not given: %s", e.Weight)
			}
		})
	}
	for _, bad := range []string{
		"1.", ".5", ".", "+1", "-1", "-0", "1e3", "1E3", " 1", "1 ", "1_000", "1,5", "0x1", "Inf", "NaN", "1.2.3", "1..2", "١",
		strings.Repeat("1", 38), strings.Repeat("0", 38), "1." + strings.Repeat("0", 19), "0.1234567890123456789", "1.-1", "1.5\n",
	} {
		d := goodDraft()
		d.WeightExact = bad
		_, err := d.Check(checkNow, hold.DefaultLimits())
		requireFieldError(t, err, "weight_exact", hold.ErrWeight)
	}
}

// TestFactOfEvent: which fact each shape of an event says, by the text.
func TestFactOfEvent(t *testing.T) {
	t.Parallel()
	w := hold.Weight{7}
	for _, start := range []int64{0, 5} {
		for _, end := range []int64{0, 5, 9} {
			for _, id := range []string{"", "a"} {
				for _, retract := range []bool{false, true} {
					if start == 0 && end == 0 && (!retract || id == "") {
						continue // refused
					}
					for _, weight := range []bool{false, true} {
						e := hold.Event{Token: "t", Holder: "h", HoldID: id, Start: start, End: end, Revision: 3, Retract: retract, HasWeight: weight}
						if weight {
							e.Weight = w
						}
						if got, want := e.Fact(), modelFact(e); got != want {
							t.Errorf("%+v says %+v, want %+v", e, got, want)
						}
					}
				}
			}
		}
	}
}
