package rows

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

var (
	// ErrHeader says that the header of a CSV file is not what is needed.
	ErrHeader = errors.New("the header does not fit")
	// ErrFields says that a row is not as long as the header. The rows after it can be read.
	ErrFields = errors.New("the row has another number of fields than the header")
)

// Table is a CSV file with a header.
type Table struct {
	file   *File
	csv    *csv.Reader
	header []string
}

// NewTable reads the header of a CSV file. The file stays the caller's to close.
func NewTable(f *File) (*Table, error) {
	t := &Table{file: f, csv: csv.NewReader(f)}
	t.csv.ReuseRecord = true
	header, err := t.csv.Read()
	if err == io.EOF {
		return nil, &Error{Place{f.name, 1}, fmt.Errorf("%w: the file is empty", ErrHeader)}
	}
	if err != nil {
		return nil, t.fail(err)
	}
	for _, name := range header {
		t.header = append(t.header, strings.TrimSpace(strings.Clone(name)))
	}
	for i, name := range t.header {
		if slices.Contains(t.header[:i], name) {
			return nil, &Error{Place{f.name, 1}, fmt.Errorf("%w: column %s is there twice", ErrHeader, Quote(name))}
		}
	}
	return t, nil
}

// Header is the names of the columns.
func (t *Table) Header() []string { return t.header }

// Column is the index of the column of that name.
func (t *Table) Column(name string) (int, error) {
	if i := slices.Index(t.header, name); i >= 0 {
		return i, nil
	}
	return 0, &Error{Place{t.file.name, 1}, fmt.Errorf("%w: no column %s among %s", ErrHeader, Quote(name), clipList(t.header))}
}

// Next reads the next row; at the end the error is io.EOF. The row is valid
// until the next call, its strings for good, but they hold on to the whole row:
// whoever keeps one clones it. After an error that matches [ErrFields] the next
// row can be read; any other is the last word.
func (t *Table) Next() ([]string, Place, error) {
	row, err := t.csv.Read()
	if err != nil {
		return nil, Place{}, t.fail(err)
	}
	line, _ := t.csv.FieldPos(0)
	return row, Place{t.file.name, line}, nil
}

func (t *Table) fail(err error) error {
	if t.file.broken != nil {
		return t.file.breakage()
	}
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return t.file.fail(0, err)
	}
	at := Place{t.file.name, parse.StartLine}
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		err = fmt.Errorf("%w, which has %d", ErrFields, len(t.header))
	case parse.Line != parse.StartLine:
		// A quote that is never closed swallows the rest of the file.
		err = fmt.Errorf("the quotes of the row that starts here do not fit, as line %d shows: %w", parse.Line, parse.Err)
	default:
		err = fmt.Errorf("the quotes of the row that starts here do not fit: %w", parse.Err)
	}
	return &Error{at, err}
}
