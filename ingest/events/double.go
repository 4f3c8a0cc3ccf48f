package events

import (
	"bytes"
	"strconv"
	"strings"
)

// sureDigits is how many significant digits every double keeps.
const sureDigits = 15

// isDouble reports whether a number says no more than the double nearest to it,
// whose shortest decimal form is what a weight means. Text that is no number is
// somebody else's to refuse.
func isDouble(text string) bool {
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

// jsonWeight is the text of the number named "weight" in an event that was
// decoded, or "". In JSON without nesting that name with its quotes can be a
// value too, but only the name has a colon after it.
func jsonWeight(line []byte) string {
	for {
		_, rest, ok := bytes.Cut(line, []byte(`"weight"`))
		if !ok {
			return ""
		}
		line = rest
		number, ok := bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte(":"))
		if !ok {
			continue
		}
		number = bytes.TrimLeft(number, " \t\r\n")
		if end := bytes.IndexAny(number, ",} \t\r\n"); end >= 0 {
			number = number[:end]
		}
		return string(number)
	}
}
