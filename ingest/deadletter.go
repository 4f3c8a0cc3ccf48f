package ingest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
)

const (
	deadLetterPrefix = "hold.dlq."

	// Headers of a dead letter.
	headerReason  = "Hold-Reason"
	headerKind    = "Hold-Kind"
	headerField   = "Hold-Field"
	headerOrigin  = "Hold-Origin"
	headerSettled = "Hold-Settled"

	// headerLast makes the stream refuse a second dead letter of a subject. So a
	// replay of a tail of the log does not create a resolved dead letter again.
	headerLast = jetstream.ExpectedLastSubjSeqHeader

	// Headers of a dead letter that carries only a part of its event: how many
	// bytes the event has, and where they all are.
	headerSize  = "Hold-Size"
	headerWhole = "Hold-Whole"

	maxReason = 1 << 10 // of every header's text

	// minDeadLetter is the smallest limit that a dead letter is cut to. Its headers fit
	// in that; a server that takes no more than that takes no events.
	minDeadLetter = 512
)

// reasons are the words of ReasonOf.
var reasons = []struct {
	err    error
	reason string
}{
	{ErrFrame, "damaged_frame"},
	{ErrPartition, "wrong_partition"},
	{hold.ErrRequired, "required"},
	{hold.ErrTooLong, "too_long"},
	{hold.ErrNotUTF8, "not_utf8"},
	{hold.ErrControl, "control_character"},
	{hold.ErrTime, "time"},
	{hold.ErrOrder, "order"},
	{hold.ErrFuture, "future"},
	{hold.ErrWeight, "weight"},
	{hold.ErrHoldIDNeeded, "hold_id_needed"},
	{hold.ErrSealed, "sealed"},
}

// reasonMalformed is the reason of everything else: bytes that are no event.
const reasonMalformed = "malformed"

// ReasonOf returns why an event was refused, in one word: the kind of its dead letter,
// and the label reason of metrics.
func ReasonOf(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.reason
		}
	}
	return reasonMalformed
}

// Reasons returns all words of [ReasonOf].
func Reasons() []string {
	words := []string{reasonMalformed}
	for _, r := range reasons {
		words = append(words, r.reason)
	}
	return words
}

// DeadLetter is an event of the log that could not be applied, with the reason.
// Partition, Sequence and Index name it: the partition and the position of the
// log's message, and the event's place within its frame (0 for a lone event).
//
// The log keeps the whole event for ever. Data and headers together may exceed the
// server's largest message. The dead letter then carries the first bytes of the
// event, as many as fit, and says so.
type DeadLetter struct {
	Partition   int
	Sequence    uint64
	Index       int
	Reason      string // one line; control characters become spaces, what is beyond 1 KiB is cut
	Kind        string // of reason, one word, as holdmetrics_events_rejected_total has it; empty in dead letters of earlier versions
	Field       string // the field that was refused, where one was
	Origin      string // where it came from, as DeadLetters.Origin has it; cut like Reason, as is Field
	ContentType string // of Data, as its producer said: JSONContentType, or empty for protobuf
	Data        []byte // the bytes as they came, or the first of them

	// Framed: its event is one of a frame. The dead letters of a frame share a message of
	// the stream.
	Framed bool

	// Truncated and Size are for readers of dead letters. DeadLetters.Publish computes
	// them, and heeds them where a dead letter that was cut is published again.
	Truncated bool // Data is not all; the rest is in the message of the log that Sequence names
	Size      int  // bytes of the whole event

	// Outcome is the outcome of the dead letter, DeadLetterRetried or DeadLetterDropped;
	// empty: it is open. A resolved dead letter has no Data any more.
	Outcome string
}

// Subject is the subject of the dead letter in its stream, unless it shares the message
// of its frame.
func (d *DeadLetter) Subject() string {
	return deadLetterPrefix + strconv.Itoa(d.Partition) + "." + strconv.FormatUint(d.Sequence, 10) + "." + strconv.Itoa(d.Index)
}

// Publish stores a dead letter and returns when the stream has it. A
// subject takes one dead letter, so doing it again, as after a crash, changes
// nothing, even if the dead letter was resolved meanwhile. It replaces a dead letter
// of another log: where a log was recreated and its dead letters were kept, positions
// begin again, and the old dead letter is not about this event. A dead letter too
// large for the server, or for the stream, is cut until it fits, see DeadLetter.
func (s DeadLetters) Publish(ctx context.Context, d DeadLetter) error {
	return s.publish(ctx, &d, true)
}

// publish stores a dead letter: only as the first of its subject if first is
// true, and in the place of what is there otherwise.
func (s DeadLetters) publish(ctx context.Context, d *DeadLetter, first bool) error {
	most := math.MaxInt
	if n := s.log.js.Conn().MaxPayload(); n > 0 && n < math.MaxInt { // 0: not connected yet
		most = int(n)
	}
	last := uint64(0) // what first expects the subject to have
	for {
		expects := strconv.FormatUint(last, 10)
		m := d.message(most - (len(expects) - len("0")))
		if first {
			m.Header[headerLast] = []string{expects}
		}
		ack, err := s.log.js.PublishMsg(ctx, m)
		if err == nil && ack.Stream != DeadLetterStream {
			err = fmt.Errorf("stream %s answered", ack.Stream)
		}
		if err == nil {
			return nil
		}
		if first && wrongLast(err) {
			has, at, asked := s.at(ctx, d)
			switch other := has.otherLog(logOf(d.Origin)); {
			case asked == nil && !other:
				return nil
			case asked == nil && at != last:
				last = at
				continue
			}
			// A cluster also refuses because of a dead letter that is still in flight.
		}
		// A stream may have a limit of its own, and another server a smaller one.
		if size := payload(m); tooLarge(err) && size > minDeadLetter {
			most = max(size/2, minDeadLetter)
			continue
		}
		return fmt.Errorf("ingest: dead letter %s (hint: the partition waits until stream %s takes it): %w", m.Subject, DeadLetterStream, err)
	}
}

// message is the dead letter as it is published: headers and data together within
// most bytes, except for the headers that are always needed.
func (d *DeadLetter) message(most int) *nats.Msg {
	m := &nats.Msg{Subject: d.Subject(), Header: nats.Header{}, Data: d.Data}
	most -= len(headerLast) + len(": 0\r\n")           // which DeadLetters.Publish adds
	text := min(maxReason, max(most, minDeadLetter)/8) // so that all of them take half of it
	m.Header[headerReason] = []string{oneLine(d.Reason, text)}
	for name, value := range map[string]string{headerKind: d.Kind, headerField: d.Field, headerOrigin: d.Origin, ContentTypeHeader: d.ContentType, headerSettled: d.Outcome} {
		if value = oneLine(value, text); value != "" {
			m.Header[name] = []string{value}
		}
	}
	if payload(m) <= most && !d.Truncated {
		return m
	}
	m.Header[headerSize] = []string{strconv.Itoa(max(d.Size, len(d.Data)))}
	m.Header[headerWhole] = []string{fmt.Sprintf("stream %s, sequence %d, partition %d, index %d", StreamName, d.Sequence, d.Partition, d.Index)}
	m.Data = nil // to weigh the headers alone
	m.Data = d.Data[:min(len(d.Data), max(0, most-payload(m)))]
	return m
}

// payload is what counts against the server's limit: headers and data.
func payload(m *nats.Msg) int { return m.Size() - len(m.Subject) - len(m.Reply) }

// wrongLast reports whether a dead letter was refused since its subject has another one.
func wrongLast(err error) bool {
	refused := (*jetstream.APIError)(nil)
	return errors.As(err, &refused) &&
		(refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// tooLarge reports whether a message was refused for its size.
func tooLarge(err error) bool {
	if errors.Is(err, nats.ErrMaxPayload) {
		return true
	}
	refused := (*jetstream.APIError)(nil)
	return errors.As(err, &refused) && refused.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum
}

// ReadDeadLetter reads a message of the stream of dead letters, of which it
// takes subject, headers and data, as both jetstream.Msg and
// jetstream.RawStreamMsg have them. Data is not copied. The error matches ErrDeadLetter.
func ReadDeadLetter(subject string, header nats.Header, data []byte) (DeadLetter, error) {
	rest, ok := strings.CutPrefix(subject, deadLetterPrefix)
	if !ok {
		return DeadLetter{}, fmt.Errorf("%w: subject %q", ErrDeadLetter, clip(subject))
	}
	d := DeadLetter{
		Reason:      header.Get(headerReason),
		Kind:        header.Get(headerKind),
		Outcome:     header.Get(headerSettled),
		Field:       header.Get(headerField),
		Origin:      header.Get(headerOrigin),
		ContentType: header.Get(ContentTypeHeader),
		Data:        data,
		Size:        len(data),
	}
	if size := header.Get(headerSize); size != "" {
		n, err := strconv.Atoi(size)
		if err != nil || n < len(data) {
			return DeadLetter{}, fmt.Errorf("%w: header %s of %q", ErrDeadLetter, headerSize, clip(size))
		}
		d.Truncated, d.Size = true, n
	}
	id, err := ParseDeadLetterID(rest)
	if err != nil {
		return DeadLetter{}, fmt.Errorf("%w: subject %q", ErrDeadLetter, clip(subject))
	}
	d.Partition, d.Sequence, d.Index = id.Partition, id.Sequence, id.Index
	return d, nil
}

// Count returns the number of dead letters that are kept, including resolved ones. It
// reads them all.
func (s DeadLetters) Count(ctx context.Context) (n uint64, err error) {
	for _, err := range s.All(ctx) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// oneLine makes a text fit for a header: valid UTF-8, no control characters, no
// space around it, at most so many bytes.
func oneLine(s string, most int) string {
	s = s[:min(len(s), 4*most)] // a long text is not walked to its end
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	if len(s) > most {
		cut := most
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	return strings.TrimSpace(s)
}
