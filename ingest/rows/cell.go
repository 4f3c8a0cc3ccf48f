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
	case '\u00ad', '\u180e', '\u200b', '\u200c', '\u200d', '\u200e', '\u200f', '\u2060', '\ufeff':
		return true
	}
	return unicode.IsSpace(r)
}
