package rows

import "holdmetrics/hold"

// Trim cuts white space off both ends of a cell, with no-break spaces and what has no
// width among it: what [hold.Draft.CheckStrict] refuses in an id.
func Trim(s string) string { return hold.TrimID(s) }

// Invisible reports whether a character is white space or has no width.
func Invisible(r rune) bool { return hold.Invisible(r) }
