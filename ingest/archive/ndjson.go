package archive

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"strconv"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// The NDJSON form. The first line is the header, the last one says that nothing is
// missing or another, by the SHA-256 of all lines before it, and every other is a message:
//
//	{"holdmetrics_log":3,"log_id":"…","partitions":16,"from":1,"through":2,"limits":[…]}
//	{"position":1,"time":"…","partition":7,"form":"frame","events":[{"token_id":"GOLD",…},…]}
//	{"position":2,"time":"…","partition":7,"form":"event","events":[{"error":"…"}],"data":"Z2FyYmFnZQ=="}
//	{"position":3,"time":"…","partition":7,"form":"seal","horizon":"…","events":[]}
//	{"end":true,"messages":3,"sha256":"…"}

// maxLine bounds a line: a message of the largest size that a server takes by
// default, in words that are many times as long.
const maxLine = 64 << 20

type ndjsonWriter struct {
	out      *bufio.Writer
	line     []byte
	again    rebuild
	messages uint64
	sum      hash.Hash // of all lines
}

func newNDJSONWriter(out io.Writer, h *Header) (*ndjsonWriter, error) {
	w := &ndjsonWriter{out: bufio.NewWriterSize(out, 256<<10), sum: sha256.New()}
	text, err := h.format()
	if err != nil {
		return nil, err
	}
	return w, w.put(append(text, '\n'))
}

func (w *ndjsonWriter) put(line []byte) error {
	w.sum.Write(line)
	_, err := w.out.Write(line)
	return err
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
		b = AppendEvent(b, &e.Draft)
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
	return w.put(w.line)
}

func (w *ndjsonWriter) end() error {
	_, err := w.out.Write(lastLine(w.messages, w.sum))
	return errors.Join(err, w.out.Flush())
}

// lastLine is the one behind so many messages, and behind lines of a sum. It has no
// other form, so each of its bytes counts.
func lastLine(messages uint64, sum hash.Hash) []byte {
	return fmt.Appendf(nil, "{\"end\":true,\"messages\":%d,\"sha256\":\"%x\"}\n", messages, sum.Sum(nil))
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

	version int
	sum     hash.Hash // of the lines before the last one
	edited  bool      // and need not be what the last one says
}

func newNDJSONReader(in io.Reader) (*ndjsonReader, error) {
	r := &ndjsonReader{in: bufio.NewReaderSize(in, 256<<10), sum: sha256.New()}
	line, err := r.next()
	if err != nil {
		return nil, err
	}
	r.sum.Write(line)
	r.h, r.version, err = parseHeader(line)
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
				if err = r.end(line, &s, n); err == nil {
					return
				}
			}
			r.sum.Write(line)
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

// end says what is wrong with the last line, behind so many messages.
func (r *ndjsonReader) end(line []byte, s *storedMessage, n uint64) error {
	switch _, more := r.in.Peek(1); { // which leaves line as it is: it is of r.line
	case s.Messages != n:
		return damaged("it has %d messages of %d", n, s.Messages)
	case more != io.EOF:
		return damaged("it goes on behind its last line")
	case r.edited, r.version < 3 && !bytes.Contains(line, []byte("sha256")):
		return nil
	case !bytes.Equal(line, lastLine(n, r.sum)):
		return ErrEdited
	}
	return nil
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
