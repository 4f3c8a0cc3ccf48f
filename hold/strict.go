package hold

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
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

// TrimID returns an id without the characters at either end that [Invisible] reports,
// but with the variation selector of an emoji at its end, which is part of how one types
// it. Files are read without them.
func TrimID(id string) string {
	if id == "" || plainByte(id[0]) && plainByte(id[len(id)-1]) {
		return id
	}
	trimmed := strings.TrimFunc(id, Invisible)
	if end := len(id) - len(strings.TrimLeftFunc(id, Invisible)) + len(trimmed); end < len(id) {
		selector, width := utf8.DecodeRuneInString(id[end:])
		if last, _ := utf8.DecodeLastRuneInString(trimmed); isSelector(selector) && last > unicode.MaxASCII && !unicode.In(last, unicode.L, unicode.M, unicode.N) {
			return id[end-len(trimmed) : end+width]
		}
	}
	return trimmed
}

func isSelector(r rune) bool { return r >= '\ufe00' && r <= '\ufe0f' }

// plainByte reports whether a byte is a visible character by itself.
func plainByte(b byte) bool { return b > ' ' && b < 0x7f }

// Invisible reports whether a character is white space or has no width: the spaces of
// Unicode, no-break ones among them, joiners and non-joiners, marks of direction,
// invisible operators, fillers and variation selectors.
func Invisible(r rune) bool {
	switch r {
	case '\u00ad', '\u034f', '\u061c', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u180e', '\u3164', '\uffa0', '\ufeff':
		return true
	}
	if r >= '\u200b' && r <= '\u200f' || r >= '\u202a' && r <= '\u202e' || r >= '\u2060' && r <= '\u206f' || isSelector(r) {
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
