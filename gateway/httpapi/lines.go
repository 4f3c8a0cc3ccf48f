package httpapi

import (
	"bytes"
	"io"
)

// lineReader cuts a body into lines, in place: a line is a part of the buffer and
// is good until the next fill. It needs the same memory for a body of any length.
type lineReader struct {
	r   io.Reader
	buf []byte // twice the longest line, so that a read is never a small one
	err error  // of r; io.EOF where the body was read to its end

	start, end int  // what is not cut yet
	searched   int  // from start: where there is no newline
	skipping   bool // within a line that is too long
}

// lineBuffer is how much a lineReader holds.
const lineBuffer = 2 * (MaxLineBytes + 1)

// next cuts the next line, without its newline. ok is false where the buffer has
// no whole line: then fill, unless err says that no more will come. A line that
// is too long comes as one, without its bytes.
func (l *lineReader) next() (line []byte, tooLong, ok bool) {
	rest := l.buf[l.start:l.end]
	if i := bytes.IndexByte(rest[l.searched:], '\n'); i >= 0 {
		i += l.searched
		l.start, l.searched = l.start+i+1, 0
		return l.cut(rest[:i])
	}
	l.searched = len(rest)
	if len(rest) > MaxLineBytes {
		l.skipping = true
	}
	if l.skipping {
		l.start, l.end, l.searched = 0, 0, 0
	}
	// A body may end without a newline; where it broke off, half a line is no line.
	if l.err != io.EOF || len(rest) == 0 && !l.skipping {
		return nil, false, false
	}
	l.start, l.end, l.searched = 0, 0, 0
	return l.cut(rest)
}

func (l *lineReader) cut(line []byte) ([]byte, bool, bool) {
	if l.skipping || len(line) > MaxLineBytes {
		l.skipping = false
		return nil, true, true
	}
	return line, false, true
}

// fill reads once. The lines that were cut are gone.
func (l *lineReader) fill() {
	l.end = copy(l.buf, l.buf[l.start:l.end])
	l.start = 0
	n, err := l.r.Read(l.buf[l.end:])
	l.end += n
	l.err = err
}
