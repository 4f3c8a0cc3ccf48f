package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"

	"holdmetrics/gateway/failure"
	"holdmetrics/ingest/rows"
	"holdmetrics/internal/logs"
)

// FormatInput is the choice of the form in which rows come.
type FormatInput struct {
	Format string `query:"format" enum:"json,ndjson,csv" default:"json" doc:"json: one array; ndjson: an object a line; csv: a line of names, then a row a line, with an apostrophe before a text that a spreadsheet would take for a formula"`
}

const (
	formatNDJSON = "ndjson"
	formatCSV    = "csv"
)

func contentTypeOf(format string) string {
	switch format {
	case formatNDJSON:
		return "application/x-ndjson"
	case formatCSV:
		return "text/csv; charset=utf-8"
	}
	return "application/json"
}

// rowResponses documents an answer of rows of type T.
func rowResponses[T any](api huma.API, name, description string) map[string]*huma.Response {
	rows := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[[]T](), true, name)
	row := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, name)
	return map[string]*huma.Response{"200": {
		Description: description,
		Content: map[string]*huma.MediaType{
			"application/json":     {Schema: rows},
			"application/x-ndjson": {Schema: row},
			"text/csv":             {Schema: &huma.Schema{Type: huma.TypeString}},
		},
	}}
}

// streamRows answers with the rows that produce emits, as they come. Until the
// first one, an error is a problem document. After it the connection is cut, so
// that no client takes half an answer for the whole. location is the part of the
// request whose fields an error may name.
func streamRows[T any](s *Server, ctx context.Context, format, location string, produce func(emit func(*T) error) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, w := humago.Unwrap(hctx)
		out := bufio.NewWriterSize(w, answerBuffer)
		answer := rowWriter{format: format, out: out, header: w.Header(), columns: columnsOf(reflect.TypeFor[T]())}
		err := produce(func(row *T) error { return answer.write(row) })
		if err == nil {
			err = answer.end()
		}
		switch {
		case err == nil:
		case !answer.begun:
			s.writeFailure(ctx, w, err, location)
		default:
			// Who did not read is named for all answers in one place.
			if !errors.Is(err, context.Canceled) && !errors.Is(err, failure.ErrUnread) && ctx.Err() == nil {
				s.cfg.Logger.Warn("answer cut off", append(logs.Request(ctx), zap.String("path", hctx.URL().Path), zap.Error(err))...)
			}
			panic(http.ErrAbortHandler)
		}
	}}
}

// writeFailure answers with a problem document where huma does not.
func (s *Server) writeFailure(ctx context.Context, w http.ResponseWriter, err error, location string) {
	f := asProblem(err)
	if f.status == http.StatusInternalServerError {
		s.failed(ctx, err)
	}
	writeProblemAt(w, f, location)
}

// rowWriter writes rows in one of the formats.
type rowWriter struct {
	format  string
	out     *bufio.Writer
	header  http.Header
	columns []column
	csv     *rows.CSVWriter
	fields  []string
	begun   bool
	rows    int
}

func (w *rowWriter) begin() error {
	if w.begun {
		return nil
	}
	w.begun = true
	w.header.Set("Content-Type", contentTypeOf(w.format))
	if w.format != formatCSV {
		return nil
	}
	w.csv = rows.NewCSVWriter(w.out)
	for _, c := range w.columns {
		w.fields = append(w.fields, c.name)
	}
	return w.csv.Write(w.fields)
}

func (w *rowWriter) write(row any) error {
	if err := w.begin(); err != nil {
		return err
	}
	if w.format == formatCSV {
		v := reflect.ValueOf(row).Elem()
		for i, c := range w.columns {
			w.fields[i] = cell(v.FieldByIndex(c.index))
		}
		return w.csv.Write(w.fields)
	}
	text, err := json.Marshal(row)
	if err != nil {
		return err
	}
	if w.format != formatNDJSON {
		separator := byte(',')
		if w.rows == 0 {
			separator = '['
		}
		w.out.WriteByte(separator) //nolint:errcheck // bufio keeps the error for the next call
	}
	w.rows++
	_, err = w.out.Write(text)
	if w.format == formatNDJSON {
		err = w.out.WriteByte('\n')
	}
	return err
}

func (w *rowWriter) end() error {
	if err := w.begin(); err != nil {
		return err
	}
	switch {
	case w.format == formatCSV:
		w.csv.Flush()
		if err := w.csv.Error(); err != nil {
			return err
		}
	case w.format != formatNDJSON:
		if w.rows == 0 {
			w.out.WriteByte('[') //nolint:errcheck // bufio keeps the error for the next call
		}
		w.out.WriteString("]\n") //nolint:errcheck // bufio keeps the error for the next call
	}
	return w.out.Flush()
}

// column is a field of a row, named as in JSON.
type column struct {
	name  string
	index []int
}

func columnsOf(t reflect.Type) []column {
	var columns []column
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.Anonymous && name != "" && name != "-" {
			columns = append(columns, column{name, f.Index})
		}
	}
	return columns
}

// cell is a value as CSV has it: as in JSON, without quotes; what is absent is empty.
func cell(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch x := v.Interface().(type) {
	case string:
		return x
	case time.Time:
		return x.Format(time.RFC3339Nano)
	case float64:
		text, _ := json.Marshal(x) // no score is infinite
		return string(text)
	case uint64:
		return strconv.FormatUint(x, 10)
	case int64:
		return strconv.FormatInt(x, 10)
	case bool:
		return strconv.FormatBool(x)
	}
	return ""
}
