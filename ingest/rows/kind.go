package rows

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrKind means that a file is of a kind that is not read. The error says which
// kind, and what to do.
var ErrKind = errors.New("the file cannot be read")

// Kind is the form of a file, once it is unpacked.
type Kind int

// The kinds.
const (
	CSV     Kind = iota // also with semicolons or tabs
	JSON                // objects, one after the other or in an array
	Parquet             // Apache Parquet
)

// foreign are kinds of files that are named and refused, by their first bytes.
var foreign = []struct{ magic, is string }{
	{"PK\x03\x04", "a zip archive or an Excel workbook: unpack it, or save the sheet as CSV"},
	{"PK\x05\x06", "an empty zip archive"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel workbook: save the sheet as CSV"},
	{"BZh", "packed with bzip2: unpack it (bunzip2), or pack it with gzip or zstd"},
	{"\xfd7zXZ\x00", "packed with xz: unpack it (unxz), or pack it with gzip or zstd"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"},
	{"Rar!\x1a\x07", "a RAR archive: unpack it"},
	{"\x04\x22\x4d\x18", "packed with lz4: unpack it, or pack it with gzip or zstd"},
	{"SQLite format 3\x00", "a SQLite database: export the table as CSV"},
	{"%PDF-", "a PDF document"},
	{"Obj\x01", "an Avro file: convert it to Parquet, CSV or NDJSON"},
	{"ORC", "an ORC file: convert it to Parquet, CSV or NDJSON"},
	{"ARROW1", "an Arrow file: convert it to Parquet, CSV or NDJSON"},
	{"\xff\xfe\x00\x00", "text in UTF-32: convert it to UTF-8 (iconv -f UTF-32 -t UTF-8)"},
	{"\xff\xfe", "text in UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)"},
	{"\xfe\xff", "text in UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)"},
	{"version https://git-lfs.github.com/", "a pointer of Git LFS and not the file itself: fetch it (git lfs pull)"},
}

// identify returns the kind of a file by its first bytes.
func identify(head []byte) (Kind, error) {
	if bytes.HasPrefix(head, []byte("PAR1")) {
		return Parquet, nil
	}
	for _, f := range foreign {
		if bytes.HasPrefix(head, []byte(f.magic)) && !(f.magic == "ORC" && bytes.ContainsAny(head[:min(len(head), 200)], ",;\t\n")) {
			return 0, fmt.Errorf("%w: it is %s", ErrKind, f.is)
		}
	}
	if len(head) > 262 && string(head[257:262]) == "ustar" {
		return 0, fmt.Errorf("%w: it is a tar archive: unpack it", ErrKind)
	}
	if nul := bytes.IndexByte(head, 0); nul >= 0 {
		if len(head) >= 4 && (head[0] == 0) != (head[1] == 0) && (head[2] == 0) != (head[3] == 0) {
			return 0, fmt.Errorf("%w: it is text in UTF-16 without a byte order mark: convert it to UTF-8 (iconv -f UTF-16LE -t UTF-8)", ErrKind)
		}
		return 0, fmt.Errorf("%w: it is binary (byte %d is zero) and not CSV, NDJSON, JSON or Parquet", ErrKind, nul)
	}
	text := bytes.TrimLeft(head, " \t\r\n")
	if len(text) == 0 {
		return CSV, nil // which says that the file is empty
	}
	switch text[0] {
	case '{', '[':
		return JSON, nil
	case '<':
		lower := bytes.ToLower(text)
		if bytes.Contains(lower, []byte("<html")) || bytes.Contains(lower, []byte("<!doctype html")) || bytes.Contains(lower, []byte("<head")) {
			return 0, fmt.Errorf("%w: it is an HTML page, perhaps of an error or a login: fetch the file again", ErrKind)
		}
		return 0, fmt.Errorf("%w: it is XML, perhaps the error of a storage service: fetch the file again", ErrKind)
	}
	return CSV, nil
}
