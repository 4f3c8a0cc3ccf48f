package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// readPatience is the silence after which a reader asks the stream whether there
	// is more. It notices after this time at the earliest, after twice as long at the
	// latest.
	readPatience = 2 * time.Second
	// readConsumers is how many consumers in a row may deliver nothing of messages that
	// are there before a read gives up.
	readConsumers = 5
	// askMost bounds one question to the stream.
	askMost = 10 * time.Second
	// readAway is how long a read of a range goes on while the server does not answer.
	readAway = time.Minute
)

// ErrSilent means that a stream has messages that it does not deliver, or does not
// answer for so long that a read gave up.
var ErrSilent = errors.New("the stream does not deliver its messages")

// delivery delivers messages of a stream by ascending position. It relies neither on
// the count of pending messages that comes with a message, nor on a consumer that
// keeps delivering: after a silence it asks the stream, and replaces the consumer if
// the stream has more.
type delivery struct {
	js       jetstream.JetStream
	stream   jetstream.Stream
	name     string        // of the stream
	subjects []string      // the ones to deliver
	patience time.Duration // 0: readPatience

	headersOnly bool // deliver no data

	unanswered int // questions in a row that the stream has not answered in time

	last  uint64    // last position delivered, or the one before the first
	heard time.Time // of the last message, or answer of the stream
}

// end returns the last position that the stream has under the subjects, or 0 if there
// is none.
func (d *delivery) end(ctx context.Context) (uint64, error) {
	end := uint64(0)
	for _, subject := range d.subjects {
		m, err := d.stream.GetLastMsgForSubject(ctx, subject)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return 0, err
		default:
			end = max(end, m.Sequence)
		}
	}
	return end, nil
}

// more returns the first position behind the last one delivered, or 0 if there is none.
func (d *delivery) more(ctx context.Context) (uint64, error) {
	first := uint64(0)
	for _, subject := range d.subjects {
		m, err := d.stream.GetMsg(ctx, d.last+1, jetstream.WithGetMsgSubject(subject))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
		case err != nil:
			return 0, err
		case first == 0 || m.Sequence < first:
			first = m.Sequence
		}
	}
	return first, nil
}

// run delivers the messages from a position on, through position through, or without
// end if that is 0. It returns when give returns false, when through is reached or
// passed, when the stream has no more up to it, or with ctx's error.
func (d *delivery) run(ctx context.Context, from, through uint64, give func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error)) error {
	if d.patience == 0 {
		d.patience = readPatience
	}
	d.last, d.heard = max(from, 1)-1, time.Now()
	for silent := 1; ; silent++ {
		before := d.last
		done, err := d.consume(ctx, through, give)
		if done || err != nil {
			return err
		}
		if d.last != before {
			silent = 0
		}
		if silent >= readConsumers {
			return fmt.Errorf("%w: %d consumers of %s in a row, for %s each, delivered nothing behind position %d%s: look at the server, and read again",
				ErrSilent, silent, d.name, d.patience, d.last, d.wanted(through))
		}
	}
}

// wanted is the part of an error that names the end of a range.
func (d *delivery) wanted(through uint64) string {
	if through == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", through)
}

// consume delivers what one consumer has, and reports whether that was all. It reports
// false if the consumer is silent and the stream has more.
func (d *delivery) consume(ctx context.Context, through uint64, give func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error)) (done bool, err error) {
	consumer, err := d.js.OrderedConsumer(ctx, d.name, jetstream.OrderedConsumerConfig{
		FilterSubjects: d.subjects,
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    d.last + 1,
		HeadersOnly:    d.headersOnly,
	})
	if err != nil {
		return false, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return false, err
	}
	defer messages.Stop()
	for {
		switch why, err := d.listen(ctx, messages, through, give); {
		case why == atEnd || err != nil:
			return true, err
		case why == silent:
			asked := time.Now()
			if more, err := d.look(ctx, through); more || err != nil {
				return false, err
			}
			if through != 0 && !d.heard.Before(asked) {
				return true, nil // what was there has gone
			}
		}
	}
}

// turn is why listen returned.
type turn int

const (
	goesOn turn = iota
	atEnd
	silent
)

// listen delivers for about the time of patience, or returns silent after twice that
// time without a message. One context serves many messages: a timer for each would cost
// as much as the message.
func (d *delivery) listen(ctx context.Context, messages jetstream.MessagesContext, through uint64, give func(jetstream.Msg, *jetstream.MsgMetadata) (bool, error)) (turn, error) {
	wait, cancel := context.WithTimeout(ctx, 2*d.patience)
	defer cancel()
	for since := time.Now(); time.Since(since) < d.patience; {
		msg, err := messages.Next(jetstream.NextContext(wait))
		switch {
		case ctx.Err() != nil:
			return atEnd, ctx.Err()
		case err != nil && wait.Err() != nil:
			return silent, nil
		case err != nil:
			return atEnd, err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return atEnd, fmt.Errorf("message without metadata: %w", err)
		}
		position := meta.Sequence.Stream
		if position <= d.last {
			continue // delivered before
		}
		if through != 0 && position > through {
			return atEnd, nil
		}
		d.last, d.heard = position, time.Now()
		if ok, err := give(msg, meta); !ok || err != nil || position == through {
			return atEnd, err
		}
	}
	return goesOn, nil
}

// look asks the stream, after a silence, whether it has more up to a position; 0: at
// all. An answer sets heard. The error is ErrSilent if a range is read and the stream has
// not answered for too long.
func (d *delivery) look(ctx context.Context, through uint64) (more bool, err error) {
	// A server may be slower than any fixed time, so each question waits longer.
	asking, cancel := context.WithTimeout(ctx, min(2*d.patience<<min(d.unanswered, 8), askMost))
	defer cancel()
	next, err := d.more(asking)
	if err == nil {
		d.heard, d.unanswered = time.Now(), 0
		return next != 0 && (through == 0 || next <= through), nil
	}
	d.unanswered++
	if away := time.Since(d.heard); through != 0 && away > readAway && ctx.Err() == nil {
		return false, fmt.Errorf("%w: waited at position %d%s of %s, last heard %s ago: %w", ErrSilent, d.last, d.wanted(through), d.name, away.Round(time.Second), err)
	}
	return false, ctx.Err()
}
