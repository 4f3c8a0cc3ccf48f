package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// scoreRow is one line of stats and score: exact decimals in weight-seconds and seconds.
type scoreRow struct {
	Token       string `json:"token_id,omitempty"`
	Holder      string `json:"holder_id"`
	Score       string `json:"score"`
	Held        string `json:"held_seconds"`
	Settled     string `json:"settled_score"`
	SettledHeld string `json:"settled_held_seconds"`
}

var scoreColumns = []string{"token_id", "holder_id", "score", "held_seconds", "settled_score", "settled_held_seconds"}

// formats are the names that --format takes.
var formats = []string{"table", "csv", "json"}

func checkFormat(format string) error {
	if !slices.Contains(formats, format) {
		return usagef("--format %q is not one of %s", format, strings.Join(formats, ", "))
	}
	return nil
}

// scoreWriter writes rows in a format. Close it, also when there was no row.
type scoreWriter struct {
	buf     *bufio.Writer
	row     func(fields []string, r *scoreRow) error
	end     func() error
	byToken bool
	fields  []string
	rows    int
}

func newScoreWriter(out io.Writer, format string, byToken bool) (*scoreWriter, error) {
	w := &scoreWriter{buf: bufio.NewWriter(out), byToken: byToken}
	header := scoreColumns
	if !byToken {
		header = header[1:]
	}
	switch format {
	case "csv":
		c := csv.NewWriter(w.buf)
		w.row = func(fields []string, _ *scoreRow) error { return c.Write(fields) }
		w.end = func() error { c.Flush(); return c.Error() }
		return w, c.Write(header)
	case "json":
		w.row = func(_ []string, r *scoreRow) error {
			text, err := json.Marshal(r)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w.buf, "%s%s", map[bool]string{true: "[\n  ", false: ",\n  "}[w.rows == 0], text)
			return err
		}
		w.end = func() error {
			_, err := w.buf.WriteString(map[bool]string{true: "[]\n", false: "\n]\n"}[w.rows == 0])
			return err
		}
		return w, nil
	case "table":
		t := tabwriter.NewWriter(w.buf, 0, 0, 2, ' ', 0)
		line := func(fields []string) error {
			_, err := fmt.Fprintln(t, strings.Join(fields, "\t"))
			return err
		}
		w.row = func(fields []string, _ *scoreRow) error { return line(fields) }
		w.end = t.Flush
		return w, line(header)
	}
	return nil, checkFormat(format)
}

// Write writes a row.
func (w *scoreWriter) Write(r *scoreRow) error {
	w.fields = append(w.fields[:0], r.Token, r.Holder, r.Score, r.Held, r.Settled, r.SettledHeld)
	fields := w.fields
	if !w.byToken {
		fields = fields[1:]
	}
	err := w.row(fields, r)
	w.rows++
	return err
}

// Close writes what is left.
func (w *scoreWriter) Close() error {
	if err := w.end(); err != nil {
		return err
	}
	return w.buf.Flush()
}
