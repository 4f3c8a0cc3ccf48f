package archive

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strconv"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/processor/hold"
)

// The NDJSON form. The first line is the header, the last one says that nothing is
// missing, and every other is a message:
//
//	{"holdmetrics_log":1,"log_id":"…","partitions":16,"from":1,"through":2,"limits":[…]}
//	{"position":1,"time":"…","partition":7,"form":"frame","events":[{"token_id":"GOLD",…},…]}
//	{"position":2,"time":"…","partition":7,"form":"event","events":[{"error":"…"}],"data":"Z2FyYmFnZQ=="}
//	{"position":3,"time":"…","partition":7,"form":"seal","horizon":"…","events":[]}
//	{"end":true,"messages":2}

// maxLine bounds a line: a message of the largest size that a server takes by
// default, in words that are many times as long.
const maxLine = 64 << 20

type ndjsonWriter struct {
	out      *bufio.Writer
	line     []byte
	again    rebuild
	messages uint64
}

func newNDJSONWriter(out io.Writer, h *Header) (*ndjsonWriter, error) {
	w := &ndjsonWriter{out: bufio.NewWriterSize(out, 256<<10)}
	text, err := h.format()
	if err != nil {
		return nil, err
	}
	_, err = w.out.Write(append(text, '\n'))
	return w, err
}

func (w *ndjsonWriter) write(m *ingest.Message) error {
	form := formOf(m)
	w.again.reset()
	b := append(w.line[:0], `{"position":`...)
	b = strconv.AppendUint(b, m.Position, 10)
	b = append(b, `,"time":"`...)
	b = time.Unix(0, m.Time).UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","partition":`...)
	b = strconv.AppendInt(b, int64(m.Partition), 10)
	b = append(append(append(b, `,"form":"`...), form...), '"')
	if horizon, err := ingest.ReadSeal(m.Data); form == formSeal && err == nil {
		b = time.Unix(0, horizon).UTC().AppendFormat(append(b, `,"horizon":"`...), time.RFC3339Nano)
		b = append(b, '"')
		w.again.seal(horizon)
	}
	b = append(b, `,"events":[`...)
	same, n := true, 0
	for e := range m.Entries() {
		if n++; n > 1 {
			b = append(b, ',')
		}
		if e.Err != nil {
			b = appendText(append(b, `{"error":`...), e.Err.Error())
			b, same = append(b, '}'), false
			continue
		}
		start := len(b)
		b = appendEvent(b, &e.Draft)
		if same {
			var d hold.Draft
			same = ingest.DecodeJSON(b[start:], &d) == nil && w.again.add(form, &d) == nil
		}
	}
	b = append(b, ']')
	if same {
		data, err := w.again.bytes(form)
		same = err == nil && bytes.Equal(data, m.Data)
	}
	if !same {
		b = append(b, `,"data":"`...)
		b = base64.StdEncoding.AppendEncode(b, m.Data)
		b = append(b, '"')
	}
	w.line = append(b, '}', '\n')
	w.messages++
	_, err := w.out.Write(w.line)
	return err
}

func (w *ndjsonWriter) end() error {
	text, err := json.Marshal(storedEnd{true, w.messages})
	if err == nil {
		_, err = w.out.Write(append(text, '\n'))
	}
	return errors.Join(err, w.out.Flush())
}

type storedEnd struct {
	End      bool   `json:"end"`
	Messages uint64 `json:"messages"`
}

// storedMessage is a line of a message, or the last line.
type storedMessage struct {
	Position  uint64            `json:"position"`
	Time      string            `json:"time"`
	Partition int               `json:"partition"`
	Form      string            `json:"form"`
	Horizon   string            `json:"horizon"` // of a seal
	Events    []json.RawMessage `json:"events"`
	Data      *[]byte           `json:"data"`
	End       bool              `json:"end"`
	Messages  uint64            `json:"messages"`
}

type ndjsonReader struct {
	in    *bufio.Reader
	h     Header
	again rebuild
	line  []byte
}

func newNDJSONReader(in io.Reader) (*ndjsonReader, error) {
	r := &ndjsonReader{in: bufio.NewReaderSize(in, 256<<10)}
	line, err := r.next()
	if err != nil {
		return nil, err
	}
	r.h, err = parseHeader(line)
	return r, err
}

func (r *ndjsonReader) header() Header { return r.h }
func (r *ndjsonReader) close() error   { return nil }

// next is the next line, valid until the one after it.
func (r *ndjsonReader) next() ([]byte, error) {
	r.line = r.line[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		r.line = append(r.line, part...)
		switch {
		case err == nil:
			return r.line, nil
		case len(r.line) > maxLine:
			return nil, damaged("a line is longer than %d bytes", maxLine)
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, damaged("it has no last line; was it copied whole?")
		default:
			return nil, damaged("%w", err)
		}
	}
}

func (r *ndjsonReader) messages() iter.Seq2[*ingest.Message, error] {
	return func(yield func(*ingest.Message, error) bool) {
		for n := uint64(0); ; n++ {
			line, err := r.next()
			var s storedMessage
			if err == nil {
				if bad := json.Unmarshal(line, &s); bad != nil {
					err = damaged("line %d: %w", n+2, bad)
				}
			}
			if err == nil && s.End {
				if s.Messages != n {
					err = damaged("it has %d messages of %d", n, s.Messages)
				} else if _, more := r.in.Peek(1); more != io.EOF {
					err = damaged("it goes on behind its last line")
				} else {
					return
				}
			}
			var m *ingest.Message
			if err == nil {
				m, err = r.message(&s)
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

func (r *ndjsonReader) message(s *storedMessage) (*ingest.Message, error) {
	at, err := time.Parse(time.RFC3339Nano, s.Time)
	if err != nil {
		return nil, damaged("position %d: time %q", s.Position, s.Time)
	}
	switch s.Form {
	case formFrame, formEvent, formJSON, formSeal:
	default:
		return nil, damaged("position %d: form %q", s.Position, s.Form)
	}
	m := &ingest.Message{Position: s.Position, Partition: s.Partition, Time: at.UnixNano(), JSON: s.Form == formJSON}
	if s.Data != nil {
		m.Data = *s.Data
		return m, nil
	}
	r.again.reset()
	if s.Form == formSeal {
		horizon, err := parseHorizon(s.Horizon)
		if err != nil {
			return nil, err
		}
		r.again.seal(horizon)
	}
	for i, text := range s.Events {
		var d hold.Draft
		err := ingest.DecodeJSON(text, &d)
		if err == nil {
			err = r.again.add(s.Form, &d)
		}
		if err != nil {
			return nil, damaged("position %d, event %d: %w", s.Position, i, err)
		}
	}
	data, err := r.again.bytes(s.Form)
	if err != nil {
		return nil, damaged("position %d: %w", s.Position, err)
	}
	m.Data = bytes.Clone(data)
	return m, nil
}
