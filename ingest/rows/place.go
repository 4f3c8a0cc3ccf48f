// Package rows reads import files row by row: CSV, JSON or Parquet, plain or compressed
// with gzip or zstd. Each row has the place where it was read. The importers share the
// package, and its type for the events that rows give.
//
// Nothing in it is safe for concurrent use. [Blocks] let several goroutines read one file,
// each with a reader of its own.
package rows

import (
	"strconv"

	"holdmetrics/hold"
)

// Place is the file and the line of a row.
type Place struct {
	File string
	Line int // from 1; 0: the file as a whole
}

// String is "file:line".
func (p Place) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line)
}

// Error is what is wrong with a row.
type Error struct {
	Place Place
	Err   error
}

// Error is one line that begins with "file:line: ".
func (e *Error) Error() string { return e.Place.String() + ": " + e.Err.Error() }

// Unwrap gives what is wrong.
func (e *Error) Unwrap() error { return e.Err }

// Event is one event that rows came to, unchecked, and the row to name when it
// is refused. Its strings stay valid.
type Event struct {
	Draft hold.Draft
	Place Place
}
