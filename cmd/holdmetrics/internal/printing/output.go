// Package printing writes what commands say: rows as a table, CSV or JSON, bars of
// progress, and counted nouns.
package printing

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode/utf16"
	"unicode/utf8"

	"holdmetrics/cmd/holdmetrics/internal/usage"
	"holdmetrics/ingest/rows"
)

// ScoreColumns are the columns of a score: exact decimals in weight-seconds and seconds.
var ScoreColumns = []string{"token_id", "holder_id", "score", "held_seconds", "settled_score", "settled_held_seconds"}

// formats are the names that --format takes.
var formats = []string{"table", "csv", "json"}

// CheckFormat returns a usage error unless format is a value of --format.
func CheckFormat(format string) error {
	if !slices.Contains(formats, format) {
		return usage.Errorf("--format %q is not one of %s", format, strings.Join(formats, ", "))
	}
	return nil
}

// RowWriter writes rows of texts in a format: a table, CSV, or a JSON array of
// objects keyed by column, without empty values. Close it, also if no row was written.
//
// What cannot be seen is escaped in tables and in JSON, and in CSV for a terminal, so
// that an id cannot move the cursor or turn the direction of a line. CSV for anything
// else has every text as it is, but for the apostrophe before a formula.
type RowWriter struct {
	buf     *bufio.Writer
	columns []string
	row     func(fields []string) error
	end     func() error
	Rows    int
}

// NewRowWriter returns a writer of rows in a format, after the names of the columns.
func NewRowWriter(out io.Writer, format string, columns []string) (*RowWriter, error) {
	w := &RowWriter{buf: bufio.NewWriter(out), columns: columns}
	switch format {
	case "csv":
		c := rows.NewCSVWriter(w.buf)
		w.row = c.Write
		if IsTerminal(out) {
			w.row = func(fields []string) error { return c.Write(safe(fields)) }
		}
		w.end = func() error { c.Flush(); return c.Error() }
		return w, c.Write(columns)
	case "json":
		w.row = func(fields []string) error {
			text, err := JSONRow(columns, fields)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w.buf, "%s%s", map[bool]string{true: "[\n  ", false: ",\n  "}[w.Rows == 0], text)
			return err
		}
		w.end = func() error {
			_, err := w.buf.WriteString(map[bool]string{true: "[]\n", false: "\n]\n"}[w.Rows == 0])
			return err
		}
		return w, nil
	case "table":
		t := tabwriter.NewWriter(w.buf, 0, 0, 2, ' ', 0)
		w.row = func(fields []string) error {
			_, err := fmt.Fprintln(t, strings.Join(safe(fields), "\t"))
			return err
		}
		w.end = t.Flush
		return w, w.row(columns)
	}
	return nil, CheckFormat(format)
}

// safe returns fields with everything escaped that cannot be seen.
func safe(fields []string) []string {
	shown := fields
	for i, field := range fields {
		text := rows.Safe(field)
		if text == field {
			continue
		}
		if &shown[0] == &fields[0] {
			shown = slices.Clone(fields)
		}
		shown[i] = text
	}
	return shown
}

// Write writes a row, a field a column.
func (w *RowWriter) Write(fields ...string) error {
	err := w.row(fields)
	w.Rows++
	return err
}

// Close writes what is left.
func (w *RowWriter) Close() error {
	if err := w.end(); err != nil {
		return err
	}
	return w.buf.Flush()
}

// countColumns are numbers in JSON too; scores are texts, since a double could not
// hold them.
var countColumns = map[string]bool{
	"rank": true, "position": true, "until": true, "lag": true, "partition": true, "index": true,
	"stored": true, "stored_lag": true, "published": true, "published_lag": true, "rejected": true,
	"count": true, "messages": true, "events": true, "bytes": true, "first": true, "last": true,
}

// ShownID is how many characters of an id a table shows, ShownReason of a reason. CSV
// and JSON have them whole.
const (
	ShownID     = 40
	ShownReason = 120
)

// Cut is the beginning of a text that is longer than a table shows.
func Cut(text string, most int) string {
	letters := 0
	for i := range text {
		if letters == most-1 && utf8.RuneCountInString(text[i:]) > 1 {
			return text[:i] + "…"
		}
		letters++
	}
	return text
}

// JSONRow is a row as a JSON object, in the order of the columns.
func JSONRow(columns, fields []string) ([]byte, error) {
	counts := func(column string) bool {
		// Of an event it is the reason, and beside a number of events their number.
		return countColumns[column] || column == "refused" && slices.Contains(columns, "events")
	}
	b := []byte{'{'}
	for i, field := range fields {
		if field == "" {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		text := []byte(field)
		if _, err := strconv.ParseUint(field, 10, 64); !counts(columns[i]) || err != nil {
			var err error
			if text, err = json.Marshal(field); err != nil {
				return nil, err
			}
			text = escapeJSON(text)
		}
		b = append(append(append(b, '"'), columns[i]...), `":`...)
		b = append(b, text...)
	}
	return append(b, '}'), nil
}

// escapeJSON escapes the characters of a JSON text that cannot be seen. The value stays
// the same.
func escapeJSON(text []byte) []byte {
	hidden := func(r rune) bool { return r != ' ' && !strconv.IsPrint(r) }
	if bytes.IndexFunc(text, hidden) < 0 {
		return text
	}
	var b []byte
	for _, r := range string(text) {
		switch {
		case !hidden(r):
			b = utf8.AppendRune(b, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return b
}
