package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdmetrics/internal/consumer"

	"github.com/nats-io/nats.go/jetstream"
)

// Everywhere is all partitions, where one is asked for.
const Everywhere = -1

// behindIdle is after how long the server drops a consumer that could not be deleted.
const behindIdle = 5 * time.Second

// Behind is what the log has of a partition behind a position.
type Behind struct {
	Messages uint64
	First    int64 // ns, the log's time of the first of them; 0: there is none
	// Events are those of the messages, of which Estimated are no count: no more than
	// the first and the last message are looked at.
	Events, Estimated uint64
}

// Behind counts what a partition, or Everywhere, has behind a position. The server
// counts the messages, none of which is sent but the first and the last: it takes a
// few requests however many they are.
func (l *Log) Behind(ctx context.Context, partition int, position uint64) (Behind, error) {
	subject := logSubjectPrefix + "*"
	if partition != Everywhere {
		subject = LogSubject(partition)
	}
	fail := func(err error) (Behind, error) {
		return Behind{}, fmt.Errorf("ingest: count what is behind position %d under %s: %w", position, subject, err)
	}
	raw, err := l.events.GetMsg(ctx, position+1, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Behind{}, nil
	}
	if err != nil {
		return fail(err)
	}
	first, err := l.messageOfRaw(ctx, raw)
	if err != nil {
		return fail(err)
	}
	counting, err := l.js.CreateConsumer(ctx, StreamName, consumer.From(first.Position, "a look at how much is behind", subject, behindIdle))
	if err != nil {
		return fail(err)
	}
	consumer.Drop(ctx, l.js, StreamName, counting, behindIdle)
	b := Behind{Messages: max(counting.CachedInfo().NumPending, 1), First: first.Time}
	of := uint64(EventsIn(first.Data))
	b.Events = of
	if b.Messages == 1 {
		return b, nil
	}
	last, err := l.events.GetLastMsgForSubject(ctx, subject)
	if err != nil {
		return fail(err)
	}
	too := uint64(EventsIn(last.Data))
	b.Events += too
	if more := b.Messages - 2; more > 0 {
		b.Estimated = (more*(of+too) + 1) / 2
		b.Events += b.Estimated
	}
	return b, nil
}
