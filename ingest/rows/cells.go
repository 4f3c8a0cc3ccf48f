package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// cellSource makes blocks of the rows of a Parquet file. It reads each row group column by
// column, which is several times as fast as row by row. A block has the trimmed text of
// each cell, behind its length as a varint: the cells of a row one after the other.
type cellSource struct {
	from    *parquetSource
	groups  []parquet.RowGroup
	columns []cellColumn // of the first group; empty before it is opened
	left    int64        // rows of the first group that have not been read
	row     int          // rows before the next block

	batch, at int // rows of the columns' values, and how many of them are in blocks
	scratch   []byte
}

// cellColumn reads the values of one column of a row group.
type cellColumn struct {
	pages  parquet.Pages
	page   parquet.Page // nil: the next one has not been read
	values parquet.ValueReader
	batch  [cellBatch]parquet.Value
	passed []parquet.Page // that the batch has values of, all of which were read

	// Of a column of integers, the value before and its text: times repeat.
	last     int64
	lastText []byte
}

// cellBatch is how many rows are read of each column before the next column's.
const cellBatch = 256

// blocks returns what makes blocks of the rows that next has not returned, or nil if a
// column has lists, whose rows have any number of values.
func (s *parquetSource) blocks() *cellSource {
	if s.rows != nil || slices.ContainsFunc(s.columns, func(c parquetColumn) bool { return c.list }) {
		return nil
	}
	s.cellwise = &cellSource{from: s, groups: s.groups}
	return s.cellwise
}

// next is [Blocks.Next].
func (c *cellSource) next(buf []byte) (b Block, _ []byte, err error) {
	defer func() {
		if p := recover(); p != nil { // the library panics on some damaged files
			err = fmt.Errorf("%w: the Parquet data is damaged: %v", ErrBlocks, p)
		}
		if err != nil && err != io.EOF {
			err = errors.Join(err, c.closeGroup())
		}
	}()
	data := buf[:0]
	b = Block{Line: c.row, cells: true}
	for len(data) < len(buf) || len(data) == 0 {
		if c.at == c.batch {
			switch err := c.read(); {
			case err == io.EOF && len(data) > 0:
				b.data = data
				return b, data[:cap(data)], nil
			case err == io.EOF:
				return Block{}, buf, io.EOF
			case err != nil:
				return Block{}, buf, fmt.Errorf("%w: %w", ErrBlocks, err)
			}
		}
		data = c.appendRow(data, c.at)
		c.at++
		c.row++
	}
	b.data = data
	return b, data[:cap(data)], nil
}

// appendRow appends the cells of a row of the batch.
func (c *cellSource) appendRow(data []byte, row int) []byte {
	for i := range c.columns {
		column, text := &c.columns[i], ""
		if v := &column.batch[row]; !v.IsNull() {
			text = Trim(c.textOf(i, *v))
		}
		data = append(binary.AppendUvarint(data, uint64(len(text))), text...)
	}
	return data
}

// textOf returns the text of a value. It is valid until the next call.
func (c *cellSource) textOf(i int, v parquet.Value) string {
	column, text := &c.columns[i], c.from.columns[i].text
	if v.Kind() != parquet.Int64 {
		c.scratch = text(c.scratch[:0], v)
		return unsafe.String(unsafe.SliceData(c.scratch), len(c.scratch))
	}
	if n := v.Int64(); n != column.last || len(column.lastText) == 0 {
		column.last, column.lastText = n, text(column.lastText[:0], v)
	}
	return unsafe.String(unsafe.SliceData(column.lastText), len(column.lastText))
}

// read reads the next batch; io.EOF ends the file.
func (c *cellSource) read() error {
	for c.left == 0 {
		if err := c.closeGroup(); err != nil {
			return err
		}
		if len(c.groups) == 0 {
			return io.EOF
		}
		group := c.groups[0]
		c.groups, c.left = c.groups[1:], group.NumRows()
		chunks := group.ColumnChunks()
		if len(chunks) != len(c.from.columns) {
			return fmt.Errorf("a row group has %d columns and the file %d", len(chunks), len(c.from.columns))
		}
		c.columns = make([]cellColumn, len(chunks))
		for i, chunk := range chunks {
			c.columns[i].pages = chunk.Pages()
		}
	}
	n := int(min(c.left, cellBatch))
	for i := range c.columns {
		if err := c.columns[i].read(n); err != nil {
			return err
		}
	}
	c.left -= int64(n)
	c.batch, c.at = n, 0
	return nil
}

// read reads n values.
func (c *cellColumn) read(n int) error {
	c.release()
	for have := 0; have < n; {
		if c.page == nil {
			page, err := c.pages.ReadPage()
			if err != nil {
				if err == io.EOF {
					err = io.ErrUnexpectedEOF // the row group has more rows
				}
				return err
			}
			c.page, c.values = page, page.Values()
		}
		got, err := c.values.ReadValues(c.batch[have:n])
		have += got
		switch {
		case err == io.EOF:
			c.passed = append(c.passed, c.page)
			c.page, c.values = nil, nil
		case err != nil:
			return err
		case got == 0:
			return io.ErrNoProgress
		}
	}
	return nil
}

// release gives the pages back whose values are not used any more.
func (c *cellColumn) release() {
	for _, page := range c.passed {
		parquet.Release(page)
	}
	clear(c.passed)
	c.passed = c.passed[:0]
}

// closeGroup closes the row group that is open.
func (c *cellSource) closeGroup() error {
	var errs []error
	for i := range c.columns {
		column := &c.columns[i]
		if column.page != nil {
			column.passed = append(column.passed, column.page)
		}
		column.release()
		errs = append(errs, column.pages.Close())
	}
	c.columns = nil
	return errors.Join(errs...)
}

// nextCells is [BlockReader.Next] for a block of cells. Blank rows are rows, as they are to
// [Table.Next].
func (r *BlockReader) nextCells() ([]string, int, error) {
	if len(r.rest) == 0 {
		return nil, 0, io.EOF
	}
	r.fields = r.fields[:0]
	for range r.columns {
		n, size := binary.Uvarint(r.rest)
		text := r.rest[size : size+int(n)]
		r.fields = append(r.fields, unsafe.String(unsafe.SliceData(text), len(text)))
		r.rest = r.rest[size+len(text):]
	}
	r.line++
	return r.fields, r.line, nil
}
