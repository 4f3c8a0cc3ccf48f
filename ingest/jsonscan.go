package ingest

import (
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"holdmetrics/ingest/extjson"
)

// scanner reads a JSON object of one level, member by member.
//
// encoding/json will not do here: it turns bytes that are not UTF-8, and lone
// surrogates, into U+FFFD, so that two different holders would silently become
// one; it forgives names in another case; and it forgets what comes twice.
type scanner struct {
	b        []byte
	pos      int
	extended bool // objects may stand for values, as MongoDB writes them
}

// open reads the brace that opens the object, and reports whether a member follows.
func (s *scanner) open() (bool, error) {
	if s.peek() != '{' {
		return false, malformedJSON(s.pos, "no object")
	}
	s.pos++
	if s.peek() == '}' {
		s.pos++
		return false, nil
	}
	return true, nil
}

// next reads what follows a member: a comma, and it reports true, or the closing brace.
func (s *scanner) next() (bool, error) {
	switch s.peek() {
	case ',':
		s.pos++
		return true, nil
	case '}':
		s.pos++
		return false, nil
	}
	return false, malformedJSON(s.pos, "neither comma nor closing brace")
}

// end makes sure that nothing but space follows.
func (s *scanner) end() error {
	if s.peek(); s.pos < len(s.b) {
		return malformedJSON(s.pos, "more after the object")
	}
	return nil
}

// member reads a name and its value.
func (s *scanner) member() (string, value, error) {
	if s.peek() != '"' {
		return "", value{}, malformedJSON(s.pos, "no field name")
	}
	name, err := s.str()
	if err != nil {
		return "", value{}, err
	}
	if s.peek() != ':' {
		return "", value{}, malformedJSON(s.pos, "no colon")
	}
	s.pos++
	v, err := s.value()
	return name, v, err
}

func (s *scanner) value() (value, error) {
	switch c := s.peek(); {
	case c == '"':
		text, err := s.str()
		return value{kindString, text}, err
	case c == '-' || '0' <= c && c <= '9':
		from := s.pos
		for s.pos < len(s.b) && numberByte(s.b[s.pos]) {
			s.pos++
		}
		text := alias(s.b[from:s.pos])
		if !isNumber(text) {
			return value{}, malformedJSON(from, "no number")
		}
		return value{kindNumber, text}, nil
	case c == '{' || c == '[':
		// The scanner stays before it: the caller passes over it with skip, or refuses
		// the field by its name and reads no further.
		if c == '{' && s.extended {
			return s.extendedValue()
		}
		return value{kind: kindNested}, nil
	}
	for _, w := range []value{{kindBool, "true"}, {kindBool, "false"}, {kindNull, "null"}} {
		if rest := s.b[s.pos:]; len(rest) >= len(w.text) && string(rest[:len(w.text)]) == w.text {
			s.pos += len(w.text)
			return w, nil
		}
	}
	return value{}, malformedJSON(s.pos, "no value")
}

// extendedValue reads an object that may stand for a value.
func (s *scanner) extendedValue() (value, error) {
	from := s.pos
	if err := s.skip(); err != nil {
		return value{}, err
	}
	v, ok := extjson.Parse(s.b[from:s.pos])
	switch {
	case !ok:
		s.pos = from
		return value{kind: kindNested}, nil
	case v.Number:
		return value{kindNumber, v.Text}, nil
	}
	return value{kindString, v.Text}, nil
}

// maxDepth is how deep a value that is passed over may be nested.
const maxDepth = 100

// skip passes over a value of any kind.
func (s *scanner) skip() error {
	var open [maxDepth]byte // the brackets that stand open
	depth := 0
	for {
		switch c := s.peek(); {
		case (c == '{' || c == '[') && depth == maxDepth:
			return malformedJSON(s.pos, "a value is nested too deep")
		case c == '{' || c == '[':
			s.pos++
			open[depth] = c
			depth++
			if after := s.peek(); after != c+2 { // the bracket that closes it
				if c == '{' {
					if err := s.name(); err != nil {
						return err
					}
				}
				continue
			}
			s.pos++
			depth--
		default:
			if _, err := s.value(); err != nil {
				return err
			}
		}
		// A value has ended, and perhaps those that it stands in.
		for depth > 0 && s.peek() == open[depth-1]+2 {
			s.pos++
			depth--
		}
		if depth == 0 {
			return nil
		}
		if s.peek() != ',' {
			return malformedJSON(s.pos, "neither comma nor closing bracket")
		}
		s.pos++
		if open[depth-1] == '{' {
			if err := s.name(); err != nil {
				return err
			}
		}
	}
}

// name passes over the name of a member and its colon.
func (s *scanner) name() error {
	if s.peek() != '"' {
		return malformedJSON(s.pos, "no field name")
	}
	if _, err := s.str(); err != nil {
		return err
	}
	if s.peek() != ':' {
		return malformedJSON(s.pos, "no colon")
	}
	s.pos++
	return nil
}

func numberByte(c byte) bool {
	return '0' <= c && c <= '9' || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E'
}

// peek skips space and returns the byte that follows, or 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.b) {
		switch c := s.b[s.pos]; c {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

// str reads a string; the scanner stands on its opening quote.
func (s *scanner) str() (string, error) {
	s.pos++
	from := s.pos
	for s.pos < len(s.b) {
		switch c := s.b[s.pos]; {
		case c == '"':
			text := s.b[from:s.pos]
			if !utf8.Valid(text) {
				return "", malformedJSON(from, "string is not UTF-8")
			}
			s.pos++
			return alias(text), nil
		case c == '\\':
			return s.escaped(from)
		case c < 0x20:
			return "", malformedJSON(s.pos, "control character in a string")
		}
		s.pos++
	}
	return "", malformedJSON(from, "string without an end")
}

// escaped reads the rest of a string that has escapes, into memory of its own.
func (s *scanner) escaped(from int) (string, error) {
	text := append([]byte(nil), s.b[from:s.pos]...)
	for s.pos < len(s.b) {
		switch c := s.b[s.pos]; {
		case c == '"':
			if !utf8.Valid(text) {
				return "", malformedJSON(from, "string is not UTF-8")
			}
			s.pos++
			return alias(text), nil
		case c == '\\':
			r, n := unescape(s.b[s.pos:])
			if n == 0 {
				return "", malformedJSON(s.pos, "bad escape")
			}
			text = utf8.AppendRune(text, r)
			s.pos += n
			continue
		case c < 0x20:
			return "", malformedJSON(s.pos, "control character in a string")
		default:
			text = append(text, c)
		}
		s.pos++
	}
	return "", malformedJSON(from, "string without an end")
}

// unescape reads the escape that b begins with and says how many bytes it took; 0 is an error.
func unescape(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(b[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return 0, 0 // half a pair is no character
	}
	return r, 12
}

// hex4 reads \uXXXX.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(alias(b[2:6]), 16, 16)
	return rune(n), err == nil
}
