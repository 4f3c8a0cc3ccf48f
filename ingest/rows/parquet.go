package rows

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

// parquetSource reads the rows of a Parquet file.
type parquetSource struct {
	table    *Table
	spool    *os.File // holds what cannot be sought in; nil: the file itself
	columns  []parquetColumn
	groups   []parquet.RowGroup
	rows     parquet.Rows // of the first group, nil before it is opened
	cellwise *cellSource  // reads the groups in place of rows; nil: nothing does
	buffer   []parquet.Row
	pending  []parquet.Row
	line     int
	cells    []string
	scratch  []byte
	lists    []bool // columns of the row in which a list was begun
}

// parquetColumn is a leaf of the schema.
type parquetColumn struct {
	list bool
	text parquetText
}

// parquetText appends the text of a value that is not null.
type parquetText func(dst []byte, v parquet.Value) []byte

// damagedParquet turns a panic into an error: the library has some for damaged files.
func (t *Table) damagedParquet(err *error) {
	if p := recover(); p != nil {
		*err = &Error{Place{File: t.file.name}, fmt.Errorf("the Parquet data is damaged; fetch the file again (%v)", p)}
	}
}

func (t *Table) openParquet() (err error) {
	s := &parquetSource{table: t, buffer: make([]parquet.Row, 64)}
	t.source = s
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	defer t.damagedParquet(&err)
	in := t.file.raw
	if in == nil {
		if s.spool, err = os.CreateTemp("", "holdmetrics-*.parquet"); err != nil {
			return err
		}
		if _, err := io.Copy(s.spool, t.file); err != nil {
			return t.file.breakageOr(err)
		}
		in = s.spool
	}
	info, err := in.Stat()
	if err != nil {
		return err
	}
	f, err := parquet.OpenFile(in, info.Size())
	if err != nil {
		return &Error{Place{File: t.file.name}, fmt.Errorf("the Parquet data is damaged; fetch the file again (%w)", err)}
	}
	schema := f.Schema()
	for _, path := range schema.Columns() {
		leaf, _ := schema.Lookup(path...)
		name := strings.Join(path, ".")
		for _, inner := range []string{".list.element", ".list.item", ".bag.array_element", ".array"} {
			name = strings.TrimSuffix(name, inner)
		}
		t.header = append(t.header, Trim(name))
		s.columns = append(s.columns, parquetColumn{list: leaf.MaxRepetitionLevel > 0, text: textOf(leaf.Node.Type())})
	}
	s.groups = f.RowGroups()
	s.cells = make([]string, len(t.header))
	s.lists = make([]bool, len(t.header))
	return nil
}

// breakageOr is the error that ended the reading of the file, or err.
func (f *File) breakageOr(err error) error {
	if f.broken != nil {
		return f.breakage()
	}
	return err
}

func (s *parquetSource) repeated() int64 { return 0 }

func (s *parquetSource) close() error {
	var errs []error
	if s.rows != nil {
		errs = append(errs, s.rows.Close())
		s.rows = nil
	}
	if s.cellwise != nil {
		errs = append(errs, s.cellwise.closeGroup())
	}
	if s.spool != nil {
		errs = append(errs, s.spool.Close(), os.Remove(s.spool.Name()))
		s.spool = nil
	}
	return errors.Join(errs...)
}

func (s *parquetSource) next() (cells []string, place Place, err error) {
	defer s.table.damagedParquet(&err)
	for len(s.pending) == 0 {
		if err := s.more(); err != nil {
			return nil, Place{}, err
		}
	}
	row := s.pending[0]
	s.pending = s.pending[1:]
	s.line++
	clear(s.cells)
	clear(s.lists)
	for _, v := range row {
		i := v.Column()
		if i < 0 || i >= len(s.cells) {
			continue
		}
		text := ""
		if !v.IsNull() {
			s.scratch = s.columns[i].text(s.scratch[:0], v)
			text = Trim(string(s.scratch))
		}
		switch {
		case !s.columns[i].list:
			s.cells[i] = text
		case v.IsNull() && v.RepetitionLevel() == 0:
			s.cells[i] = ""
		case !s.lists[i]:
			s.lists[i], s.cells[i] = true, "["+text
		default:
			s.cells[i] += "," + text
		}
	}
	for i, is := range s.lists {
		if is {
			s.cells[i] += "]"
		}
	}
	return s.cells, Place{s.table.file.name, s.line}, nil
}

// more reads rows.
func (s *parquetSource) more() error {
	if s.rows == nil {
		if len(s.groups) == 0 {
			return io.EOF
		}
		s.rows, s.groups = s.groups[0].Rows(), s.groups[1:]
	}
	n, err := s.rows.ReadRows(s.buffer)
	s.pending = s.buffer[:n]
	if err == io.EOF || err == nil && n == 0 {
		err = s.rows.Close()
		s.rows = nil
	}
	if err != nil {
		return &Error{Place{s.table.file.name, s.line + 1}, fmt.Errorf("the Parquet data is damaged; fetch the file again (%w)", err)}
	}
	return nil
}

// textOf returns the function that makes the text of a type's values.
func textOf(t parquet.Type) parquetText {
	var logical any
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch l := logical.(type) {
	case *format.DecimalType:
		return func(dst []byte, v parquet.Value) []byte { return appendDecimal(dst, v, int(l.Scale)) }
	case *format.DateType:
		return func(dst []byte, v parquet.Value) []byte {
			return time.Unix(int64(v.Int32())*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
		}
	case *format.TimestampType:
		layout := "2006-01-02 15:04:05.999999999"
		if l.IsAdjustedToUTC {
			layout += "Z"
		}
		per := int64(1)
		switch l.Unit.Value.(type) {
		case *format.MilliSeconds:
			per = 1e6
		case *format.MicroSeconds:
			per = 1e3
		}
		return func(dst []byte, v parquet.Value) []byte { return appendStamp(dst, v.Int64(), per, layout) }
	case *format.IntType:
		if !l.IsSigned {
			return func(dst []byte, v parquet.Value) []byte {
				if v.Kind() == parquet.Int32 {
					return strconv.AppendUint(dst, uint64(v.Uint32()), 10)
				}
				return strconv.AppendUint(dst, v.Uint64(), 10)
			}
		}
	case *format.StringType, *format.JsonType, *format.EnumType:
		return func(dst []byte, v parquet.Value) []byte { return append(dst, v.ByteArray()...) }
	}
	switch t.Kind() {
	case parquet.Boolean:
		return func(dst []byte, v parquet.Value) []byte { return strconv.AppendBool(dst, v.Boolean()) }
	case parquet.Int32:
		return func(dst []byte, v parquet.Value) []byte { return strconv.AppendInt(dst, int64(v.Int32()), 10) }
	case parquet.Int64:
		return func(dst []byte, v parquet.Value) []byte { return strconv.AppendInt(dst, v.Int64(), 10) }
	case parquet.Int96:
		return func(dst []byte, v parquet.Value) []byte { return appendInt96(dst, v.Int96()) }
	case parquet.Float:
		return func(dst []byte, v parquet.Value) []byte {
			return strconv.AppendFloat(dst, float64(v.Float()), 'g', -1, 32)
		}
	case parquet.Double:
		return func(dst []byte, v parquet.Value) []byte { return strconv.AppendFloat(dst, v.Double(), 'g', -1, 64) }
	}
	return func(dst []byte, v parquet.Value) []byte { return appendBytes(dst, v.ByteArray()) }
}

// appendStamp appends the time that is n units of per nanoseconds since the epoch.
func appendStamp(dst []byte, n, per int64, layout string) []byte {
	second := 1e9 / per
	whole, rest := n/second, n%second
	if rest < 0 {
		whole, rest = whole-1, rest+second
	}
	return time.Unix(whole, rest*per).UTC().AppendFormat(dst, layout)
}

// appendInt96 appends a time as older versions of Spark and Hive write it, in UTC.
func appendInt96(dst []byte, v deprecated.Int96) []byte {
	const epoch = 2440588 // the Julian day of 1970-01-01
	nanos := int64(v[1])<<32 | int64(v[0])
	return time.Unix((int64(v[2])-epoch)*86400, nanos).UTC().AppendFormat(dst, "2006-01-02 15:04:05.999999999Z")
}

// appendDecimal appends an integer with a point.
func appendDecimal(dst []byte, v parquet.Value, scale int) []byte {
	switch v.Kind() {
	case parquet.Int32:
		dst = strconv.AppendInt(dst, int64(v.Int32()), 10)
	case parquet.Int64:
		dst = strconv.AppendInt(dst, v.Int64(), 10)
	default:
		var n big.Int
		b := v.ByteArray()
		n.SetBytes(b)
		if len(b) > 0 && b[0]&0x80 != 0 { // two's complement
			n.Sub(&n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
		dst = n.Append(dst, 10)
	}
	return strconv.AppendInt(append(dst, 'e'), int64(-scale), 10)
}

// appendBytes appends a text as it stands, and anything else in hex. Older writers do not
// mark texts as such, and an address of 20 visible characters does not happen.
func appendBytes(dst, b []byte) []byte {
	text := utf8.Valid(b)
	for _, c := range b {
		text = text && c >= ' ' && c != 0x7f
	}
	if text {
		return append(dst, b...)
	}
	return hex.AppendEncode(append(dst, "0x"...), b)
}
