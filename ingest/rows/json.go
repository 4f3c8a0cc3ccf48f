package rows

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

const (
	// maxValue is the longest JSON value that is read: an answer of a server with
	// all of its rows, or one row.
	maxValue = 256 << 20
	// lookahead is how many rows of JSON the first header comes from.
	lookahead = 200
)

// jsonSource reads JSON objects: one a line, one after the other, in an array, or
// in the answer of a server around an array.
type jsonSource struct {
	table *Table
	in    *bufio.Reader
	lines bool // an object is a line, so a damaged one spoils no other
	line  int  // newlines before what in reads next

	depth  int // of the array that the objects stand in, 0 or 1
	value  bytes.Buffer
	index  map[string]int
	seen   []int     // by column: the last object that had it
	object int       // the object that is read
	queue  []jsonRow // rows that were read and not returned
	failed error     // comes after the queue
}

type jsonRow struct {
	cells []string
	place Place
	err   error
}

func (t *Table) openJSON() error {
	s := &jsonSource{table: t, in: bufio.NewReaderSize(t.file, bufferSize), index: map[string]int{}}
	t.source = s
	s.lines = LooksLikeLines(t.file)
	for len(s.queue) < lookahead && s.failed == nil {
		s.fill()
	}
	if len(t.header) == 0 {
		if len(s.queue) > 0 {
			return s.queue[0].err
		}
		if s.failed != nil && s.failed != io.EOF {
			return s.failed
		}
		return &Error{Place{t.file.name, 1}, fmt.Errorf("%w: the file has no rows", ErrHeader)}
	}
	return nil
}

// LooksLikeLines reports whether the first line of a JSON file is an object by
// itself, so that every line is one.
func LooksLikeLines(f *File) bool {
	head, _ := f.Peek(64 << 10)
	head = bytes.TrimLeft(head, " \t\r\n")
	line, rest, more := bytes.Cut(head, []byte{'\n'})
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '{' {
		return false
	}
	if json.Valid(line) {
		return true
	}
	// A damaged first line is followed by another object.
	rest = bytes.TrimLeft(rest, " \t\r\n")
	return more && len(rest) > 0 && rest[0] == '{' && line[len(line)-1] == '}'
}

func (s *jsonSource) repeated() int64 { return 0 }

func (s *jsonSource) close() error { return nil }

func (s *jsonSource) next() ([]string, Place, error) {
	for len(s.queue) == 0 {
		if s.failed != nil {
			return nil, Place{}, s.failed
		}
		s.fill()
	}
	row := s.queue[0]
	s.queue = s.queue[1:]
	if row.err != nil {
		return nil, row.place, row.err
	}
	for len(row.cells) < len(s.table.header) {
		row.cells = append(row.cells, "")
	}
	return row.cells, row.place, nil
}

// fill reads the next value and appends its rows to the queue.
func (s *jsonSource) fill() {
	if len(s.queue) == 0 {
		s.queue = s.queue[:0:0]
	}
	var place Place
	var err error
	if s.lines {
		place, err = s.readLine()
	} else {
		place, err = s.readValue()
	}
	if err != nil {
		s.failed = err
		return
	}
	value := s.value.Bytes()
	if !json.Valid(value) {
		bad := &Error{place, fmt.Errorf("%w: %w", ErrRow, syntaxError(value))}
		if s.lines {
			s.queue = append(s.queue, jsonRow{place: place, err: bad})
		} else {
			s.failed = bad
		}
		return
	}
	if value[0] != '{' {
		s.failed = &Error{place, fmt.Errorf("%w: %s is not an object", ErrRow, Quote(string(value)))}
		return
	}
	rows, message := unwrap(value)
	if message != "" {
		s.failed = &Error{place, fmt.Errorf("%w: it is the error of a server: %s", ErrKind, Quote(message))}
		return
	}
	for _, object := range rows {
		s.queue = append(s.queue, s.row(object, place))
	}
}

// row makes the cells of an object, and the columns that are new.
func (s *jsonSource) row(object wrapped, place Place) jsonRow {
	cells := make([]string, len(s.table.header), len(s.table.header)+4)
	var bad error
	set := func(name, text string) {
		i, ok := s.index[name]
		if !ok {
			i = len(s.table.header)
			s.index[name] = i
			s.table.header = append(s.table.header, name)
			s.seen = append(s.seen, 0)
		}
		if s.seen[i] == s.object && bad == nil {
			bad = &Error{place, fmt.Errorf("%w: %s is given twice", ErrRow, Quote(name))}
		}
		s.seen[i] = s.object
		for len(cells) <= i {
			cells = append(cells, "")
		}
		cells[i] = Trim(text)
	}
	s.object++
	if object.outer != nil {
		flatten(object.outer, "", func(name, text string) {
			if !strings.HasPrefix(name, "transfers.") {
				set(name, text)
			}
		})
	}
	s.object++ // what the row says takes precedence
	flatten(object.value, "", set)
	return jsonRow{cells: cells, place: place, err: bad}
}

func syntaxError(value []byte) error {
	var any json.RawMessage
	err := json.Unmarshal(value, &any)
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("malformed JSON: %w", err)
	}
	return errors.New("malformed JSON")
}

// readLine reads a line that is not blank.
func (s *jsonSource) readLine() (Place, error) {
	for {
		s.value.Reset()
		var err error
		for {
			var part []byte
			part, err = s.in.ReadSlice('\n')
			s.value.Write(part)
			if err != bufio.ErrBufferFull || s.value.Len() > maxValue {
				break
			}
		}
		if s.table.file.broken != nil && err != nil {
			return Place{}, s.table.file.breakage()
		}
		line := bytes.TrimSpace(s.value.Bytes())
		if len(line) == 0 && err != nil {
			return Place{}, err
		}
		s.line++
		if len(line) > 0 {
			s.value.Truncate(len(bytes.TrimRight(s.value.Bytes(), " \t\r\n")))
			s.value.Next(s.value.Len() - len(line))
			return Place{s.table.file.name, s.line}, nil
		}
	}
}

// readValue reads the next value, of the file or of the array around the rows.
func (s *jsonSource) readValue() (Place, error) {
	s.value.Reset()
	place := Place{File: s.table.file.name}
	var depth int
	var quoted, escaped bool
	for {
		c, err := s.in.ReadByte()
		if err != nil {
			if s.table.file.broken != nil {
				return place, s.table.file.breakage()
			}
			if err == io.EOF && s.value.Len() == 0 && s.depth == 0 {
				return place, io.EOF
			}
			if err == io.EOF {
				err = &Error{Place{s.table.file.name, s.line + 1}, fmt.Errorf("the file ends within a JSON value; was it copied whole? (%w)", io.ErrUnexpectedEOF)}
			}
			return place, err
		}
		if c == '\n' {
			s.line++
		}
		if s.value.Len() == 0 {
			switch {
			case c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ',' && s.depth > 0:
				continue
			case c == '[' && s.depth == 0:
				s.depth++
				continue
			case c == ']' && s.depth > 0:
				s.depth--
				continue
			}
			place.Line = s.line + 1
		}
		if depth == 0 && !quoted && s.value.Len() > 0 && (c == '\n' || c == ',' || c == ']') {
			return place, nil // a bare word or number, which is refused
		}
		s.value.WriteByte(c)
		if s.value.Len() > maxValue {
			return place, &Error{place, fmt.Errorf("the JSON value is longer than %d bytes", maxValue)}
		}
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth <= 0 {
				return place, nil
			}
		}
	}
}

// wrapped is a row, and the object around its array.
type wrapped struct{ value, outer []byte }

// containers are the names under which servers put their rows, in their order.
var containers = []string{"result", "results", "data", "items", "transfers", "rows", "records"}

// unwrap returns the rows of an object: itself, or those of an array in it. message
// is not empty if the object is the error of a server.
func unwrap(value []byte) (rows []wrapped, message string) {
	if bytes.IndexByte(value[1:], '{') < 0 && !bytes.Contains(value, []byte(`"message"`)) && !bytes.Contains(value, []byte(`"error"`)) {
		if !bytes.Contains(value, []byte("[]")) {
			return []wrapped{{value: value}}, ""
		}
	}
	members := map[string][]byte{}
	eachMember(value, func(name string, v []byte) { members[name] = v })
	for _, name := range containers {
		inner, ok := members[name]
		if !ok {
			continue
		}
		switch inner[0] {
		case '{':
			if deeper, found := unwrapInner(inner); found {
				return deeper, ""
			}
		case '[':
			if objects, ok := objectsOf(inner); ok {
				return expand(objects), ""
			}
		case '"':
			if text, ok := members["message"]; ok && name == "result" {
				return nil, unquote(text) + ": " + unquote(inner)
			}
		}
	}
	if len(members) <= 4 {
		if text, ok := members["error"]; ok && text[0] != 'n' && text[0] != 'f' {
			return nil, strings.TrimSpace(scalar(text))
		}
	}
	return []wrapped{{value: value}}, ""
}

func unwrapInner(value []byte) ([]wrapped, bool) {
	var found []wrapped
	ok := false
	eachMember(value, func(name string, v []byte) {
		if ok || !slices.Contains(containers, name) || v[0] != '[' {
			return
		}
		if objects, is := objectsOf(v); is {
			found, ok = expand(objects), true
		}
	})
	return found, ok
}

// expand gives the transfers within each object their object's members.
func expand(objects [][]byte) []wrapped {
	var out []wrapped
	for _, object := range objects {
		var inner [][]byte
		nested := false
		eachMember(object, func(name string, v []byte) {
			if name == "transfers" && v[0] == '[' {
				inner, nested = objectsOf(v)
			}
		})
		if !nested {
			out = append(out, wrapped{value: object})
			continue
		}
		for _, v := range inner {
			out = append(out, wrapped{value: v, outer: object})
		}
	}
	return out
}

// objectsOf returns the elements of an array, if all of them are objects.
func objectsOf(array []byte) ([][]byte, bool) {
	var objects [][]byte
	all := true
	eachElement(array, func(v []byte) {
		all = all && v[0] == '{'
		objects = append(objects, v)
	})
	return objects, all
}
