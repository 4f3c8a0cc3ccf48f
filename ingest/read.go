package ingest

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/nats-io/nats.go/jetstream"
)

// Range says which messages of the log Read gives.
type Range struct {
	// From and To are the first and the last position. 0: the beginning, and the end
	// that the log has when the reading begins.
	From, To uint64
	// Partitions are the ones to read; nil: all.
	Partitions []int
	// Follow goes on behind the end of the log, until the context ends.
	Follow bool
	// Gaps passes over positions whose messages are missing or cannot be read. Without it
	// a read of all partitions ends there with a *GapError.
	Gaps bool
}

// FindLog opens the event log that there is, for who looks at it, and makes none:
// where there is no log the error matches ErrNoLog.
func FindLog(ctx context.Context, js jetstream.JetStream) (*Log, error) {
	events, err := js.Stream(ctx, StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, ErrNoLog
	}
	if err != nil {
		return nil, fmt.Errorf("ingest: open stream %s (hint: does the server run JetStream?): %w", StreamName, err)
	}
	return openEvents(js, events)
}

// Read gives the messages of a range by ascending position. It ends with the
// range; with Follow, when ctx ends, whose error it then gives. Other errors are
// those of a log that cannot be read; they too are the last that it gives. A
// message stays valid. Of a read of some partitions, messages that the server cannot read
// are absent.
//
// The connection may be lost and found meanwhile: the reading goes on behind the
// last message. A stream that does not deliver what it has, or while a range is read
// does not answer for a minute, is an error that matches ErrSilent.
func (l *Log) Read(ctx context.Context, r Range) iter.Seq2[*Message, error] {
	return func(yield func(*Message, error) bool) {
		if err := l.read(ctx, r, func(m *Message) bool { return yield(m, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

func (l *Log) read(ctx context.Context, r Range, give func(*Message) bool) error {
	d := delivery{js: l.js, stream: l.events, name: StreamName, subjects: []string{logSubjectPrefix + "*"}, patience: l.patience}
	if r.Partitions != nil {
		d.subjects = nil
		for _, p := range r.Partitions {
			d.subjects = append(d.subjects, LogSubject(p))
		}
	}
	fail := func(err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("ingest: read the log: %w", err)
	}
	through, whole := r.To, r.Partitions == nil && !r.Gaps
	if r.To != 0 || !r.Follow {
		ending := d.end
		if whole {
			ending = l.LastPosition // whose message may be one that cannot be read
		}
		end, err := ending(ctx)
		if err != nil {
			return fail(err)
		}
		if end < max(r.From, 1) {
			return nil
		}
		if through == 0 || end < through && !r.Follow {
			through = end
		}
	}
	var failed error // of a message; it says itself where
	next, enough := max(r.From, 1), false
	// gap is the error of a read of the whole log that comes to a position.
	gap := func(position uint64) error {
		if !whole || position == next {
			return nil
		}
		within := Span{next, position - 1}
		return l.note(gapError(without([]Span{within}, l.LostPositions(), within)))
	}
	deliver := func(msg jetstream.Msg, meta *jetstream.MsgMetadata) (bool, error) {
		if failed = gap(meta.Sequence.Stream); failed != nil {
			return false, failed
		}
		m, err := l.messageOf(ctx, msg, meta)
		if err != nil {
			failed = err
			return false, err
		}
		next = m.Position + 1
		enough = !give(m)
		return !enough, nil
	}
	err := d.run(ctx, r.From, through, deliver)
	for err == nil && failed == nil && !enough && next <= through {
		// The server may deliver nothing behind what it cannot read.
		lost := l.lostAt(next)
		if lost == nil {
			if !whole {
				break
			}
			if failed = l.Check(ctx, Span{next, through}); failed == nil {
				failed = fmt.Errorf("%w: position %d", ErrSilent, next)
			}
			break
		}
		next = lost.Last + 1
		err = d.run(ctx, next, through, deliver)
	}
	switch {
	case failed != nil:
		return failed
	case err != nil:
		return fail(err)
	}
	return nil
}

func (l *Log) messageOf(ctx context.Context, msg jetstream.Msg, meta *jetstream.MsgMetadata) (*Message, error) {
	partition, err := PartitionOf(msg.Subject())
	if err != nil {
		return nil, fmt.Errorf("ingest: position %d: %w", meta.Sequence.Stream, err)
	}
	header := msg.Headers()
	at, err := l.TimeOf(ctx, meta.Sequence.Stream, header, meta.Timestamp)
	if err != nil {
		return nil, err
	}
	return &Message{
		Position:  meta.Sequence.Stream,
		Partition: partition,
		Time:      at,
		JSON:      IsJSON(header),
		Header:    header,
		Data:      msg.Data(),
	}, nil
}

// Message gets the message at a position; the error matches
// jetstream.ErrMsgNotFound if there is none.
func (l *Log) Message(ctx context.Context, position uint64) (*Message, error) {
	raw, err := l.events.GetMsg(ctx, position)
	if err != nil {
		return nil, fmt.Errorf("ingest: position %d of the log: %w", position, err)
	}
	return l.messageOfRaw(ctx, raw)
}

func (l *Log) messageOfRaw(ctx context.Context, raw *jetstream.RawStreamMsg) (*Message, error) {
	partition, err := PartitionOf(raw.Subject)
	if err != nil {
		return nil, fmt.Errorf("ingest: position %d: %w", raw.Sequence, err)
	}
	at, err := l.TimeOf(ctx, raw.Sequence, raw.Header, raw.Time)
	if err != nil {
		return nil, err
	}
	return &Message{
		Position:  raw.Sequence,
		Partition: partition,
		Time:      at,
		JSON:      IsJSON(raw.Header),
		Header:    raw.Header,
		Data:      raw.Data,
	}, nil
}

// PositionAt gives the first position whose message is not earlier than a time of
// the log, in nanoseconds, and one behind the end if there is none. It looks at
// some twenty messages, not at all. Where the broker's clock stepped back there may
// be several such places; it finds one of them.
func (l *Log) PositionAt(ctx context.Context, at int64) (uint64, error) {
	last, err := l.LastPosition(ctx)
	if err != nil {
		return 0, err
	}
	low, high := uint64(1), last+1 // the answer is within
	for low < high {
		middle := low + (high-low)/2
		raw, err := l.events.GetMsg(ctx, middle, jetstream.WithGetMsgSubject(logSubjectPrefix+"*"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			high = middle
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("ingest: position %d of the log: %w", middle, err)
		}
		m, err := l.messageOfRaw(ctx, raw)
		if err != nil {
			return 0, err
		}
		if m.Time < at {
			low = m.Position + 1
		} else {
			high = middle
		}
	}
	return low, nil
}
