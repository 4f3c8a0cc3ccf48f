package rows

import (
	"errors"
	"fmt"
	"slices"
)

var (
	// ErrHeader means that the columns of a file are not those that are needed.
	ErrHeader = errors.New("the header does not fit")
	// ErrFields means that a row is not as long as the header. The rows after it can be read.
	ErrFields = errors.New("the row has another number of fields than the header")
	// ErrRow means that a row is damaged. The rows after it can be read.
	ErrRow = errors.New("the row is damaged")
)

// Table is a file as rows of named cells: CSV with a header, JSON objects, or
// Parquet. White space around a cell is cut off; a cell that is absent is empty.
//
// The names of nested objects are joined with points (a.b), and a list is the JSON
// text of its elements ([7,8]).
type Table struct {
	file   *File
	header []string
	source tableSource
	owner  bool // Close closes the file
}

// tableSource reads the rows of one kind of file. A row may be shorter than the
// header; next may append to the header.
type tableSource interface {
	next() ([]string, Place, error)
	repeated() int64
	close() error
}

// OpenTable opens a file as [Open] does and reads its header. [Table.Close] closes the
// file.
func OpenTable(name string, read func(n int)) (*Table, error) {
	f, err := Open(name, read)
	if err != nil {
		return nil, err
	}
	t, err := NewTable(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t.owner = true
	return t, nil
}

// NewTable reads the header of a file. The file stays the caller's to close, after
// the table.
func NewTable(f *File) (*Table, error) {
	kind, err := f.Kind()
	if err != nil {
		return nil, err
	}
	t := &Table{file: f}
	switch kind {
	case JSON:
		err = t.openJSON()
	case Parquet:
		err = t.openParquet()
	default:
		err = t.openCSV()
	}
	if err != nil {
		return nil, err
	}
	for i, name := range t.header {
		if slices.Contains(t.header[:i], name) && name != "" {
			return nil, errors.Join(&Error{Place{f.name, 1}, fmt.Errorf("%w: column %s is there twice", ErrHeader, Quote(name))}, t.Close())
		}
	}
	return t, nil
}

// Header returns the names of the columns. Rows of JSON may add names while they
// are read, so look again when a row is longer than the header was.
func (t *Table) Header() []string { return t.header }

// Column returns the index of the column of that name.
func (t *Table) Column(name string) (int, error) {
	if i := slices.Index(t.header, name); i >= 0 {
		return i, nil
	}
	return 0, &Error{Place{t.file.name, 1}, fmt.Errorf("%w: no column %s among %s", ErrHeader, Quote(name), List(t.header))}
}

// Next reads the next row; at the end the error is io.EOF. The row has a cell for
// each name of [Table.Header]. The row is valid until the next call; its strings
// stay valid, but keep the memory of the whole row, so clone what is kept long.
// After an error that matches [ErrFields] or [ErrRow] the next row can be read; any
// other ends the table.
func (t *Table) Next() ([]string, Place, error) { return t.source.next() }

// Repeated is the number of header lines that were passed over within the file.
func (t *Table) Repeated() int64 { return t.source.repeated() }

// File is the name of the file, for messages.
func (t *Table) File() string { return t.file.Name() }

// Close releases what the table holds beside the file, and the file if the table opened it.
func (t *Table) Close() error {
	err := t.source.close()
	if t.owner {
		err = errors.Join(err, t.file.Close())
	}
	return err
}
