// Package events reads hold events from files: CSV with a header, or one JSON
// object a line. The fields are those of POST /hold.
package events

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/rows"
)

// Reader reads files of events. It is not safe for concurrent use.
type Reader struct {
	// Read is told of every count of bytes taken from the disk; it may be nil.
	Read func(n int)
	// Bad is told of each row that is no event, which is then passed over. Where it
	// is nil, the first such row ends the reading.
	Bad func(*rows.Error)

	rows         int64
	inexact      int64
	firstInexact rows.Place
}

// Rows is how many rows were read, bad ones included.
func (r *Reader) Rows() int64 { return r.rows }

// Inexact is how many weights had more digits than a double keeps and counted,
// and where the first of them stands.
func (r *Reader) Inexact() (int64, rows.Place) { return r.inexact, r.firstInexact }

// Events reads the files one after the other and yields an event a row,
// unchecked. An error is the last thing yielded; it names file and line.
// A file whose first character is { is JSON, any other is CSV. A row that cannot
// be told from its neighbours (an open quote, a line without end, damaged gzip)
// is such an error, whatever Bad says.
func (r *Reader) Events(ctx context.Context, files ...string) iter.Seq2[rows.Event, error] {
	return func(yield func(rows.Event, error) bool) {
		for _, name := range files {
			more, err := r.readFile(ctx, name, func(e rows.Event) bool { return yield(e, nil) })
			if err != nil {
				yield(rows.Event{}, err)
				return
			}
			if !more {
				return
			}
		}
	}
}

func (r *Reader) readFile(ctx context.Context, name string, emit func(rows.Event) bool) (bool, error) {
	f, err := rows.Open(name, r.Read)
	if err != nil {
		return false, err
	}
	defer f.Close()
	head, err := f.Peek(4 << 10)
	if err != nil {
		return false, err
	}
	next := r.nextJSON(f)
	if head = bytes.TrimLeft(head, " \t\r\n"); len(head) == 0 || head[0] != '{' {
		if next, err = r.nextCSV(f); err != nil {
			return false, err
		}
	}
	for {
		if r.rows%1024 == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		var e rows.Event
		err := next(&e)
		if err == io.EOF {
			return true, nil
		}
		var bad *badRow
		if errors.As(err, &bad) && r.Bad != nil {
			r.rows++
			r.Bad(bad.row)
			continue
		}
		if err != nil {
			return false, err
		}
		r.rows++
		if !emit(e) {
			return false, nil
		}
	}
}

// badRow is a row that is no event and that the next one can be read after.
type badRow struct{ row *rows.Error }

func (b *badRow) Error() string { return b.row.Error() }
func (b *badRow) Unwrap() error { return b.row }

// weigh takes notice of a weight whose text is not the double that it became.
func (r *Reader) weigh(text string, e *rows.Event) {
	if e.Draft.WeightExact != "" || isDouble(text) {
		return
	}
	if r.inexact++; r.inexact == 1 {
		r.firstInexact = e.Place
	}
}

func (r *Reader) nextJSON(f *rows.File) func(*rows.Event) error {
	lines := rows.NewLines(f)
	return func(e *rows.Event) error {
		line, place, ok := lines.Next()
		if !ok {
			if err := lines.Err(); err != nil {
				return err
			}
			return io.EOF
		}
		e.Place = place
		// The draft's strings alias the line, which the next one overwrites.
		if err := ingest.DecodeJSON(bytes.Clone(line), &e.Draft); err != nil {
			return &badRow{&rows.Error{Place: place, Err: err}}
		}
		r.weigh(jsonWeight(line), e)
		return nil
	}
}

// setters read one field each from the text of a CSV field.
var setters = []struct {
	name string
	set  func(d *hold.Draft, s string) error
}{
	{"token_id", func(d *hold.Draft, s string) error { d.Token = s; return nil }},
	{"holder_id", func(d *hold.Draft, s string) error { d.Holder = s; return nil }},
	{"start", func(d *hold.Draft, s string) (err error) { d.Start, err = ingest.ParseTime(s); return }},
	{"end", func(d *hold.Draft, s string) (err error) { d.End, err = ingest.ParseTime(s); return }},
	{"weight", func(d *hold.Draft, s string) (err error) {
		d.Weight, d.WeightGiven, err = ingest.ParseWeight(s)
		return
	}},
	{"weight_exact", func(d *hold.Draft, s string) error { d.WeightExact = s; return nil }},
	{"hold_id", func(d *hold.Draft, s string) error { d.HoldID = s; return nil }},
	{"revision", func(d *hold.Draft, s string) (err error) { d.Revision, err = ingest.ParseRevision(s); return }},
	{"retract", func(d *hold.Draft, s string) (err error) { d.Retract, err = ingest.ParseBool(s); return }},
}

func (r *Reader) nextCSV(f *rows.File) (func(*rows.Event) error, error) {
	table, err := rows.NewTable(f)
	if err != nil {
		return nil, err
	}
	columns := make([]int, len(table.Header())) // of setters
	for i, name := range table.Header() {
		columns[i] = -1
		names := make([]string, len(setters))
		for j := range setters {
			if names[j] = setters[j].name; names[j] == name {
				columns[i] = j
			}
		}
		if columns[i] < 0 {
			return nil, &rows.Error{Place: rows.Place{File: f.Name(), Line: 1}, Err: fmt.Errorf("%w: unknown column %s; the columns are %s", rows.ErrHeader, rows.Quote(name), strings.Join(names, ", "))}
		}
	}
	for _, name := range []string{"token_id", "holder_id"} {
		if !slices.Contains(table.Header(), name) {
			_, err := table.Column(name)
			return nil, err
		}
	}
	weight := slices.Index(table.Header(), "weight")
	return func(e *rows.Event) error {
		row, place, err := table.Next()
		var at *rows.Error
		if errors.Is(err, rows.ErrFields) && errors.As(err, &at) {
			return &badRow{at}
		}
		if err != nil {
			return err
		}
		e.Place = place
		for i, text := range row {
			field := &setters[columns[i]]
			if err := field.set(&e.Draft, text); err != nil {
				return &badRow{&rows.Error{Place: place, Err: ingest.InField(field.name, err)}}
			}
		}
		if weight >= 0 {
			r.weigh(row[weight], e)
		}
		return nil
	}, nil
}
