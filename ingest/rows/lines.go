package rows

import (
	"bufio"
	"bytes"
	"fmt"
)

// maxLine is the longest line that is read: no event comes near it.
const maxLine = 1 << 20

// Lines is a file of one record a line. Blank lines are passed over.
type Lines struct {
	file *File
	scan *bufio.Scanner
	line int
}

// NewLines reads a file line by line. The file stays the caller's to close.
func NewLines(f *File) *Lines {
	l := &Lines{file: f, scan: bufio.NewScanner(f)}
	l.scan.Buffer(make([]byte, 0, 64<<10), maxLine)
	return l
}

// Next reports whether there is a further line and gives it; the bytes are valid
// until the next call.
func (l *Lines) Next() ([]byte, Place, bool) {
	for l.scan.Scan() {
		l.line++
		if l.file.broken != nil && l.line > l.file.newlines {
			break // half a line, after which the file could not be read
		}
		if b := bytes.TrimSpace(l.scan.Bytes()); len(b) > 0 {
			return b, Place{l.file.name, l.line}, true
		}
	}
	return nil, Place{}, false
}

// Err is what ended the reading, if not the end of the file.
func (l *Lines) Err() error {
	if l.file.broken != nil {
		return l.file.breakage()
	}
	err := l.scan.Err()
	if err == bufio.ErrTooLong {
		err = fmt.Errorf("the line is longer than %d bytes", maxLine)
	}
	return l.file.fail(l.line+1, err)
}
