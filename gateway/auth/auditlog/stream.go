package auditlog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Stream is the name of the stream.
const Stream = "HOLD_AUDIT_LOG"

const (
	actSubject     = "hold.audit.act"
	refusalSubject = "hold.audit.refusal"

	// maxAge and maxEntries, of each kind, bound the stream. So refusals take the place of
	// older refusals alone.
	maxAge     = 400 * 24 * time.Hour
	maxEntries = 100_000
	maxBytes   = 512 << 20
	maxMessage = 16 << 10
	// readIdle is how long a read that follows nothing waits for a message that is there.
	readIdle = 5 * time.Second
)

// ErrNone means that there is no audit log yet.
var ErrNone = errors.New("auditlog: there is no audit log yet: nothing was refused, and no operator did anything")

// Open makes the stream if there is none.
func Open(ctx context.Context, js jetstream.JetStream, replicas int) error {
	_, err := js.Stream(ctx, Stream)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return opening(err)
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name:              Stream,
		Description:       "Who did what, and who was refused; kept by holdmetrics",
		Subjects:          []string{actSubject, refusalSubject},
		Storage:           jetstream.FileStorage,
		Replicas:          max(replicas, 1),
		Discard:           jetstream.DiscardOld,
		MaxAge:            maxAge,
		MaxMsgsPerSubject: maxEntries,
		MaxBytes:          maxBytes,
		MaxMsgSize:        maxMessage,
		DenyDelete:        true,
		DenyPurge:         true,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	return opening(err)
}

func opening(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("auditlog: open stream %s: %w", Stream, err)
}

// Write adds an entry. It returns when the stream has it.
func Write(ctx context.Context, js jetstream.JetStream, e Entry) error {
	data, err := e.encode()
	if err != nil {
		return err
	}
	subject := actSubject
	if e.Kind == Refusal {
		subject = refusalSubject
	}
	_, err = js.Publish(ctx, subject, data)
	if err != nil {
		return fmt.Errorf("auditlog: write: %w", err)
	}
	return nil
}

// Read yields the entries from a time on, the oldest first. With follow it goes on until ctx
// ends; else it ends with the last entry that there was at the call. An entry that cannot be
// read has an error of its own, and the others go on.
func Read(ctx context.Context, js jetstream.JetStream, from time.Time, follow bool) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		stream, err := js.Stream(ctx, Stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = ErrNone
		}
		if err != nil {
			yield(Entry{}, opening(err))
			return
		}
		last := stream.CachedInfo().State.LastSeq
		if !follow && stream.CachedInfo().State.Msgs == 0 {
			return
		}
		cfg := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
		if !from.IsZero() {
			cfg.DeliverPolicy, cfg.OptStartTime = jetstream.DeliverByStartTimePolicy, &from
		}
		consumer, err := stream.OrderedConsumer(ctx, cfg)
		if err != nil {
			yield(Entry{}, opening(err))
			return
		}
		if info, err := consumer.Info(ctx); !follow && err == nil && info.NumPending == 0 {
			return
		}
		messages, err := consumer.Messages()
		if err != nil {
			yield(Entry{}, opening(err))
			return
		}
		defer messages.Stop()
		read(ctx, messages, last, follow, yield)
	}
}

// read yields the entries of messages up to the last, or on and on.
func read(ctx context.Context, messages jetstream.MessagesContext, last uint64, follow bool, yield func(Entry, error) bool) {
	for {
		within, cancel := ctx, context.CancelFunc(func() {})
		if !follow { // from a time on there may be none
			within, cancel = context.WithTimeout(ctx, readIdle)
		}
		m, err := messages.Next(jetstream.NextContext(within))
		cancel()
		switch {
		case err != nil && ctx.Err() == nil && !follow && errors.Is(err, context.DeadlineExceeded):
			return
		case err != nil:
			yield(Entry{}, err)
			return
		}
		about, err := m.Metadata()
		if err != nil {
			yield(Entry{}, err)
			return
		}
		e, err := decode(m.Data())
		if err != nil {
			err = fmt.Errorf("entry %d cannot be read: %w", about.Sequence.Stream, err)
		}
		e.Sequence = about.Sequence.Stream
		if !yield(e, err) || !follow && (about.Sequence.Stream >= last || about.NumPending == 0) {
			return
		}
	}
}
