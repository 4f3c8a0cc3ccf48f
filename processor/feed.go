package processor

import (
	"bytes"
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/processor/hold"
)

// eventLog is what the worker needs of the log. *ingest.Log behind jetStreamLog
// is the one that counts; tests bring one in memory.
type eventLog interface {
	ID() string
	Partitions() int
	End(ctx context.Context, partition int) (uint64, error)
	LimitsAt(position uint64) hold.Limits
	// Look says which log there is now, and its last position.
	Look(ctx context.Context) (id string, last uint64, err error)
	PublishDeadLetter(ctx context.Context, d ingest.DeadLetter) error
	// read puts the messages of a partition, or of everyPartition, behind position
	// into the inbox, in order, until stop is called, which waits for the reader's
	// end. The inbox must be closed first.
	read(ctx context.Context, partition int, after uint64, in *inbox, log *zap.Logger) (stop func(), err error)
}

// jetStreamLog reads the log with ordered consumers.
type jetStreamLog struct{ *ingest.Log }

// minPullBytes is how much a partition asks the server for ahead; more only
// where a single message may be larger.
const minPullBytes = 2 << 20

func (l jetStreamLog) read(ctx context.Context, partition int, after uint64, in *inbox, log *zap.Logger) (func(), error) {
	js := l.JetStream()
	config := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   after + 1,
	}
	what := "the log"
	if partition != everyPartition {
		config.FilterSubjects = []string{ingest.LogSubject(partition)}
		what = fmt.Sprintf("partition %d of the log", partition)
	}
	consumer, err := js.OrderedConsumer(ctx, ingest.StreamName, config)
	if err != nil {
		return nil, fmt.Errorf("processor: read %s: %w", what, err)
	}
	origins := make([]string, l.Partitions())
	for p := range origins {
		origins[p] = "log " + l.ID() + " " + ingest.LogSubject(p)
	}
	// The handler waits while the inbox is full. The client counts its heartbeats
	// only between handlers and asks for no more meanwhile, so a wait is harmless.
	handle := func(msg jetstream.Msg) {
		meta, err := msg.Metadata()
		if err != nil {
			// The ordered consumer has just read the same metadata.
			log.Error("message of the log without metadata", zap.Error(err))
			return
		}
		at := partition
		if at == everyPartition {
			if at, err = ingest.PartitionOf(msg.Subject()); err != nil || at >= len(origins) {
				// The stream takes no such subjects.
				log.Error("message of the log without a partition", zap.String("subject", msg.Subject()))
				return
			}
		}
		headers, data := msg.Headers(), msg.Data()
		if len(headers) > 0 {
			// The client has headers and data in one piece of memory, of which the
			// inbox counts the data. Headers may be large, and end here.
			data = bytes.Clone(data)
		}
		in.put(message{
			position:  meta.Sequence.Stream,
			partition: at,
			at:        meta.Timestamp.UnixNano(),
			pending:   meta.NumPending,
			json:      len(headers) > 0 && ingest.IsJSON(headers),
			origin:    origins[at],
			data:      data,
		})
	}
	pull := max(minPullBytes, int(js.Conn().MaxPayload())+4<<10)
	reading, err := consumer.Consume(handle,
		jetstream.PullMaxBytes(pull),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			// The ordered consumer begins anew behind the last message on its own.
			log.Warn("reading the log was interrupted; it is tried again", zap.Error(err))
		}))
	if err != nil {
		return nil, fmt.Errorf("processor: read %s: %w", what, err)
	}
	return func() {
		reading.Stop()
		<-reading.Closed()
	}, nil
}
