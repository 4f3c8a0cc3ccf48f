// Package events reads hold events from files: CSV, JSON or Parquet, whose columns
// are the fields of POST /hold.
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
	"holdmetrics/ingest/numbers"
	"holdmetrics/ingest/rows"
	"holdmetrics/ingest/times"
)

// Reader reads files of events. It is not safe for concurrent use.
type Reader struct {
	// Read is called with each count of bytes taken from the disk; it may be nil.
	Read func(n int)
	// Bad is called with each row that is no event, which is then skipped. If Bad
	// is nil, the first such row ends the reading.
	Bad func(*rows.Error)
	// Times reads start and end, Numbers the weights.
	Times   times.Reader
	Numbers numbers.Format

	stops        stops
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
// A row that cannot be told from its neighbours (an open quote, a line without end,
// damaged gzip) is such an error, whatever Bad says.
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
	kind, err := f.Kind()
	if err != nil {
		return false, err
	}
	var next func(*rows.Event) error
	if kind == rows.JSON && rows.LooksLikeLines(f) {
		next = r.nextJSON(f)
	} else {
		table, err := rows.NewTable(f)
		if err != nil {
			return false, err
		}
		defer table.Close()
		if next, err = r.nextRow(f, table); err != nil {
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
		err := ingest.DecodeJSONTimes(bytes.Clone(line), &e.Draft, r.Times.Parse)
		if err == nil {
			err = r.finish(&e.Draft)
		}
		if err != nil {
			return &badRow{&rows.Error{Place: place, Err: err}}
		}
		r.weigh(jsonWeight(line), e)
		return nil
	}
}

// forever is the first instant of 9999-12-31, which stands for an open end.
const forever = 253402214400

// finish makes a draft of a file as exact as an event has to be: ids without white
// space at their ends, a plain weight, and no end instead of one in 9999.
func (r *Reader) finish(d *hold.Draft) error {
	d.Token, d.Holder, d.HoldID = rows.Trim(d.Token), rows.Trim(d.Holder), rows.Trim(d.HoldID)
	if d.End.Set && d.End.Seconds >= forever {
		d.End = hold.Stamp{}
	}
	if d.WeightExact != "" {
		exact, err := r.Numbers.Exact(rows.Trim(d.WeightExact))
		if err != nil {
			return &hold.FieldError{Field: "weight_exact", Err: hold.ErrWeight, Detail: rows.Quote(d.WeightExact) + " " + err.Error()}
		}
		d.WeightExact = exact
	}
	return r.stops.check(d)
}

// weight reads a weight, which is a double.
func (r *Reader) weight(s string) (float64, bool, error) {
	if s == "" {
		return 0, false, nil
	}
	exact, err := r.Numbers.Exact(s)
	if err != nil {
		return ingest.ParseWeight(s) // which has its own words for it
	}
	for len(exact) > 1 && exact[0] == '0' && exact[1] != '.' {
		exact = exact[1:]
	}
	return ingest.ParseWeight(exact)
}

// set reads a cell of the column of that name into a draft.
func (r *Reader) set(d *hold.Draft, column, s string) (err error) {
	switch column {
	case "token_id":
		d.Token = s
	case "holder_id":
		d.Holder = s
	case "start":
		d.Start, err = r.Times.Parse(s)
	case "end":
		d.End, err = r.Times.Parse(s)
	case "weight":
		d.Weight, d.WeightGiven, err = r.weight(s)
	case "weight_exact":
		d.WeightExact = s
	case "hold_id":
		d.HoldID = s
	case "revision":
		d.Revision, err = ingest.ParseRevision(s)
	case "retract":
		d.Retract, err = ingest.ParseBool(strings.ToLower(s))
	}
	return ingest.InField(column, err)
}

var columnNames = []string{"token_id", "holder_id", "start", "end", "weight", "weight_exact", "hold_id", "revision", "retract"}

// checkHeader refuses columns that say nothing, and a file without ids.
func checkHeader(f *rows.File, table *rows.Table) error {
	for _, name := range table.Header() {
		if !slices.Contains(columnNames, name) {
			return &rows.Error{Place: rows.Place{File: f.Name(), Line: 1}, Err: fmt.Errorf("%w: unknown column %s; the columns are %s", rows.ErrHeader, rows.Quote(name), strings.Join(columnNames, ", "))}
		}
	}
	for _, name := range []string{"token_id", "holder_id"} {
		if _, err := table.Column(name); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) nextRow(f *rows.File, table *rows.Table) (func(*rows.Event) error, error) {
	if err := checkHeader(f, table); err != nil {
		return nil, err
	}
	width := len(table.Header())
	weight := slices.Index(table.Header(), "weight")
	return func(e *rows.Event) error {
		row, place, err := table.Next()
		var at *rows.Error
		if (errors.Is(err, rows.ErrFields) || errors.Is(err, rows.ErrRow)) && errors.As(err, &at) {
			return &badRow{at}
		}
		if err != nil {
			return err
		}
		if len(row) > width {
			if err := checkHeader(f, table); err != nil {
				return err
			}
			width, weight = len(row), slices.Index(table.Header(), "weight")
		}
		e.Place = place
		e.Draft = hold.Draft{}
		for i, text := range row {
			if err := r.set(&e.Draft, table.Header()[i], text); err != nil {
				return &badRow{&rows.Error{Place: place, Err: err}}
			}
		}
		if err := r.finish(&e.Draft); err != nil {
			return &badRow{&rows.Error{Place: place, Err: err}}
		}
		if weight >= 0 {
			r.weigh(row[weight], e)
		}
		return nil
	}, nil
}
