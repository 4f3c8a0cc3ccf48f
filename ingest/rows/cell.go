package rows

import (
	"strings"
	"unicode"
)

// Trim cuts white space off both ends of a cell, with no-break spaces and what
// has no width among it.
func Trim(s string) string {
	if s == "" || plainByte(s[0]) && plainByte(s[len(s)-1]) {
		return s
	}
	return strings.TrimFunc(s, Invisible)
}

// plainByte reports whether a byte is a visible character by itself.
func plainByte(b byte) bool { return b > ' ' && b < 0x7f }

// Invisible reports whether a character is white space or has no width.
func Invisible(r rune) bool {
	switch r {
	case '\u00ad', '\u034f', '\u061c', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u180e', '\u3164', '\uffa0', '\ufeff':
		return true
	}
	// Zero-width characters, marks of direction, invisible operators, variation selectors.
	if r >= '\u200b' && r <= '\u200f' || r >= '\u202a' && r <= '\u202e' || r >= '\u2060' && r <= '\u206f' || r >= '\ufe00' && r <= '\ufe0f' {
		return true
	}
	return unicode.IsSpace(r)
}
