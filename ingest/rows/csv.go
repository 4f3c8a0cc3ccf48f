package rows

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// csvSource reads CSV. Lines without a quote are split here, which is several
// times faster than the general reader; from the first line with a quote on,
// encoding/csv reads the file.
type csvSource struct {
	table  *Table
	in     *bufio.Reader
	comma  byte
	line   int // of the last line read
	fields []string
	long   []byte // a line that is longer than the buffer of in

	quoted  *csv.Reader // nil before the first quote
	before  int         // lines before what quoted reads
	headers int64
}

// openCSV reads the header.
func (t *Table) openCSV() error {
	s := &csvSource{table: t, in: bufio.NewReaderSize(t.file, bufferSize)}
	t.source = s
	head, _ := s.in.Peek(bufferSize)
	if rest, ok := bytes.CutPrefix(head, []byte("sep=")); ok && len(rest) > 1 && (rest[1] == '\r' || rest[1] == '\n') {
		s.comma = rest[0] // a line that Excel writes
		_, _ = s.in.ReadSlice('\n')
		s.line++
	} else {
		s.comma = separator(head)
	}
	header, _, err := s.read()
	if err == io.EOF {
		return &Error{Place{t.file.name, 1}, fmt.Errorf("%w: the file is empty", ErrHeader)}
	}
	if err != nil {
		return err
	}
	for _, name := range header {
		t.header = append(t.header, strings.Clone(name))
	}
	if s.quoted != nil {
		s.quoted.FieldsPerRecord = len(t.header)
	}
	return nil
}

// separator is the character that stands between the columns of a header: of
// comma, semicolon, tab and bar the most frequent outside of quotes.
func separator(head []byte) byte {
	var counts [256]int
	quoted, seen := false, false
	for _, c := range head {
		if c == '"' {
			quoted = !quoted
		}
		if c == '\n' && !quoted && seen {
			break
		}
		if c != '\n' && c != '\r' {
			seen = true
		}
		if !quoted {
			counts[c]++
		}
	}
	best := byte(',')
	for _, c := range []byte{';', '\t', '|'} {
		if counts[c] > counts[best] {
			best = c
		}
	}
	return best
}

func (s *csvSource) repeated() int64 { return s.headers }

func (s *csvSource) close() error { return nil }

func (s *csvSource) next() ([]string, Place, error) {
	for {
		row, place, err := s.read()
		if err != nil {
			return nil, place, err
		}
		if row[0] == "" && len(row) > 1 && blank(row) {
			continue // as spreadsheets put them behind the last row
		}
		if row[0] == s.table.header[0] && slices.Equal(row, s.table.header) {
			s.headers++ // of a shard that was put behind another one
			continue
		}
		return row, place, nil
	}
}

func blank(row []string) bool {
	for _, c := range row {
		if c != "" {
			return false
		}
	}
	return true
}

// read reads a record.
func (s *csvSource) read() ([]string, Place, error) {
	if s.quoted != nil {
		return s.readQuoted()
	}
	for {
		line, err := s.readLine()
		if err != nil {
			return nil, Place{}, err
		}
		if len(line) == 0 || line[0] <= ' ' && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if bytes.IndexByte(line, '"') >= 0 {
			// The general reader begins with this line.
			s.before = s.line - 1
			first := append(bytes.Clone(line), '\n')
			s.quoted = csv.NewReader(io.MultiReader(bytes.NewReader(first), s.in))
			s.quoted.ReuseRecord = true
			s.quoted.Comma = rune(s.comma)
			s.quoted.FieldsPerRecord = len(s.table.header) // 0: that of the header
			return s.readQuoted()
		}
		return s.split(string(line))
	}
}

// readLine reads a line without its end.
func (s *csvSource) readLine() ([]byte, error) {
	line, err := s.in.ReadSlice('\n')
	if err == bufio.ErrBufferFull {
		s.long = append(s.long[:0], line...)
		for err == bufio.ErrBufferFull {
			line, err = s.in.ReadSlice('\n')
			s.long = append(s.long, line...)
		}
		line = s.long
	}
	if s.table.file.broken != nil && err != nil {
		return nil, s.table.file.breakage() // half a line says nothing
	}
	if err != nil && err != io.EOF {
		return nil, s.table.file.fail(s.line+1, err)
	}
	if err == io.EOF && len(line) == 0 {
		return nil, io.EOF
	}
	s.line++
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), nil
}

func (s *csvSource) split(line string) ([]string, Place, error) {
	place := Place{s.table.file.name, s.line}
	s.fields = s.fields[:0]
	for {
		i := strings.IndexByte(line, s.comma)
		if i < 0 {
			break
		}
		s.fields = append(s.fields, cell(line[:i]))
		line = line[i+1:]
	}
	s.fields = append(s.fields, cell(line))
	if n := len(s.table.header); n > 0 && len(s.fields) != n {
		return nil, place, &Error{place, fmt.Errorf("%w, which has %d", ErrFields, n)}
	}
	return s.fields, place, nil
}

func (s *csvSource) readQuoted() ([]string, Place, error) {
	row, err := s.quoted.Read()
	if err != nil {
		return nil, Place{}, s.fail(err)
	}
	line, _ := s.quoted.FieldPos(0)
	for i := range row {
		row[i] = cell(row[i])
	}
	return row, Place{s.table.file.name, s.before + line}, nil
}

func (s *csvSource) fail(err error) error {
	if s.table.file.broken != nil {
		return s.table.file.breakage()
	}
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return s.table.file.fail(0, err)
	}
	at := Place{s.table.file.name, s.before + parse.StartLine}
	switch {
	case errors.Is(err, csv.ErrFieldCount):
		err = fmt.Errorf("%w, which has %d", ErrFields, len(s.table.header))
	case parse.Line != parse.StartLine:
		// A quote that is never closed swallows the rest of the file.
		err = fmt.Errorf("the quotes of the row that starts here do not fit, as line %d shows: %w", s.before+parse.Line, parse.Err)
	default:
		err = fmt.Errorf("the quotes of the row that starts here do not fit: %w", parse.Err)
	}
	return &Error{at, err}
}
