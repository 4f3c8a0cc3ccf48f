package hold

import (
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"holdmetrics/hold/internal/coding"
)

// maxID is the longest id, in bytes (S6.1).
const maxID = 256

// MaxTime is the latest instant that an event may name: 2200-01-01T00:00:00Z (S6.6).
const MaxTime = coding.MaxTime

// Stamp is a time as it was received. It is not validated.
type Stamp struct {
	Seconds int64
	Nanos   int32
	Set     bool // false: the field is absent
}

// StampOf returns the stamp of ns nanoseconds since the epoch.
func StampOf(ns int64) Stamp {
	seconds, nanos := ns/1e9, ns%1e9
	if nanos < 0 {
		seconds, nanos = seconds-1, nanos+1e9
	}
	return Stamp{Seconds: seconds, Nanos: int32(nanos), Set: true}
}

// Draft is an event as it was received. It is not validated; see [Draft.Check].
type Draft struct {
	Token, Holder, HoldID string
	Start, End            Stamp
	Weight                float64
	WeightGiven           bool   // a Weight of 0 was stated, not left out; any other Weight counts as stated
	WeightExact           string // takes precedence over Weight
	Revision              uint64
	Retract               bool
}

// Limits bounds how far ahead of the clock an event may reach, in nanoseconds (S6.7).
type Limits struct {
	MaxClockSkew int64 // of a start
	MaxFutureEnd int64 // of an end
}

// DefaultLimits returns limits of five minutes each.
func DefaultLimits() Limits {
	return Limits{MaxClockSkew: int64(5 * time.Minute), MaxFutureEnd: int64(5 * time.Minute)}
}

// Plus returns the limits, each raised by ns nanoseconds.
func (l Limits) Plus(ns int64) Limits {
	return Limits{MaxClockSkew: l.MaxClockSkew + ns, MaxFutureEnd: l.MaxFutureEnd + ns}
}

// Event is an accepted event. It shares the strings of its draft.
type Event struct {
	Token, Holder, HoldID string
	Start, End            int64 // ns; 0: absent
	Weight                Weight
	HasWeight             bool
	Revision              uint64
	Retract               bool
}

// Check validates the draft and returns it as an event (docs/semantics.md, section 6).
// The error is a [*FieldError] with the field and the reason (S6.10). now is the caller's
// clock in nanoseconds since the epoch. Every field is checked, used or not (S6.2). Check is the only implementation of these
// rules. Every server calls it, and the processor calls it again.
func (d *Draft) Check(now int64, lim Limits) (Event, error) {
	e := Event{Token: d.Token, Holder: d.Holder, HoldID: d.HoldID, Revision: d.Revision, Retract: d.Retract}
	if err := checkID("token_id", d.Token, true); err != nil {
		return Event{}, err
	}
	if err := checkID("holder_id", d.Holder, true); err != nil {
		return Event{}, err
	}
	if err := checkID("hold_id", d.HoldID, false); err != nil {
		return Event{}, err
	}
	var err error
	if d.End.Set && (d.End.Seconds != 0 || d.End.Nanos != 0) { // S6.3
		if e.End, err = checkTime("end", d.End, now, lim.MaxFutureEnd); err != nil {
			return Event{}, err
		}
	}
	switch {
	case d.Start.Set:
		if e.Start, err = checkTime("start", d.Start, now, lim.MaxClockSkew); err != nil {
			return Event{}, err
		}
		if e.End != 0 && e.End < e.Start { // S6.5
			return Event{}, &FieldError{Field: "end", Err: ErrOrder, Detail: formatTime(e.End) + " is before " + formatTime(e.Start)}
		}
	case e.End == 0 && !(d.Retract && d.HoldID != ""): // S6.4
		return Event{}, &FieldError{Field: "start", Err: ErrRequired, Detail: "only a stop (an end alone) and a retract by hold_id go without"}
	}
	if e.Weight, e.HasWeight, err = d.weight(); err != nil {
		return Event{}, err
	}
	return e, nil
}

// AcceptedBy returns a [*FieldError] if the rules refuse the draft (S6.11), or nil.
// It does not replace Check.
func (d *Draft) AcceptedBy(rules Rules) error {
	if d.HoldID != "" {
		return nil // no rule asks for more
	}
	return rules.Of(rules.Token(d.Token)).Accepts(d.HoldID)
}

// weight reads both forms of the weight (S6.9). Both are checked, even if only one counts.
func (d *Draft) weight() (Weight, bool, error) {
	w, err := WeightFromFloat(d.Weight)
	if err != nil {
		return Weight{}, false, fieldError("weight", err)
	}
	given := d.WeightGiven || d.Weight != 0
	if d.WeightExact != "" {
		if w, err = ParseWeight(d.WeightExact); err != nil {
			return Weight{}, false, fieldError("weight_exact", err)
		}
		given = true
	}
	return w, given, nil
}

// fieldError turns an error of a weight into a [*FieldError] of the field.
func fieldError(field string, err error) error {
	_, detail, _ := strings.Cut(err.Error(), ": ")
	if !errors.Is(err, ErrWeight) {
		detail = err.Error()
	}
	return &FieldError{Field: field, Err: ErrWeight, Detail: detail}
}

// CheckID returns a [*FieldError] of the field if no event may have the id, or nil.
func CheckID(field, id string) error { return checkID(field, id, true) }

func checkID(field, id string, required bool) error {
	if id == "" {
		if required {
			return &FieldError{Field: field, Err: ErrRequired}
		}
		return nil
	}
	if len(id) > maxID {
		return &FieldError{Field: field, Err: ErrTooLong, Detail: strconv.Itoa(len(id)) + " bytes"}
	}
	// Almost all ids are ASCII. For them one comparison a byte is enough.
	for i := 0; i < len(id); i++ {
		if c := id[i]; c < 0x20 || c >= 0x7f {
			return checkRunes(field, id)
		}
	}
	return nil
}

func checkRunes(field, id string) error {
	if !utf8.ValidString(id) {
		return &FieldError{Field: field, Err: ErrNotUTF8}
	}
	for i, r := range id {
		if unicode.IsControl(r) {
			return &FieldError{Field: field, Err: ErrControl, Detail: strconv.QuoteRuneToASCII(r) + " at byte " + strconv.Itoa(i)}
		}
	}
	return nil
}

func checkTime(field string, t Stamp, now, ahead int64) (int64, error) {
	if t.Nanos < 0 || t.Nanos > 999_999_999 {
		return 0, &FieldError{Field: field, Err: ErrTime, Detail: strconv.Itoa(int(t.Nanos)) + " nanoseconds"}
	}
	if t.Seconds < 0 || t.Seconds == 0 && t.Nanos == 0 || t.Seconds > MaxTime/1e9 { // S6.3, S6.6
		return 0, &FieldError{Field: field, Err: ErrTime, Detail: strconv.FormatInt(t.Seconds, 10) + " seconds since the epoch"}
	}
	ns := t.Seconds*1e9 + int64(t.Nanos)
	if ns > MaxTime {
		return 0, &FieldError{Field: field, Err: ErrTime, Detail: formatTime(ns)}
	}
	if ns > now && ns-now > ahead { // S6.7
		return 0, &FieldError{Field: field, Err: ErrFuture, Detail: formatTime(ns) + " is more than " + time.Duration(ahead).String() + " ahead of " + formatTime(now)}
	}
	return ns, nil
}

func formatTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }
