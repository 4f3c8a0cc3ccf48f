package events

import (
	"strconv"
	"strings"
)

// sureDigits is how many significant digits every double keeps.
const sureDigits = 15

// isDouble reports whether a number says no more than the double nearest to it,
// whose shortest decimal form is what a weight means. Text that is no number is
// somebody else's to refuse.
func isDouble(text string) bool {
	if len(text) <= sureDigits {
		return true
	}
	digits := significant(text)
	if len(digits) <= sureDigits {
		return true
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return true
	}
	// Two numbers that are as close as these have the same exponent where they have the same digits.
	return digits == significant(strconv.FormatFloat(f, 'e', -1, 64))
}

// significant is the digits of a number, without sign, point, exponent and
// zeros at the ends.
func significant(text string) string {
	text = strings.TrimPrefix(text, "-")
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		text = text[:i]
	}
	return strings.Trim(strings.Replace(text, ".", "", 1), "0")
}
