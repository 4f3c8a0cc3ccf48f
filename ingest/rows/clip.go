package rows

import (
	"strconv"
	"unicode/utf8"
)

// maxQuoted is how many bytes of a file an error shows at most.
const maxQuoted = 60

// Clip is a text of a file, short enough for an error.
func Clip(s string) string {
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
func Quote(s string) string { return strconv.Quote(Clip(s)) }

// clipList is as many of the names, with commas between, as an error has room for.
func clipList(names []string) string {
	list := Clip(names[0])
	for _, name := range names[1:] {
		if name = Clip(name); len(list)+len(name) > 2*maxQuoted {
			return list + ", ..."
		}
		list += ", " + name
	}
	return list
}
