package archive

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"holdmetrics/ingest"
)

// Format is a form of the file.
type Format string

// The formats.
const (
	NDJSON  Format = "ndjson"
	Parquet Format = "parquet"
)

// ErrFormat: neither a name nor a format says how a file is to be written.
var ErrFormat = errors.New("archive: not a format")

// FormatOf is the format that a file's name asks for, where format is empty: .parquet,
// or .ndjson, also with .gz or .zst behind it. "-" is the standard output, NDJSON.
func FormatOf(name string, format Format) (Format, error) {
	switch {
	case format == NDJSON, format == "" && name == "-":
		return NDJSON, nil
	case format == Parquet && name == "-":
		return "", fmt.Errorf("%w: parquet needs a file", ErrFormat)
	case format == Parquet:
		return Parquet, nil
	case format != "":
		return "", fmt.Errorf("%w: %q is not one of ndjson, parquet", ErrFormat, format)
	}
	base := strings.TrimSuffix(strings.TrimSuffix(name, ".gz"), ".zst")
	switch {
	case strings.HasSuffix(base, ".ndjson"), strings.HasSuffix(base, ".jsonl"):
		return NDJSON, nil
	case strings.HasSuffix(name, ".parquet"):
		return Parquet, nil
	}
	return "", fmt.Errorf("%w: the name %q ends in neither .ndjson (.gz, .zst) nor .parquet; give the format", ErrFormat, name)
}

// Writer writes a log to a file, which appears whole with Close and not at all
// without it; one of that name that was there before is replaced.
type Writer struct {
	form interface {
		write(m *ingest.Message) error
		end() error
	}
	packed io.Closer // nil: the file is not packed
	out    *bufio.Writer
	file   *os.File // nil: out is all there is
	path   string
}

// Create begins to write a file. NDJSON is packed where the name ends in .gz or .zst.
func Create(name string, format Format, h Header) (w *Writer, err error) {
	w = &Writer{path: name}
	if name == "-" {
		w.out = bufio.NewWriter(os.Stdout)
	} else {
		if path, err := filepath.EvalSymlinks(name); err == nil {
			w.path = path // a link stays one
		}
		if info, err := os.Stat(w.path); err == nil && !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a file", name)
		}
		if w.file, err = os.CreateTemp(filepath.Dir(w.path), "."+filepath.Base(w.path)+".*"); err != nil {
			return nil, err
		}
		w.out = bufio.NewWriterSize(w.file, 256<<10)
	}
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	if format == Parquet {
		w.form, err = newParquetWriter(w.out, &h)
		return w, err
	}
	var out io.Writer = w.out
	switch {
	case strings.HasSuffix(name, ".gz"):
		packed := gzip.NewWriter(out)
		out, w.packed = packed, packed
	case strings.HasSuffix(name, ".zst"):
		packed, err := zstd.NewWriter(out)
		if err != nil {
			return nil, err
		}
		out, w.packed = packed, packed
	}
	w.form, err = newNDJSONWriter(out, &h)
	return w, err
}

// Write adds the next message.
func (w *Writer) Write(m *ingest.Message) error { return w.form.write(m) }

// Close ends the file and puts it in its place.
func (w *Writer) Close() (err error) {
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	if err := w.form.end(); err != nil {
		return err
	}
	if w.packed != nil {
		if err := w.packed.Close(); err != nil {
			return err
		}
	}
	if err := w.out.Flush(); err != nil || w.file == nil {
		return err
	}
	// CreateTemp keeps files to their owner; a result is as readable as any other.
	if err := errors.Join(w.file.Chmod(0o644), w.file.Sync(), w.file.Close()); err != nil {
		return err
	}
	return os.Rename(w.file.Name(), w.path)
}

// Abort takes away what was written. After Close it does nothing that matters.
func (w *Writer) Abort() {
	if w.file != nil {
		_ = w.file.Close()
		_ = os.Remove(w.file.Name())
	}
}

// Reader reads what Writer wrote.
type Reader struct {
	form reader
	end  []func() error
}

// Open opens a file, of whichever format, packed or not, which it finds out by the
// first bytes; "-" is the standard input. A file that is no such thing is ErrArchive.
func Open(name string) (*Reader, error) {
	if name == "-" {
		return NewReader(os.Stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	head := make([]byte, 4)
	n, _ := file.ReadAt(head, 0)
	if string(head[:n]) == "PAR1" {
		form, err := newParquetReader(file)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
		}
		return &Reader{form: form}, nil
	}
	r, err := NewReader(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), file.Close())
	}
	r.end = append(r.end, file.Close)
	return r, nil
}

// NewReader reads the NDJSON form, packed or not.
func NewReader(in io.Reader) (*Reader, error) {
	buffered := bufio.NewReaderSize(in, 256<<10)
	r := &Reader{}
	head, _ := buffered.Peek(4)
	in = buffered
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		packed, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, damaged("%w", err)
		}
		in = packed
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		packed, err := zstd.NewReader(buffered, zstd.WithDecoderMaxMemory(1<<30))
		if err != nil {
			return nil, damaged("%w", err)
		}
		in = packed
		r.end = append(r.end, func() error { packed.Close(); return nil })
	}
	form, err := newNDJSONReader(in)
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.form = form
	return r, nil
}

// Verify reads a file to its end, and says what is wrong with it, as Messages would.
// edited is that of [Reader.TakeEdited]. each is called with every message.
func Verify(name string, edited bool, each func() error) error {
	r, err := Open(name)
	if err != nil {
		return err
	}
	if edited {
		r.TakeEdited()
	}
	for _, err = range r.Messages() {
		if err == nil {
			err = each()
		}
		if err != nil {
			break
		}
	}
	return errors.Join(err, r.Close())
}

// TakeEdited takes NDJSON that somebody has edited since it was written, so that its
// lines have another SHA-256 than its last line says. Call it before Messages.
func (r *Reader) TakeEdited() {
	if form, ok := r.form.(*ndjsonReader); ok {
		form.edited = true
	}
}

// Header says what the file has.
func (r *Reader) Header() Header { return r.form.header() }

// Messages gives the messages in order. The last thing that it gives may be an error,
// which matches ErrArchive where the file is damaged, or ends too early.
func (r *Reader) Messages() iter.Seq2[*ingest.Message, error] {
	return checked(r.form.header(), r.form.messages())
}

// Close closes the file.
func (r *Reader) Close() error {
	var errs []error
	if r.form != nil {
		errs = append(errs, r.form.close())
	}
	for _, end := range r.end {
		errs = append(errs, end())
	}
	return errors.Join(errs...)
}
