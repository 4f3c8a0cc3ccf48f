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
	table   *Table
	spool   *os.File // holds what cannot be sought in; nil: the file itself
	columns []parquetColumn
	groups  []parquet.RowGroup
	rows    parquet.Rows // of the first group, nil before it is opened
	buffer  []parquet.Row
	pending []parquet.Row
	line    int
	cells   []string
	lists   []bool // columns of the row in which a list was begun
}

// parquetColumn is a leaf of the schema.
type parquetColumn struct {
	list bool
	text func(v parquet.Value) string
}

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
		s.columns = append(s.columns, parquetColumn{list: leaf.MaxRepetitionLevel > 0, text: parquetText(leaf.Node.Type())})
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
			text = Trim(s.columns[i].text(v))
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

// parquetText returns the function that makes the text of a type's values.
func parquetText(t parquet.Type) func(parquet.Value) string {
	var logical any
	if l := t.LogicalType(); l != nil {
		logical = l.Value
	}
	switch l := logical.(type) {
	case *format.DecimalType:
		return func(v parquet.Value) string { return decimalText(v, int(l.Scale)) }
	case *format.DateType:
		return func(v parquet.Value) string { return time.Unix(int64(v.Int32())*86400, 0).UTC().Format(time.DateOnly) }
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
		return func(v parquet.Value) string {
			return stampText(v.Int64(), per, layout)
		}
	case *format.IntType:
		if !l.IsSigned {
			return func(v parquet.Value) string {
				if v.Kind() == parquet.Int32 {
					return strconv.FormatUint(uint64(v.Uint32()), 10)
				}
				return strconv.FormatUint(v.Uint64(), 10)
			}
		}
	case *format.StringType, *format.JsonType, *format.EnumType:
		return func(v parquet.Value) string { return string(v.ByteArray()) }
	}
	switch t.Kind() {
	case parquet.Boolean:
		return func(v parquet.Value) string { return strconv.FormatBool(v.Boolean()) }
	case parquet.Int32:
		return func(v parquet.Value) string { return strconv.FormatInt(int64(v.Int32()), 10) }
	case parquet.Int64:
		return func(v parquet.Value) string { return strconv.FormatInt(v.Int64(), 10) }
	case parquet.Int96:
		return func(v parquet.Value) string { return int96Text(v.Int96()) }
	case parquet.Float:
		return func(v parquet.Value) string { return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32) }
	case parquet.Double:
		return func(v parquet.Value) string { return strconv.FormatFloat(v.Double(), 'g', -1, 64) }
	}
	return func(v parquet.Value) string { return bytesText(v.ByteArray()) }
}

// stampText is n units of per nanoseconds since the epoch.
func stampText(n, per int64, layout string) string {
	second := 1e9 / per
	whole, rest := n/second, n%second
	if rest < 0 {
		whole, rest = whole-1, rest+second
	}
	return time.Unix(whole, rest*per).UTC().Format(layout)
}

// int96Text is a time as older versions of Spark and Hive write it, in UTC.
func int96Text(v deprecated.Int96) string {
	const epoch = 2440588 // the Julian day of 1970-01-01
	nanos := int64(v[1])<<32 | int64(v[0])
	return time.Unix((int64(v[2])-epoch)*86400, nanos).UTC().Format("2006-01-02 15:04:05.999999999Z")
}

// decimalText is an integer with a point.
func decimalText(v parquet.Value, scale int) string {
	var n big.Int
	switch v.Kind() {
	case parquet.Int32:
		n.SetInt64(int64(v.Int32()))
	case parquet.Int64:
		n.SetInt64(v.Int64())
	default:
		b := v.ByteArray()
		n.SetBytes(b)
		if len(b) > 0 && b[0]&0x80 != 0 { // two's complement
			n.Sub(&n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
		}
	}
	return n.String() + "e" + strconv.Itoa(-scale)
}

// bytesText is a text as it stands, and anything else in hex. Older writers do not
// mark texts as such, and an address of 20 visible characters does not happen.
func bytesText(b []byte) string {
	text := utf8.Valid(b)
	for _, c := range b {
		text = text && c >= ' ' && c != 0x7f
	}
	if text {
		return string(b)
	}
	return "0x" + hex.EncodeToString(b)
}
