// Package archive writes a log to a file and reads it back. The file has what is needed
// to look at the events elsewhere, and to import them into an empty log: every event is
// then accepted or refused as it was the first time.
//
// There are two forms. NDJSON has a line for each message of the log, and Parquet has a
// row for each event. Both have the fields of the events as text. If encoding these
// fields does not give the bytes of the message again (it is malformed, or a producer
// encoded it in another way), the file also has the bytes, and an import uses them.
package archive

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// version is that of both forms. 1 knew of no seals, 2 of no sum of NDJSON.
const version = 3

// ErrArchive: a file is not a log that this package wrote, or is damaged.
var ErrArchive = errors.New("archive: not the export of a log, or a damaged one")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrArchive, fmt.Errorf(format, args...))
}

// ErrEdited: a file does not have the SHA-256 that it ends with. It is an [ErrArchive].
var ErrEdited = fmt.Errorf("%w: its lines do not have the SHA-256 that its last line says; it was damaged, or edited", ErrArchive)

// Header says which log a file has, or which part of it.
type Header struct {
	Origin ingest.Origin
	From   uint64 // first position; the last one is Origin.Through
}

// Whole reports whether the file has the log from its beginning, so that it can be
// imported as a log.
func (h *Header) Whole() bool { return h.From == 1 }

// storedHeader is how both forms write it.
type storedHeader struct {
	Version    int            `json:"holdmetrics_log"`
	LogID      string         `json:"log_id"`
	Partitions int            `json:"partitions"`
	From       uint64         `json:"from"`
	Through    uint64         `json:"through"`
	Limits     []storedLimits `json:"limits"`
	Horizons   []string       `json:"horizons,omitempty"`
}

type storedLimits struct {
	From         uint64 `json:"from"`
	MaxClockSkew string `json:"max_clock_skew"`
	MaxFutureEnd string `json:"max_future_end"`
}

func (h *Header) format() ([]byte, error) {
	s := storedHeader{Version: version, LogID: h.Origin.LogID, Partitions: h.Origin.Partitions, From: h.From, Through: h.Origin.Through}
	for _, l := range h.Origin.Limits {
		s.Limits = append(s.Limits, storedLimits{l.From, time.Duration(l.Limits.MaxClockSkew).String(), time.Duration(l.Limits.MaxFutureEnd).String()})
	}
	for _, at := range h.Origin.Horizons {
		s.Horizons = append(s.Horizons, time.Unix(0, at).UTC().Format(time.RFC3339Nano))
	}
	return json.Marshal(s)
}

// parseHeader gives the version, too.
func parseHeader(text []byte) (h Header, stored int, err error) {
	var s storedHeader
	if err := json.Unmarshal(text, &s); err != nil || s.Version == 0 {
		return Header{}, 0, damaged("it does not begin as one")
	}
	if s.Version > version {
		return Header{}, 0, damaged("version %d is unknown; it was written by a newer holdmetrics", s.Version)
	}
	h = Header{From: s.From, Origin: ingest.Origin{LogID: s.LogID, Partitions: s.Partitions, Through: s.Through}}
	if s.From < 1 || s.Through < s.From-1 || s.Partitions < 1 || len(s.Limits) == 0 {
		return Header{}, 0, damaged("header %s", text)
	}
	for _, l := range s.Limits {
		skew, err1 := time.ParseDuration(l.MaxClockSkew)
		end, err2 := time.ParseDuration(l.MaxFutureEnd)
		if err := errors.Join(err1, err2); err != nil {
			return Header{}, 0, damaged("limits from %d: %w", l.From, err)
		}
		h.Origin.Limits = append(h.Origin.Limits, ingest.LimitsFrom{From: l.From, Limits: hold.Limits{MaxClockSkew: int64(skew), MaxFutureEnd: int64(end)}})
	}
	for _, text := range s.Horizons {
		at, err := parseHorizon(text)
		if err != nil {
			return Header{}, 0, err
		}
		h.Origin.Horizons = append(h.Origin.Horizons, at)
	}
	return h, s.Version, nil
}

func parseHorizon(text string) (int64, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || at.Unix() < 0 || at.Unix() > hold.MaxTime/1e9 {
		return 0, damaged("horizon %q", text)
	}
	return at.UnixNano(), nil
}

// The forms of a message.
const (
	formFrame = "frame" // many events
	formEvent = "event" // one, protobuf
	formJSON  = "json"  // one, JSON by its producer's word
	formSeal  = "seal"  // none: what was held before a horizon is final from there on
)

func formOf(m *ingest.Message) string {
	switch {
	case m.JSON:
		return formJSON
	case ingest.IsFrame(m.Data):
		return formFrame
	case ingest.IsSeal(m.Data):
		return formSeal
	}
	return formEvent
}

// rebuild makes the bytes of a message again, from its events in words.
type rebuild struct {
	frame  ingest.FrameWriter
	buf    []byte
	events int
}

func (r *rebuild) reset() {
	r.frame.Reset()
	r.buf, r.events = r.buf[:0], 0
}

func (r *rebuild) add(form string, d *hold.Draft) error {
	r.events++
	switch {
	case r.events > ingest.MaxFrameEvents:
		return damaged("a message has more than %d events", ingest.MaxFrameEvents)
	case form == formFrame:
		r.frame.AppendDraft(d)
	case form == formEvent && r.events == 1:
		r.buf = ingest.AppendEvent(r.buf[:0], d)
	default:
		return damaged("a message of form %q has no bytes", form)
	}
	return nil
}

// seal makes the bytes of a seal, which has no events.
func (r *rebuild) seal(horizon int64) { r.buf = ingest.AppendSeal(r.buf[:0], horizon) }

// bytes are valid until reset.
func (r *rebuild) bytes(form string) ([]byte, error) {
	if r.events == 0 && (form != formSeal || len(r.buf) == 0) {
		return nil, damaged("a message has neither events nor bytes")
	}
	if form == formFrame {
		return r.frame.Bytes(), nil
	}
	return r.buf, nil
}

// reader is one form's.
type reader interface {
	header() Header
	// messages gives them in order; the caller checks positions and partitions.
	messages() iter.Seq2[*ingest.Message, error]
	close() error
}

// checked refuses what no export has.
func checked(h Header, messages iter.Seq2[*ingest.Message, error]) iter.Seq2[*ingest.Message, error] {
	return func(yield func(*ingest.Message, error) bool) {
		next := h.From
		for m, err := range messages {
			switch {
			case err != nil:
			case m.Position != next:
				err = damaged("position %d stands where %d belongs", m.Position, next)
			case m.Position > h.Origin.Through:
				err = damaged("position %d is behind the last one, %d", m.Position, h.Origin.Through)
			case m.Partition < 0 || m.Partition >= h.Origin.Partitions:
				err = damaged("position %d is in partition %d of %d", m.Position, m.Partition, h.Origin.Partitions)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			next++
			if !yield(m, nil) {
				return
			}
		}
		if next != h.Origin.Through+1 {
			yield(nil, damaged("it ends at position %d of %d; was it copied whole?", next-1, h.Origin.Through))
		}
	}
}
