package processor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"holdmetrics/ingest"
	"holdmetrics/internal/backoff"
	"holdmetrics/internal/consumer"
	"holdmetrics/internal/tracing"
)

const (
	// minPullBytes is how much a partition asks the server for ahead; more only
	// where a single message may be larger.
	minPullBytes = 2 << 20
	// readHeartbeat is how often a server that has nothing to send says that it is
	// there. One that was silent for twice as long is taken for lost with the
	// consumer that it had, which other servers do not tell.
	readHeartbeat = 2 * time.Second
	// readIdle is after how long the server drops a consumer that nobody reads.
	readIdle = 2 * time.Minute
	// readLeave bounds the good-bye to a consumer: who waits for the reader's end may
	// be giving the partition to another worker.
	readLeave = 500 * time.Millisecond
	// readRequest bounds the making of a consumer, where the server may not answer.
	readRequest = 5 * time.Second
	// readBehind is how long a server may give nothing of what the log has: once to
	// ask how far the log goes, and once more for the server to get there.
	readBehind = 4 * time.Second
)

var (
	// errGap: a message of the consumer did not come.
	errGap = errors.New("processor: a message was lost on the way")
	// errBehind: the consumer's server does not have what the log has.
	errBehind = errors.New("processor: the server that was asked is behind the others; another one is asked")
)

// jetStreamLog reads the log with consumers of its own.
type jetStreamLog struct {
	*ingest.Log
	behind time.Duration   // readBehind
	tracer *tracing.Tracer // nil: no span of a message is read
}

// PublishDeadLetters stores the dead letters of one message in the log's stream of them.
func (l jetStreamLog) PublishDeadLetters(ctx context.Context, d []ingest.DeadLetter) error {
	return l.DeadLetters().PublishAll(ctx, d)
}

// reader reads a partition of the log, or all of it, into a prefetch buffer.
//
// It has one consumer at a time, which acknowledges nothing and lives in the memory
// of one server, and of a log with replicas reads the one of that server. At the first
// doubt (a gap, a heartbeat that is missing, a connection that broke, a replica that
// stands still while the log goes on) it is left alone, and when its last message was handed over
// another one begins behind that. The client's own ordered consumer does about the
// same, but begins the next one while the handler may still wait with a message of
// the one before, since the prefetch buffer is full; then a later message could come first,
// and a reader that goes by positions would skip the earlier one for good.
type reader struct {
	log       jetStreamLog
	partition int
	what      string // for errors
	in        *prefetchBuffer
	logger    *zap.Logger
	origins   []string // of the partitions, for dead letters
	pull      int      // bytes
	tracer    *tracing.Tracer

	after uint64  // position of the last message that was handed over
	last  message // which that was; of its data nothing changes

	damaged time.Time // since when the log is known to be damaged behind it; zero: it is not
	stood   int       // how often in a row it had no messages that the log should have
}

func (l jetStreamLog) read(ctx context.Context, partition int, after uint64, in *prefetchBuffer, log *zap.Logger) (func(), error) {
	r := &reader{
		log: l, partition: partition, what: "the log", in: in, logger: log, after: after,
		origins: make([]string, l.Partitions()), tracer: l.tracer,
		pull: max(minPullBytes, int(l.JetStream().Conn().MaxPayload())+4<<10),
	}
	if partition != everyPartition {
		r.what = fmt.Sprintf("partition %d of the log", partition)
	}
	for p := range r.origins {
		r.origins[p] = l.DeadLetters().Origin(p)
	}
	opened, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	reading, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.run(reading, opened)
	}()
	return func() {
		cancel()
		<-ended
	}, nil
}

// open makes a consumer that begins behind the last message.
func (r *reader) open(ctx context.Context) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, readRequest)
	defer cancel()
	subject := ""
	if r.partition != everyPartition {
		subject = ingest.LogSubject(r.partition)
	}
	from := r.after + 1
	if r.stood >= standsStill {
		from = r.log.BehindLost(from) // the server may deliver nothing behind what it cannot read
	}
	config := consumer.From(from, "a worker that reads "+r.what, subject, readIdle)
	opened, err := r.log.JetStream().CreateConsumer(ctx, ingest.StreamName, config)
	if err != nil {
		return nil, fmt.Errorf("processor: read %s: %w", r.what, err)
	}
	return opened, nil
}

// run reads until ctx ends, with one consumer after the other.
func (r *reader) run(ctx context.Context, from jetstream.Consumer) {
	pauses := backoff.Backoff{First: retryFirst, Most: readRequest}
	for {
		if from != nil {
			before := r.after
			err := r.follow(ctx, from)
			if ctx.Err() != nil {
				return
			}
			r.logger.Warn("reading the log was interrupted; it goes on behind the last message", zap.Uint64("position", r.after), zap.Error(err))
			if r.after > before {
				pauses.Reset()
				r.stood = 0
			}
			if errors.Is(err, errBehind) {
				r.stood++
			}
		}
		if pauses.Wait(ctx) != nil {
			return
		}
		err := r.check(ctx)
		if err == nil {
			from, err = r.open(ctx)
		}
		if err != nil {
			from = nil
			r.logger.Debug("the log cannot be read", zap.Error(err))
		}
	}
}

// check makes sure, before another consumer is made, that the log still has the last
// message, and can read what it has behind it where that did not come. Damage is handed
// over as such once it is sure: a server that was the leader may answer with what it had
// then.
func (r *reader) check(ctx context.Context) error {
	err := r.lacks(ctx)
	switch {
	case !errors.Is(err, ingest.ErrLogDamaged):
		r.damaged = time.Time{}
		return err
	case r.damaged.IsZero():
		r.damaged = time.Now()
	}
	if !r.log.Replicated() || time.Since(r.damaged) >= sureAfter {
		r.in.fail(fmt.Errorf("processor: read %s: %w", r.what, err))
	}
	return err
}

// standsStill is how often a reader makes another consumer, of which the next may be at
// another server, before it looks whether the messages can be read at all.
const standsStill = 3

// lacks returns what the log lacks of what it had, or cannot read.
func (r *reader) lacks(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, readRequest)
	defer cancel()
	if r.last.position != 0 {
		anchor := ingest.Anchor{Position: r.after, Hash: ingest.HashOf(r.last.at, r.last.json, r.last.data)}
		if err := r.log.Has(asking, anchor); err != nil {
			return err
		}
	}
	if err := r.log.Whole(asking, r.after+1); err != nil {
		return err
	}
	if r.stood < standsStill {
		return nil
	}
	end, err := r.log.LastPosition(asking)
	if err != nil {
		return err
	}
	return r.log.Check(ctx, ingest.Span{First: r.after + 1, Last: end})
}

// follow hands over what a consumer gives until ctx ends or something casts doubt on
// it, and returns when the last message was handed over.
func (r *reader) follow(ctx context.Context, from jetstream.Consumer) error {
	conn := r.log.JetStream().Conn()
	lost := conn.StatusChanged(nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED)
	defer conn.RemoveStatusListener(lost)
	if !conn.IsConnected() {
		return nats.ErrDisconnected
	}
	broken := make(chan error, 1)
	fail := func(err error) {
		select {
		case broken <- err:
		default:
		}
	}
	var (
		handling sync.Mutex // what Closed says is true while a handler still runs
		over     bool       // what comes is of the next consumer
		received uint64
	)
	// The handler waits while the prefetch buffer is full. The client counts its heartbeats
	// only between handlers and asks for no more meanwhile, so a wait is harmless.
	reading, err := from.Consume(func(msg jetstream.Msg) {
		handling.Lock()
		defer handling.Unlock()
		if over {
			return
		}
		received++
		if err := r.handle(ctx, msg, received); err != nil {
			over = true
			fail(err)
		}
	}, jetstream.PullMaxBytes(r.pull), jetstream.PullHeartbeat(readHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { fail(err) }))
	if err != nil {
		return fmt.Errorf("processor: read %s: %w", r.what, err)
	}
	standing := time.NewTicker(r.log.behind)
	defer standing.Stop()
	// What the log went on to when it was last asked, and nothing had come for a while.
	for end, before := uint64(0), uint64(0); err == nil; {
		select {
		case err = <-broken:
		case <-lost:
			err = nats.ErrDisconnected
		case <-ctx.Done():
			err = ctx.Err()
		case <-standing.C:
			if !handling.TryLock() {
				end = 0 // a message waits for space in the buffer
				continue
			}
			still, after := received == before, r.after
			before = received
			handling.Unlock()
			switch {
			case !still:
				end = 0
			case end > after:
				err = fmt.Errorf("%w: it has nothing behind position %d, and the log goes on to %d", errBehind, after, end)
			default:
				if end = r.end(ctx); end != 0 && end <= after {
					r.in.atEnd(after)
				}
			}
		}
	}
	reading.Stop()
	handling.Lock()
	over = true
	handling.Unlock()
	<-reading.Closed()
	// Where partitions change hands often, consumers that stay would be many, and each
	// costs the server something with every message.
	consumer.Drop(ctx, r.log.JetStream(), ingest.StreamName, from, readLeave)
	return err
}

// end is how far the log goes, of what is read of it; 0 where nobody says.
func (r *reader) end(ctx context.Context) (position uint64) {
	ctx, cancel := context.WithTimeout(ctx, r.log.behind)
	defer cancel()
	var err error
	if r.partition == everyPartition {
		position, err = r.log.LastPosition(ctx)
	} else {
		position, err = r.log.End(ctx, r.partition)
	}
	if err != nil {
		return 0
	}
	return position
}

// handle hands over the n-th message of a consumer.
func (r *reader) handle(ctx context.Context, msg jetstream.Msg, n uint64) error {
	meta, err := msg.Metadata()
	if err != nil {
		return fmt.Errorf("processor: message of the log without metadata: %w", err)
	}
	if meta.Sequence.Consumer != n {
		return errGap
	}
	at := r.partition
	if at == everyPartition {
		if at, err = ingest.PartitionOf(msg.Subject()); err != nil || at >= len(r.origins) {
			// The stream takes no such subjects.
			r.logger.Error("message of the log without a partition", zap.String("subject", msg.Subject()))
			return nil
		}
	}
	headers, data := msg.Headers(), msg.Data()
	logTime, err := r.timeOf(ctx, meta.Sequence.Stream, headers, meta.Timestamp)
	if err != nil {
		return err
	}
	if len(headers) > 0 {
		// The client has headers and data in one piece of memory, of which the
		// prefetch buffer counts the data. Headers may be large, and end here.
		data = bytes.Clone(data)
	}
	m := message{
		position:  meta.Sequence.Stream,
		partition: at,
		at:        logTime,
		pending:   meta.NumPending,
		json:      len(headers) > 0 && ingest.IsJSON(headers),
		origin:    r.origins[at],
		data:      data,
		span:      r.tracer.Extract(headers),
	}
	if r.in.put(m) {
		r.after, r.last = m.position, m
	}
	return nil
}

// timeOf is the log's time of a message. It waits for as long as an import fills the log,
// which may be hours, and shows what it waits for meanwhile.
func (r *reader) timeOf(ctx context.Context, position uint64, header nats.Header, stored time.Time) (int64, error) {
	for said := false; ; {
		at, err := r.log.TimeOf(ctx, position, header, stored)
		if ctx.Err() != nil || !errors.Is(err, ingest.ErrUnfinishedImport) {
			r.in.awaits(nil)
			return at, err
		}
		if r.in.awaits(err); !said {
			r.logger.Warn("waiting for an import of the log to finish", zap.Error(err))
			said = true
		}
	}
}
