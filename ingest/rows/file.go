package rows

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// bufferSize is how much of a file is read at once.
const bufferSize = 256 << 10

// maxLayers is how often a file may be packed.
const maxLayers = 3

// maxWindow bounds the memory that unpacking zstd takes.
const maxWindow = 1 << 30

// File is an import file that is being read. Gzip and zstd are recognized by the
// first bytes, not by the name, and unpacked.
type File struct {
	name  string
	file  io.ReadCloser
	close []func() // of the layers
	r     *bufio.Reader
	raw   *os.File // the file, if it is a regular one and not packed

	newlines int   // of what Read returned
	broken   error // the error that ended the reading before the end of the file
}

// Open opens a file; "-" is the standard input. read is called with every count of
// bytes taken from the disk, packed as they are; it may be nil.
func Open(name string, read func(n int)) (*File, error) {
	if name == "-" {
		return newFile("standard input", io.NopCloser(os.Stdin), read)
	}
	in, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	f, err := newFile(name, in, read)
	if err == nil && len(f.close) == 0 {
		if info, statErr := in.Stat(); statErr == nil && info.Mode().IsRegular() {
			f.raw = in
		}
	}
	return f, err
}

// Regular reports whether all files are regular ones, which can be read again. A pipe, a
// device and the standard input cannot.
func Regular(names ...string) bool {
	for _, name := range names {
		if info, err := os.Stat(name); name == "-" || err != nil || !info.Mode().IsRegular() {
			return false
		}
	}
	return true
}

func newFile(name string, in io.ReadCloser, read func(n int)) (*File, error) {
	f := &File{name: name, file: in, r: bufio.NewReaderSize(&counted{in, read}, bufferSize)}
	for range maxLayers {
		head, _ := f.r.Peek(4)
		switch {
		case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
			gz, err := gzip.NewReader(f.r)
			if err != nil {
				return nil, errors.Join(f.fail(0, err), f.Close())
			}
			f.close = append(f.close, func() { _ = gz.Close() }) // it has nothing to lose
			f.r = bufio.NewReaderSize(gz, bufferSize)
		case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
			zs, err := zstd.NewReader(f.r, zstd.WithDecoderMaxMemory(maxWindow), zstd.WithDecoderConcurrency(1))
			if err != nil {
				return nil, errors.Join(f.fail(0, err), f.Close())
			}
			f.close = append(f.close, zs.Close)
			f.r = bufio.NewReaderSize(zs, bufferSize)
		default:
			// Spreadsheets put a byte order mark before the header, where it would become part of a name.
			if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
				_, _ = f.r.Discard(3)
			}
			return f, nil
		}
	}
	return nil, errors.Join(&Error{Place{File: name}, fmt.Errorf("%w: it is packed more than %d times", ErrKind, maxLayers)}, f.Close())
}

// Name is the file's name in errors.
func (f *File) Name() string { return f.name }

// Kind returns the form of the file by its first bytes. The error matches
// [ErrKind] if it is of no kind that is read.
func (f *File) Kind() (Kind, error) {
	head, err := f.Peek(4 << 10)
	if err != nil {
		return 0, err
	}
	kind, err := identify(head)
	if err != nil {
		return 0, &Error{Place{File: f.name}, err}
	}
	return kind, nil
}

// Peek returns the first bytes that were not read yet: fewer than n only if the
// file has no more.
func (f *File) Peek(n int) ([]byte, error) {
	b, err := f.r.Peek(n)
	if err == io.EOF {
		err = nil
	}
	return b, f.fail(0, err)
}

// Read reads the unpacked file.
func (f *File) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	f.newlines += bytes.Count(p[:n], []byte{'\n'})
	if err != nil && err != io.EOF {
		f.broken = err
	}
	return n, err
}

// breakage is the error that ended the reading, with the line that was reached,
// or nil. It says more than a reader above can make of half a row.
func (f *File) breakage() error { return f.fail(f.newlines+1, f.broken) }

// Close closes the file.
func (f *File) Close() error {
	for i := len(f.close) - 1; i >= 0; i-- {
		f.close[i]()
	}
	f.close = nil
	return f.file.Close()
}

// fail places an error of reading, with a hint if there is one. io.EOF stays as it is.
func (f *File) fail(line int, err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("the file ends too early; was it copied whole? (%w)", err)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		err = fmt.Errorf("the gzip data is damaged; fetch the file again (%w)", err)
	case errors.Is(err, zstd.ErrCRCMismatch), errors.Is(err, zstd.ErrMagicMismatch), errors.Is(err, zstd.ErrReservedBlockType):
		err = fmt.Errorf("the zstd data is damaged; fetch the file again (%w)", err)
	}
	return &Error{Place{f.name, line}, err}
}

// counted reports how much was read.
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
