package hold

import (
	"strconv"
	"strings"
	"unicode"
)

// This file has the checks that servers and files make beyond [Draft.Check]. The
// processor does not make them, so a log that has such events reads as before.

// CheckStrict refuses a draft whose ids begin or end with white space (S6.12), with a
// [*FieldError]. It does not replace [Draft.Check].
func (d *Draft) CheckStrict() error {
	for _, id := range [...]struct{ field, value string }{
		{"token_id", d.Token}, {"holder_id", d.Holder}, {"hold_id", d.HoldID},
	} {
		if trimmed := TrimID(id.value); trimmed != id.value {
			return &FieldError{Field: id.field, Err: ErrSpace, Detail: strconv.QuoteToASCII(id.value)}
		}
	}
	return nil
}

// TrimID returns an id without white space at either end: that of Unicode, which
// includes no-break spaces, and zero-width characters.
func TrimID(id string) string { return strings.TrimFunc(id, isBlank) }

// isBlank reports whether a character cannot be seen at the end of an id.
func isBlank(r rune) bool {
	switch r {
	case '\u180e', '\u200b', '\u200c', '\u200d', '\u2060', '\ufeff':
		return true
	}
	return unicode.IsSpace(r)
}

// IsStop reports whether the event is a stop or the retract of one: an end without a
// start (S2.1).
func (e *Event) IsStop() bool { return e.Start == 0 && e.End != 0 }

// CheckStopWeight refuses a stop that carries a weight (S6.13), with a [*FieldError]:
// a stop ends the whole hold, so the weight says nothing. ends is the weight of the
// hold that the stop ends, or nil if that is not known; the same weight is accepted.
func (e *Event) CheckStopWeight(ends *Weight) error {
	if !e.IsStop() || !e.HasWeight || ends != nil && *ends == e.Weight {
		return nil
	}
	return &FieldError{Field: "weight", Err: ErrStopWeight}
}
