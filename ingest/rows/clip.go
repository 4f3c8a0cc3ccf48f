package rows

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"holdmetrics/hold"
)

// maxQuoted is how many bytes of a file an error shows at most.
const maxQuoted = 60

// Safe is a text with everything escaped that is not a visible character or a
// space, so that a text of a file or a client cannot move the cursor of a terminal,
// or look like another line of a log.
func Safe(s string) string {
	if utf8.ValidString(s) && strings.IndexFunc(s, unseen) < 0 {
		return s
	}
	return escape(s)
}

// unseen reports whether a terminal shows nothing for a character, or another one.
func unseen(r rune) bool { return !strconv.IsPrint(r) || r != ' ' && hold.Invisible(r) }

// escape escapes the characters of a text that cannot be seen.
func escape(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch _, size := utf8.DecodeRuneInString(s[i:]); {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !unseen(r):
			b.WriteRune(r)
		case r < utf8.RuneSelf || !strconv.IsPrint(r):
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			fmt.Fprintf(&b, `\u%04x`, r) // Go takes fillers for printable
		}
	}
	return b.String()
}

// Clip is a text of a file, safe to print and short enough for an error.
func Clip(s string) string { return Safe(clip(s)) }

func clip(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}

// Quote is a text of a file in quotes, short enough for an error. What cannot
// be printed is escaped.
func Quote(s string) string { return strconv.Quote(clip(s)) }

// List is as many of the names, with commas between, as an error has room for.
func List(names []string) string {
	list := Clip(names[0])
	for _, name := range names[1:] {
		if name = Clip(name); len(list)+len(name) > 2*maxQuoted {
			return list + ", ..."
		}
		list += ", " + name
	}
	return list
}

// Visible is a whole text with everything escaped that cannot be seen, spaces of
// other kinds than the plain one among it.
func Visible(s string) string {
	quoted := strconv.QuoteToASCII(s)
	if strings.IndexFunc(s, func(r rune) bool { return Invisible(r) && r != ' ' || !strconv.IsPrint(r) }) < 0 {
		quoted = strconv.Quote(s)
	}
	return quoted[1 : len(quoted)-1]
}
