package rows

import "holdmetrics/hold"

// Trim cuts white space off both ends of a cell, with no-break spaces and what has no
// width among it: what [hold.Draft.CheckStrict] refuses in an id.
func Trim(s string) string { return hold.TrimID(s) }

// Invisible reports whether a character cannot be seen: white space, what has no width,
// and variation selectors.
func Invisible(r rune) bool {
	return hold.Invisible(r) || r >= '\ufe00' && r <= '\ufe0f'
}
