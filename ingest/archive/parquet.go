package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// headerKey is where a Parquet file keeps the header, among the metadata of the file.
const headerKey = "holdmetrics_log"

// groupRows is how many rows are laid out together, in memory.
const groupRows = 64 << 10

// row is an event, or what could not be read. Times are nanoseconds.
type row struct {
	Position  uint64 `parquet:"position,delta"`
	Index     int32  `parquet:"index,delta"`
	Time      int64  `parquet:"time,timestamp(nanosecond),delta"`
	Partition int32  `parquet:"partition,dict"`
	Kind      string `parquet:"kind,dict"` // hold, stop, retract; unreadable; seal, up to end; none: a message without events
	Token     string `parquet:"token_id,dict,optional"`
	Holder    string `parquet:"holder_id,dict,optional"`
	Start     int64  `parquet:"start,timestamp(nanosecond),optional"`
	End       int64  `parquet:"end,timestamp(nanosecond),optional"`
	// Weight is the exact decimal, WeightDouble the double nearest to it.
	Weight       string  `parquet:"weight,dict,optional"`
	WeightDouble float64 `parquet:"weight_double,optional"`
	WeightSent   string  `parquet:"weight_sent,dict,optional"` // how it was sent: double, or exact
	HoldID       string  `parquet:"hold_id,optional"`
	Revision     uint64  `parquet:"revision,optional"`
	Retract      bool    `parquet:"retract"`
	Error        string  `parquet:"error,optional"`
	Form         string  `parquet:"form,dict"`     // of the message
	Data         []byte  `parquet:"data,optional"` // of the message, in its first row, where the events do not come to it
}

const (
	sentDouble = "double"
	sentExact  = "exact"
)

func rowOf(e *ingest.Entry) row {
	r := row{Index: int32(e.Index)}
	if e.Err != nil {
		r.Kind, r.Error = "unreadable", strings.ToValidUTF8(e.Err.Error(), "\uFFFD")
		return r
	}
	d := &e.Draft
	text := func(s string) string { return strings.ToValidUTF8(strings.Clone(s), "\uFFFD") }
	r.Token, r.Holder, r.HoldID, r.Revision, r.Retract = text(d.Token), text(d.Holder), text(d.HoldID), d.Revision, d.Retract
	r.Start, r.End = nanoseconds(d.Start), nanoseconds(d.End)
	switch {
	case d.Retract:
		r.Kind = "retract"
	case !d.Start.Set && d.End.Set:
		r.Kind = "stop"
	default:
		r.Kind = "hold"
	}
	switch {
	case d.WeightExact != "":
		r.WeightSent, r.Weight = sentExact, text(d.WeightExact)
		if w, err := hold.ParseWeight(d.WeightExact); err == nil {
			r.WeightDouble = w.Float64()
		}
	case d.Weight != 0:
		r.WeightSent, r.WeightDouble = sentDouble, d.Weight
		if w, err := hold.WeightFromFloat(d.Weight); err == nil {
			r.Weight = w.String()
		}
	}
	return r
}

// nanoseconds is a time as a column has it; what cannot be said is left out.
func nanoseconds(t hold.Stamp) int64 {
	if !t.Set || t.Seconds <= 0 || t.Seconds > hold.MaxTime/1e9 || t.Nanos < 0 || t.Nanos >= 1e9 {
		return 0
	}
	return t.Seconds*1e9 + int64(t.Nanos)
}

func (r *row) draft() hold.Draft {
	d := hold.Draft{Token: r.Token, Holder: r.Holder, HoldID: r.HoldID, Revision: r.Revision, Retract: r.Retract}
	if r.Start != 0 {
		d.Start = hold.StampOf(r.Start)
	}
	if r.End != 0 {
		d.End = hold.StampOf(r.End)
	}
	switch r.WeightSent {
	case sentExact:
		d.WeightExact = r.Weight
	case sentDouble:
		d.Weight, d.WeightGiven = r.WeightDouble, true
	}
	return d
}

type parquetWriter struct {
	out   *parquet.GenericWriter[row]
	rows  []row
	again rebuild
}

func newParquetWriter(out io.Writer, h *Header) (*parquetWriter, error) {
	text, err := h.format()
	if err != nil {
		return nil, err
	}
	return &parquetWriter{out: parquet.NewGenericWriter[row](out,
		parquet.KeyValueMetadata(headerKey, string(text)),
		parquet.Compression(&zstd.Codec{}),
		parquet.MaxRowsPerRowGroup(groupRows),
	)}, nil
}

func (w *parquetWriter) write(m *ingest.Message) error {
	form := formOf(m)
	w.rows = w.rows[:0]
	w.again.reset()
	same := true
	for e := range m.Entries() {
		r := rowOf(&e)
		if e.Err != nil {
			same = false
		}
		if same {
			d := r.draft()
			same = w.again.add(form, &d) == nil
		}
		w.rows = append(w.rows, r)
	}
	if form == formSeal {
		horizon, err := ingest.ReadSeal(m.Data)
		if err != nil {
			w.rows, same = append(w.rows, row{Kind: "unreadable", Error: err.Error()}), false
		} else {
			w.rows = append(w.rows, row{Kind: formSeal, End: horizon})
			w.again.seal(horizon)
		}
	}
	if len(w.rows) == 0 {
		w.rows = append(w.rows, row{Kind: "none"})
	}
	if same {
		data, err := w.again.bytes(form)
		same = err == nil && bytes.Equal(data, m.Data)
	}
	if !same {
		w.rows[0].Data = append(make([]byte, 0, len(m.Data)+1), m.Data...) // not nil
	}
	for i := range w.rows {
		r := &w.rows[i]
		r.Position, r.Time, r.Partition, r.Form = m.Position, m.Time, int32(m.Partition), form
	}
	_, err := w.out.Write(w.rows)
	return err
}

func (w *parquetWriter) end() error { return w.out.Close() }

type parquetReader struct {
	file *os.File
	rows *parquet.GenericReader[row]
	h    Header
}

// newParquetReader opens a Parquet file, which it closes.
func newParquetReader(file *os.File) (r *parquetReader, err error) {
	defer recovered(&err)
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	f, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		return nil, damaged("%w", err)
	}
	text, ok := f.Lookup(headerKey)
	if !ok {
		return nil, damaged("it is a Parquet file without %s in its metadata", headerKey)
	}
	h, _, err := parseHeader([]byte(text))
	if err != nil {
		return nil, err
	}
	return &parquetReader{file: file, rows: parquet.NewGenericReader[row](f), h: h}, nil
}

func (r *parquetReader) header() Header { return r.h }

func (r *parquetReader) close() error { return errors.Join(r.rows.Close(), r.file.Close()) }

// recovered turns a panic into an error: the library that reads Parquet has some for
// damaged files.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = damaged("%v", p)
	}
}

// read reads some rows.
func (r *parquetReader) read(rows []row) (n int, err error) {
	defer recovered(&err)
	return r.rows.Read(rows)
}

func (r *parquetReader) messages() iter.Seq2[*ingest.Message, error] {
	return func(yield func(*ingest.Message, error) bool) {
		var m *ingest.Message // that is gathered
		var form string
		var again rebuild
		finish := func() bool {
			if m == nil {
				return true
			}
			if m.Data == nil {
				data, err := again.bytes(form)
				if err != nil {
					yield(nil, damaged("position %d: %w", m.Position, err))
					return false
				}
				m.Data = bytes.Clone(data)
			}
			return yield(m, nil)
		}
		rows := make([]row, 1024)
		for {
			clear(rows)
			n, err := r.read(rows)
			for i := range rows[:n] {
				at := &rows[i]
				if m == nil || at.Position != m.Position {
					if !finish() {
						return
					}
					m, form = &ingest.Message{Position: at.Position, Partition: int(at.Partition), Time: at.Time, JSON: at.Form == formJSON}, at.Form
					again.reset()
					if len(at.Data) > 0 || at.Kind == "none" || at.Error != "" {
						m.Data = append([]byte{}, at.Data...)
					}
				}
				if m.Data != nil {
					continue
				}
				if form == formSeal {
					again.seal(at.End)
					continue
				}
				d := at.draft()
				if err := again.add(form, &d); err != nil {
					yield(nil, damaged("position %d, event %d: %w", at.Position, at.Index, err))
					return
				}
			}
			if errors.Is(err, io.EOF) {
				finish()
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("%w: %w", ErrArchive, err))
				return
			}
		}
	}
}
