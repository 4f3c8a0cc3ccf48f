package rows

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted is how many bytes of a file an error shows at most.
const maxQuoted = 60

// Safe is a text with everything escaped that is not a visible character or a
// space, so that a text of a file or a client cannot move the cursor of a terminal,
// or look like another line of a log.
func Safe(s string) string {
	for _, r := range s {
		if !strconv.IsPrint(r) {
			quoted := strconv.Quote(s)
			return strings.ReplaceAll(strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`), `\\`, `\`)
		}
	}
	return s
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
