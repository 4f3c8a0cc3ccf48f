package rows

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// bufferSize is how much of a file is read at once.
const bufferSize = 256 << 10

// File is an import file that is being read. Gzip is known by its first two
// bytes, not by its name, and read through.
type File struct {
	name string
	file io.ReadCloser
	r    *bufio.Reader

	newlines int   // that were handed out by Read
	broken   error // what ended the reading before the end of the file
}

// Open opens a file; "-" is the standard input. read is told of every count of
// bytes that was taken from the disk (before gzip is undone); it may be nil.
func Open(name string, read func(n int)) (*File, error) {
	var in io.ReadCloser
	if name == "-" {
		name, in = "standard input", io.NopCloser(os.Stdin)
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in = f
	}
	return newFile(name, in, read)
}

func newFile(name string, in io.ReadCloser, read func(n int)) (*File, error) {
	f := &File{name: name, file: in, r: bufio.NewReaderSize(&counted{in, read}, bufferSize)}
	if head, _ := f.r.Peek(2); len(head) == 2 && head[0] == 0x1f && head[1] == 0x8b {
		gz, err := gzip.NewReader(f.r)
		if err != nil {
			return nil, errors.Join(f.fail(0, err), in.Close())
		}
		f.r = bufio.NewReaderSize(gz, bufferSize)
	}
	// Spreadsheets put a byte order mark before the header, where it would become part of a name.
	if head, _ := f.r.Peek(3); string(head) == "\xef\xbb\xbf" {
		_, _ = f.r.Discard(3)
	}
	return f, nil
}

// Name is the file's name as errors say it.
func (f *File) Name() string { return f.name }

// Peek gives the first bytes that were not read yet: fewer than n only where
// the file has no more.
func (f *File) Peek(n int) ([]byte, error) {
	b, err := f.r.Peek(n)
	if err == io.EOF {
		err = nil
	}
	return b, f.fail(0, err)
}

// Read reads what the file says, without its gzip.
func (f *File) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.newlines += bytes.Count(p[:n], []byte{'\n'})
	if err != nil && err != io.EOF {
		f.broken = err
	}
	return n, err
}

// breakage is the error that ended the reading, with the line that was reached,
// or nil. It says more than what a reader above makes of the last half row.
func (f *File) breakage() error { return f.fail(f.newlines+1, f.broken) }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// fail places an error of reading, with a hint where there is one. io.EOF stays as it is.
func (f *File) fail(line int, err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the file ends too early; was it copied whole? (%w)", err)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		err = fmt.Errorf("the gzip data is damaged; fetch the file again (%w)", err)
	}
	return &Error{Place{f.name, line}, err}
}

// counted tells how much was read.
type counted struct {
	r    io.Reader
	read func(n int)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.read != nil && n > 0 {
		c.read(n)
	}
	return n, err
}
