package rows

import (
	"io"
	"strings"
	"unicode/utf8"

	"holdmetrics/hold"
)

// A spreadsheet takes a cell of a CSV file for a formula if it begins with one of a few
// characters. An id is a text of a stranger, so a formula in it would run on the machine
// that opens a download. [CSVWriter] puts an apostrophe before such a cell, and reading
// takes it off again. A cell that is a number stays as it is, negative ones too: it
// computes nothing, and must stay a number.

// EscapeFormula returns a cell as a CSV file has it: with an apostrophe before it if a
// spreadsheet would take it for a formula, or if [unescapeFormula] would change it.
func EscapeFormula(s string) string {
	if s == "" || !startsLikeFormula(s[0]) || isNumber(s) || !isFormula(s) {
		return s
	}
	return "'" + s
}

// unescapeFormula takes off the apostrophe that [EscapeFormula] has put before a cell.
func unescapeFormula(s string) string {
	if s == "" || s[0] != '\'' || !isFormula(s) {
		return s
	}
	return s[1:]
}

// cell returns a cell of a CSV file without white space around it and without the
// apostrophe that makes it a text.
func cell(s string) string { return unescapeFormula(Trim(s)) }

// startsLikeFormula reports whether a text that begins with a byte may be a formula. It
// rules out most ids by their first byte.
func startsLikeFormula(b byte) bool {
	switch b {
	case '=', '+', '-', '@', '\'':
		return true
	}
	return b <= ' ' || b >= utf8.RuneSelf
}

// isFormula reports whether a text begins with what begins a formula, after any
// apostrophes, white space and characters without width. The wide forms count too: a
// spreadsheet of a language that writes them takes them for the plain ones.
func isFormula(s string) bool {
	s = strings.TrimLeft(s, "'")
	if s != "" && (s[0] == '\t' || s[0] == '\r' || s[0] == '\n') {
		return true
	}
	r, _ := utf8.DecodeRuneInString(strings.TrimLeftFunc(s, hold.Invisible))
	switch r {
	case '=', '+', '-', '@', '\uff1d', '\uff0b', '\uff0d', '\uff20':
		return true
	}
	return false
}

// isNumber reports whether a text is a decimal number: a sign, digits with at most one
// point among them, and an exponent.
func isNumber(s string) bool {
	mantissa, exponent, ok := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(unsigned(mantissa), ".")
	return areDigits(whole+fraction) && (!ok || areDigits(unsigned(exponent)))
}

func unsigned(s string) string {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		return s[1:]
	}
	return s
}

func areDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// CSVWriter writes rows of CSV in which no cell is a formula. A cell with a character that
// some spreadsheets take for a separator is quoted, so that its second half does not
// become a cell of its own. Call Flush at the end.
type CSVWriter struct {
	out io.Writer
	buf []byte
	err error
}

// NewCSVWriter returns a writer of rows.
func NewCSVWriter(out io.Writer) *CSVWriter { return &CSVWriter{out: out} }

// csvBuffer is how much a [CSVWriter] keeps back at most.
const csvBuffer = 4 << 10

// Write writes a row. It keeps the error for [CSVWriter.Error].
func (w *CSVWriter) Write(fields []string) error {
	for i, field := range fields {
		if i > 0 {
			w.buf = append(w.buf, ',')
		}
		w.buf = appendCell(w.buf, EscapeFormula(field))
	}
	if len(fields) == 1 && fields[0] == "" {
		w.buf = append(w.buf, `""`...) // an empty line is no row
	}
	w.buf = append(w.buf, '\n')
	if len(w.buf) >= csvBuffer {
		w.Flush()
	}
	return w.err
}

// Flush writes what is left.
func (w *CSVWriter) Flush() {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.out.Write(w.buf)
	}
	w.buf = w.buf[:0]
}

// Error returns the first error of Write or Flush, or nil.
func (w *CSVWriter) Error() error { return w.err }

// appendCell appends a cell, in quotes if it needs them.
func appendCell(b []byte, s string) []byte {
	if !strings.ContainsAny(s, ",;|\t\"\r\n") && strings.TrimFunc(s, hold.Invisible) == s && s != `\.` {
		return append(b, s...)
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(s, `"`, `""`)...)
	return append(b, '"')
}
