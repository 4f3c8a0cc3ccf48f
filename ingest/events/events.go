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
	// Lenient passes over every column that no event has. Without it that is an error,
	// unless the name begins with "_".
	Lenient bool
	// HoldIDFrom names the column whose text is the hold_id of events that have none.
	// An event without it is bad, and so is a stop, which would end nothing. Empty:
	// there is none.
	HoldIDFrom string

	stops        stops
	skipped      []Skipped
	rows         int64
	inexact      int64
	firstInexact rows.Place
}

// Rows is how many rows were read, bad ones included.
func (r *Reader) Rows() int64 { return r.rows }

// Inexact is how many weights had more digits than a double keeps and counted,
// and where the first of them stands.
func (r *Reader) Inexact() (int64, rows.Place) { return r.inexact, r.firstInexact }

// Skipped is a column that was passed over, and how often it had a value.
type Skipped struct {
	Name  string
	Count int64
}

// maxSkipped is how many names of columns are kept apart; the others are counted as
// one without a name.
const maxSkipped = 100

// Skipped returns the columns that were passed over, in the order of their first row.
func (r *Reader) Skipped() []Skipped { return r.skipped }

// skip counts a value of a column that is passed over.
func (r *Reader) skip(name string) {
	i := slices.IndexFunc(r.skipped, func(s Skipped) bool { return s.Name == name })
	if i < 0 {
		if i = len(r.skipped); i >= maxSkipped {
			name = ""
		}
		if i > maxSkipped {
			i = maxSkipped
		} else {
			r.skipped = append(r.skipped, Skipped{Name: strings.Clone(name)})
		}
	}
	r.skipped[i].Count++
}

// Events reads the files one after the other and yields an event a row,
// unchecked. An error is the last thing yielded; it names file and line.
// A row that cannot be separated from its neighbours (an open quote, a line without end,
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
	decoder := ingest.JSONReader{Times: r.Times.Parse, Lenient: r.Lenient, Pick: r.HoldIDFrom, Extended: true}
	decoder.Skipped = func(name string) {
		if name != r.HoldIDFrom {
			r.skip(name)
		}
	}
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
		err := decoder.Decode(bytes.Clone(line), &e.Draft)
		if err == nil {
			err = r.finish(&e.Draft, decoder.Picked)
		} else if errors.Is(err, ingest.ErrUnknownField) {
			err = fmt.Errorf("%w%s", err, meant(err))
		}
		if err != nil {
			return &badRow{&rows.Error{Place: place, Err: err}}
		}
		r.weigh(decoder.Weight, e)
		return nil
	}
}

// meant says what to do about a field that no event has.
func meant(err error) string {
	var field *hold.FieldError
	if errors.As(err, &field) {
		if name := written(field.Field); name != "" {
			return ": write " + name
		}
	}
	return "; --lenient ignores it"
}

// written returns the column that a name means in another spelling, such as tokenId, or
// "" if it means none.
func written(name string) string {
	separators := strings.NewReplacer("_", "", "-", "", " ", "")
	for _, column := range columnNames {
		if strings.EqualFold(separators.Replace(name), separators.Replace(column)) {
			return column
		}
	}
	return ""
}

// forever is the first instant of 9999-12-31, which stands for an open end.
const forever = 253402214400

// finish makes a draft of a file as exact as an event has to be: ids without white
// space at their ends, a plain weight, and no end instead of one in 9999.
// picked is the text of the column of hold_ids.
func (r *Reader) finish(d *hold.Draft, picked string) error {
	d.Token, d.Holder, d.HoldID = rows.Trim(d.Token), rows.Trim(d.Holder), rows.Trim(d.HoldID)
	if r.HoldIDFrom != "" && d.HoldID == "" {
		if err := r.pick(d, rows.Trim(picked)); err != nil {
			return err
		}
	}
	if err := r.tidy(d); err != nil {
		return err
	}
	return r.stops.check(d)
}

// tidy makes the weight of a draft plain, and leaves out an end in 9999.
func (r *Reader) tidy(d *hold.Draft) error {
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
	return nil
}

// Errors of [Reader.HoldIDFrom].
var (
	errNoHoldID   = errors.New("has no value to be the hold_id (--hold-id-from)")
	errStopHoldID = errors.New("cannot be the hold_id of a stop, which would end nothing: give the stop the hold_id of the hold that it ends")
)

// pick gives an event the hold_id of the column that has them.
func (r *Reader) pick(d *hold.Draft, picked string) error {
	switch {
	case picked == "":
		return &hold.FieldError{Field: r.HoldIDFrom, Err: errNoHoldID}
	case !d.Start.Set && d.End.Set:
		return &hold.FieldError{Field: r.HoldIDFrom, Err: errStopHoldID}
	}
	d.HoldID = picked
	return nil
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

// columns is where the columns of a table stand.
type columns struct {
	skipped []bool // by index
	holdID  int    // the column of Reader.HoldIDFrom, or -1
	weight  int    // -1: there is none
}

// columnsOf finds the columns of a header. It refuses those that no event has, and a
// file without ids.
func (r *Reader) columnsOf(f *rows.File, table *rows.Table) (columns, error) {
	header := table.Header()
	c := columns{skipped: make([]bool, len(header)), holdID: -1, weight: slices.Index(header, "weight")}
	fail := func(err error) (columns, error) {
		return c, &rows.Error{Place: rows.Place{File: f.Name(), Line: 1}, Err: err}
	}
	for i, name := range header {
		switch {
		case slices.Contains(columnNames, name):
		case name == r.HoldIDFrom, r.Lenient, strings.HasPrefix(name, "_"):
			c.skipped[i] = true
		default:
			if column := written(name); column != "" {
				return fail(fmt.Errorf("%w: unknown column %s: write %s", rows.ErrHeader, rows.Quote(name), column))
			}
			return fail(fmt.Errorf("%w: unknown column %s; the columns are %s; --lenient ignores others", rows.ErrHeader, rows.Quote(name), strings.Join(columnNames, ", ")))
		}
	}
	for _, name := range []string{"token_id", "holder_id"} {
		if _, err := table.Column(name); err != nil {
			return c, err
		}
	}
	if r.HoldIDFrom != "" {
		var err error
		if c.holdID, err = table.Column(r.HoldIDFrom); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (r *Reader) nextRow(f *rows.File, table *rows.Table) (func(*rows.Event) error, error) {
	columns, err := r.columnsOf(f, table)
	if err != nil {
		return nil, err
	}
	return func(e *rows.Event) error {
		row, place, err := table.Next()
		if err != nil {
			var at *rows.Error
			if (errors.Is(err, rows.ErrFields) || errors.Is(err, rows.ErrRow)) && errors.As(err, &at) {
				return &badRow{at}
			}
			return err
		}
		if len(row) > len(columns.skipped) {
			if columns, err = r.columnsOf(f, table); err != nil {
				return err
			}
		}
		e.Place = place
		e.Draft = hold.Draft{}
		for i, text := range row {
			if columns.skipped[i] {
				if text != "" && i != columns.holdID {
					r.skip(table.Header()[i])
				}
				continue
			}
			if err := r.set(&e.Draft, table.Header()[i], text); err != nil {
				return &badRow{&rows.Error{Place: place, Err: err}}
			}
		}
		picked := ""
		if columns.holdID >= 0 {
			picked = row[columns.holdID]
		}
		if err := r.finish(&e.Draft, picked); err != nil {
			return &badRow{&rows.Error{Place: place, Err: err}}
		}
		if columns.weight >= 0 {
			r.weigh(row[columns.weight], e)
		}
		return nil
	}, nil
}
