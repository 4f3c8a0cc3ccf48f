package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
)

// What can become of a dead letter.
const (
	DeadLetterRetried = "retried" // its event was accepted when it was sent again
	DeadLetterDropped = "dropped" // an operator wants to see it no more
)

// ErrNoDeadLetter: there is no dead letter of that id.
var ErrNoDeadLetter = errors.New("ingest: there is no such dead letter")

// ID is the name of a dead letter, <partition>.<sequence>.<index>.
func (d *DeadLetter) ID() string { return strings.TrimPrefix(d.Subject(), deadLetterPrefix) }

// ParseDeadLetterID reads an id, as DeadLetter.ID writes it, into the three numbers of
// the dead letter. The error matches ErrDeadLetter.
func ParseDeadLetterID(id string) (DeadLetter, error) {
	parts := strings.Split(id, ".")
	if len(parts) == 3 {
		partition, err1 := strconv.ParseUint(parts[0], 10, 31)
		sequence, err2 := strconv.ParseUint(parts[1], 10, 64)
		index, err3 := strconv.ParseUint(parts[2], 10, 31)
		d := DeadLetter{Partition: int(partition), Sequence: sequence, Index: int(index)}
		if errors.Join(err1, err2, err3) == nil && d.ID() == id {
			return d, nil
		}
	}
	return DeadLetter{}, fmt.Errorf("%w: %q is not PARTITION.SEQUENCE.INDEX, such as 3.1207.0", ErrDeadLetter, clip(id))
}

// originPrefix is followed by the id of a log, a space and a subject.
const originPrefix = "log "

// DeadLetters is the stream of dead letters of a log. It holds no resources, and is
// safe for concurrent use.
type DeadLetters struct{ log *Log }

// DeadLetters returns the log's stream of dead letters.
func (l *Log) DeadLetters() DeadLetters { return DeadLetters{l} }

// Origin is the origin of the dead letters of a partition of this log.
func (s DeadLetters) Origin(partition int) string {
	return originPrefix + s.log.id + " " + LogSubject(partition)
}

// logOf is the id of the log that an origin names; empty: it names none.
func logOf(origin string) string {
	rest, named := strings.CutPrefix(origin, originPrefix)
	id, _, whole := strings.Cut(rest, " ")
	if !named || !whole {
		return ""
	}
	return id
}

// otherLog reports whether the dead letter is of another log than the one of that id.
// A dead letter that names no log is of any.
func (d *DeadLetter) otherLog(id string) bool {
	named := logOf(d.Origin)
	return named != "" && id != "" && named != id
}

// Get returns a dead letter by the three numbers of its id, resolved or not. The
// error matches ErrNoDeadLetter if there is none.
func (s DeadLetters) Get(ctx context.Context, id DeadLetter) (DeadLetter, error) {
	d, _, err := s.at(ctx, &id)
	return d, err
}

// at is Get, with the sequence of the dead letter in its stream.
func (s DeadLetters) at(ctx context.Context, id *DeadLetter) (d DeadLetter, at uint64, err error) {
	stream, err := s.log.js.Stream(ctx, DeadLetterStream)
	if err == nil {
		var raw *jetstream.RawStreamMsg
		if raw, err = stream.GetLastMsgForSubject(ctx, id.Subject()); err == nil {
			d, err = ReadDeadLetter(raw.Subject, raw.Header, raw.Data)
			return d, raw.Sequence, err
		}
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return DeadLetter{}, 0, fmt.Errorf("%w: %s", ErrNoDeadLetter, id.ID())
	}
	return DeadLetter{}, 0, fmt.Errorf("ingest: dead letter %s: %w", id.ID(), err)
}

// All yields the dead letters that there are when it begins, including resolved
// ones, in the order of arrival. The last value that it yields may be an error.
func (s DeadLetters) All(ctx context.Context) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		if err := s.each(ctx, func(d DeadLetter) bool { return yield(d, nil) }); err != nil {
			yield(DeadLetter{}, err)
		}
	}
}

func (s DeadLetters) each(ctx context.Context, give func(DeadLetter) bool) error {
	const what = "ingest: read the dead letters: %w"
	stream, err := s.log.js.Stream(ctx, DeadLetterStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf(what, err)
	}
	state := stream.CachedInfo().State
	if state.Msgs == 0 {
		return nil
	}
	reader := delivery{js: s.log.js, stream: stream, name: DeadLetterStream, subjects: []string{">"}, patience: s.log.patience}
	end, err := reader.end(ctx)
	if err != nil {
		return fmt.Errorf(what, err)
	}
	if end == 0 {
		return nil
	}
	err = reader.run(ctx, 1, min(end, state.LastSeq), func(msg jetstream.Msg, _ *jetstream.MsgMetadata) (bool, error) {
		// Anybody may publish there; messages that are not dead letters are skipped.
		d, err := ReadDeadLetter(msg.Subject(), msg.Headers(), msg.Data())
		return err != nil || give(d), nil
	})
	switch {
	case ctx.Err() != nil && err != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf(what, err)
	}
	return nil
}

// Resolve resolves a dead letter: a tombstone takes its place, with the outcome
// and the reason. The processor may apply a tail of the log again; the tombstone
// keeps it from creating the dead letter again. Resolving it again changes only the
// recorded outcome.
func (s DeadLetters) Resolve(ctx context.Context, d DeadLetter, outcome string) error {
	d.Outcome = outcome
	if !d.Truncated {
		d.Truncated, d.Size = true, max(d.Size, len(d.Data)) // the log has it
	}
	d.Data = nil
	return s.publish(ctx, &d, false)
}

// Whole returns a dead letter with all its bytes. If it was cut, or resolved, they
// come from the log. The error matches ErrNoDeadLetter if the log does not have them, as
// for a dead letter of another log.
func (s DeadLetters) Whole(ctx context.Context, d DeadLetter) (DeadLetter, error) {
	if !d.Truncated {
		return d, nil
	}
	if d.otherLog(s.log.id) {
		return d, fmt.Errorf("%w: %s was cut, and the rest of it is in another log (%s)", ErrNoDeadLetter, d.ID(), d.Origin)
	}
	m, err := s.log.Message(ctx, d.Sequence)
	if err != nil {
		return d, err
	}
	for e := range m.Entries() {
		if e.Index == d.Index && len(e.Data) == d.Size {
			d.Data, d.Truncated = e.Data, false
			return d, nil
		}
	}
	return d, fmt.Errorf("%w: position %d of the log has no event %d of %d bytes", ErrNoDeadLetter, d.Sequence, d.Index, d.Size)
}

// Decode reads the event of a whole dead letter, as DecodeEvent and DecodeJSON do.
func (d *DeadLetter) Decode(into *hold.Draft) error {
	if d.Truncated {
		return fmt.Errorf("%w: the dead letter has %d bytes of %d", ErrMalformed, len(d.Data), d.Size)
	}
	if d.ContentType == JSONContentType {
		return DecodeJSON(d.Data, into)
	}
	if IsFrame(d.Data) {
		return fmt.Errorf("%w: a frame that cannot be read", ErrFrame)
	}
	return DecodeEvent(d.Data, into)
}
