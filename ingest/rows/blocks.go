package rows

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"unsafe"
)

// ErrBlocks means that a file cannot be read in blocks, or a row of a block is damaged.
// [Table.Next] can read the file, or has the error with its place.
var ErrBlocks = errors.New("the file cannot be read in blocks")

// Blocks cuts the rows of a file into blocks of whole rows, so that several goroutines can
// read them. The rows of all blocks are those of [Table.Next].
type Blocks struct {
	file   *File
	in     io.Reader
	source *csvSource // nil: a row is a line
	rest   []byte     // of the last block: the beginning of the next row
	line   int        // lines before the next block
	quoted bool       // a row before the next block had a quote
	ended  bool
	cells  *cellSource // rows come as their cells; nil: they are text
}

// Block is some whole rows of a file.
type Block struct {
	Line int // lines of the file before the block; of Parquet, rows

	data   []byte
	quotes bool // the block has quotes
	quoted bool // a row before the block had one
	cells  bool // data has the cells of rows, see cellSource
}

// Blocks returns the rows that [Table.Next] has not returned, as blocks, or nil if the
// kind of the file does not allow blocks. Next must not be called afterwards.
func (t *Table) Blocks() *Blocks {
	switch s := t.source.(type) {
	case *csvSource:
		if s.quoted == nil {
			return &Blocks{file: t.file, in: s.in, source: s, line: s.line}
		}
	case *parquetSource:
		if cells := s.blocks(); cells != nil {
			return &Blocks{file: t.file, cells: cells}
		}
	}
	return nil
}

// NewLineBlocks cuts a file of one record a line into blocks. The file stays the caller's
// to close.
func NewLineBlocks(f *File) *Blocks { return &Blocks{file: f, in: f} }

// Next reads the next block into buf, which it enlarges for a row that is longer. The
// block is valid as long as buf is not changed. After the last block the error is
// io.EOF.
func (b *Blocks) Next(buf []byte) (Block, []byte, error) {
	if b.ended {
		return Block{}, buf, io.EOF
	}
	if b.cells != nil {
		return b.cells.next(buf)
	}
	n := copy(buf, b.rest)
	if n < len(b.rest) {
		buf = append(buf, b.rest[n:]...)
		n = len(b.rest)
	}
	b.rest = b.rest[:0]
	for {
		read, err := io.ReadFull(b.in, buf[n:])
		n += read
		switch {
		case b.file.broken != nil:
			return Block{}, buf, fmt.Errorf("%w: %w", ErrBlocks, b.file.breakage())
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			b.ended = true
			return b.block(buf[:n]), buf, nil
		case err != nil:
			return Block{}, buf, fmt.Errorf("%w: %w", ErrBlocks, err)
		}
		if end := b.end(buf[:n]); end > 0 {
			b.rest = append(b.rest, buf[end:n]...)
			return b.block(buf[:end]), buf, nil
		}
		if n >= maxValue {
			return Block{}, buf, fmt.Errorf("%w: a row is longer than %d bytes", ErrBlocks, maxValue)
		}
		buf = append(buf, make([]byte, len(buf))...)
	}
}

// block makes a block of the next bytes of the file.
func (b *Blocks) block(data []byte) Block {
	block := Block{Line: b.line, data: data, quoted: b.quoted, quotes: bytes.IndexByte(data, '"') >= 0}
	b.line += bytes.Count(data, []byte{'\n'})
	b.quoted = b.quoted || block.quotes
	return block
}

// end returns where the last whole row of some bytes ends, or 0. Where rows have quotes, a
// line end within them is not the end of a row: an odd number of quotes stands before it.
// Quotes that do not fit the reader of the block finds.
func (b *Blocks) end(data []byte) int {
	end := bytes.LastIndexByte(data, '\n') + 1
	if b.source == nil {
		return end
	}
	quotes := bytes.Count(data, []byte{'"'})
	quotes -= bytes.Count(data[end:], []byte{'"'})
	for end > 0 && quotes%2 != 0 {
		before := bytes.LastIndexByte(data[:end-1], '\n') + 1
		quotes -= bytes.Count(data[before:end], []byte{'"'})
		end = before
	}
	return end
}

// BlockReader reads the rows of blocks. Each goroutine has its own.
type BlockReader struct {
	header  []string
	comma   byte
	cells   bool // the block has cells, see cellSource
	columns int  // of a block of cells

	rest    []byte
	line    int  // lines before rest
	strict  bool // the general reader reads the block
	quotes  bool // the block has quotes
	quoted  *csv.Reader
	before  int // lines before what quoted reads
	fields  []string
	headers int64
}

// LineReader reads the lines of blocks. Each goroutine has its own.
type LineReader struct {
	rest []byte
	line int
}

// Reset makes a block the one that is read.
func (r *LineReader) Reset(b Block) { r.rest, r.line = b.data, b.Line }

// Next returns the next line that is not blank, without white space at its ends, and its
// number; at the end the error is io.EOF. The line is valid as long as the block's buffer
// is not changed. The error matches [ErrBlocks] if [Lines] may find the line too long.
func (r *LineReader) Next() ([]byte, int, error) {
	for len(r.rest) > 0 {
		line, rest, _ := bytes.Cut(r.rest, []byte{'\n'})
		r.rest = rest
		r.line++
		if len(line) >= maxLine-2 {
			return nil, 0, ErrBlocks
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, r.line, nil
		}
	}
	return nil, 0, io.EOF
}

// Reader returns a reader of blocks of a table.
func (b *Blocks) Reader() *BlockReader {
	if b.cells != nil {
		n := len(b.cells.from.table.header)
		return &BlockReader{columns: n, fields: make([]string, 0, n)}
	}
	header := b.source.table.header
	return &BlockReader{header: header, comma: b.source.comma, fields: make([]string, 0, len(header)+1)}
}

// Reset makes a block the one that is read.
func (r *BlockReader) Reset(b Block) {
	r.rest, r.line, r.strict, r.quotes, r.quoted = b.data, b.Line, b.quoted, b.quotes, nil
	r.cells = b.cells
}

// Repeated is the number of header lines that were passed over.
func (r *BlockReader) Repeated() int64 { return r.headers }

// Next returns the next row of the block and its line; at the end the error is io.EOF. The
// row is valid until the next call. Its strings are parts of the block's buffer, and valid
// as long as that is not changed. Any other error matches [ErrBlocks].
func (r *BlockReader) Next() ([]string, int, error) {
	if r.cells {
		return r.nextCells()
	}
	for {
		row, line, err := r.read()
		if err != nil {
			return nil, 0, err
		}
		if row[0] == "" && len(row) > 1 && blank(row) {
			continue
		}
		if row[0] == r.header[0] && slices.Equal(row, r.header) {
			r.headers++
			continue
		}
		return row, line, nil
	}
}

func (r *BlockReader) read() ([]string, int, error) {
	if r.quoted != nil {
		return r.readQuoted()
	}
	for len(r.rest) > 0 {
		if r.strict || r.quotes && bytes.IndexByte(r.firstLine(), '"') >= 0 {
			return r.general()
		}
		line := r.split()
		r.line++
		if len(line) == 0 || line[0] <= ' ' && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(r.fields) != len(r.header) {
			return nil, 0, ErrBlocks
		}
		return r.fields, r.line, nil
	}
	return nil, 0, io.EOF
}

// firstLine returns the next line.
func (r *BlockReader) firstLine() []byte {
	if end := bytes.IndexByte(r.rest, '\n'); end >= 0 {
		return r.rest[:end]
	}
	return r.rest
}

// Bytes of words of eight.
const (
	ones  = 0x0101010101010101
	lows  = 0x7f7f7f7f7f7f7f7f
	highs = 0x8080808080808080
)

// zeros returns the high bit of each byte that is zero.
func zeros(word uint64) uint64 { return ^((word&lows + lows) | word | lows) }

// split takes a line without quotes off the rest, and splits it into the fields. It returns
// the line without its end. It looks for separators and the line end in eight bytes at a
// time, which is faster than one search for each where fields are short.
func (r *BlockReader) split() []byte {
	data, fields, comma := r.rest, r.fields[:0], uint64(r.comma)*ones
	start := 0
	for at := 0; at+8 <= len(data); at += 8 {
		word := binary.LittleEndian.Uint64(data[at:])
		for marks := zeros(word^'\n'*ones) | zeros(word^comma); marks != 0; marks &= marks - 1 {
			end := at + bits.TrailingZeros64(marks)/8
			if data[end] == '\n' {
				r.rest = data[end+1:]
				return r.endSplit(fields, data[:end], start)
			}
			fields = append(fields, cell(unsafe.String(unsafe.SliceData(data[start:]), end-start)))
			start = end + 1
		}
	}
	for at := len(data) &^ 7; at < len(data); at++ {
		switch data[at] {
		case '\n':
			r.rest = data[at+1:]
			return r.endSplit(fields, data[:at], start)
		case r.comma:
			fields = append(fields, cell(unsafe.String(unsafe.SliceData(data[start:]), at-start)))
			start = at + 1
		}
	}
	r.rest = nil
	return r.endSplit(fields, data, start)
}

// endSplit adds the last field of a line, which begins at start.
func (r *BlockReader) endSplit(fields []string, line []byte, start int) []byte {
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	if start > len(line) { // the separator is \r
		start = len(line)
	}
	last := line[start:]
	r.fields = append(fields, cell(unsafe.String(unsafe.SliceData(last), len(last))))
	return line
}

// general has the general reader read the rest of the block, as from the first quote of
// the file on.
func (r *BlockReader) general() ([]string, int, error) {
	r.before = r.line
	r.quoted = csv.NewReader(bytes.NewReader(r.rest))
	r.quoted.ReuseRecord = true
	r.quoted.Comma = rune(r.comma)
	r.quoted.FieldsPerRecord = len(r.header)
	return r.readQuoted()
}

func (r *BlockReader) readQuoted() ([]string, int, error) {
	row, err := r.quoted.Read()
	if err == io.EOF {
		return nil, 0, io.EOF
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrBlocks, err)
	}
	line, _ := r.quoted.FieldPos(0)
	for i := range row {
		row[i] = cell(row[i])
	}
	return row, r.before + line, nil
}
