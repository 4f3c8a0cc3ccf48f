package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/test/bench/internal/child"
)

// Input is what a load sends, and where to.
type Input struct {
	At      Addresses
	Window  Window
	Holders int
	Workers int // streams, connections or callers
	Batch   int // events a batch or a request
	Echo    bool
}

const (
	// Holders is the number of holders in the rows about endpoints and the log.
	Holders = 100_000
	// LogBatch is the number of events in a batch of the Go producer.
	LogBatch = 4096
)

// ProduceRole sends events with the Go producer: it checks, encodes and frames
// them, and the broker acknowledges each frame. All of that is measured.
func ProduceRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[Input](raw)
	if err != nil {
		return err
	}
	conn, js, err := DialNATS(in.At.NATS)
	if err != nil {
		return err
	}
	defer conn.Close()
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		return err
	}
	producer := ingest.NewProducer(log, ingest.ProducerOptions{})
	defer producer.Close(ctx) //nolint:errcheck // what is in flight does not count any more
	r, err := drive(ctx, in.Window, in.Workers, func(ctx context.Context, w int, count *atomic.Int64) error {
		events := NewSource(w, in.Workers, in.Holders)
		drafts := make([]hold.Draft, in.Batch)
		failed := make(chan error, 1)
		for ctx.Err() == nil {
			events.fill(drafts)
			producer.SendBatch(ctx, drafts, func(r ingest.BatchResult) {
				count.Add(int64(r.Accepted))
				if len(r.Refused) > 0 {
					select {
					case failed <- r.Refused[0].Err:
					default:
					}
				}
			})
			select {
			case err := <-failed:
				return err
			default:
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer(r)
}

// PublishRole publishes one event a message, asynchronously: what a user of
// JetStream would do without frames. It goes to the same stream, past the subject
// transform. The server acknowledges what it found in its queue at once only when
// all of it is stored, so more in flight would be no faster with an fsync each,
// and for seconds nothing would be acknowledged.
func PublishRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[Input](raw)
	if err != nil {
		return err
	}
	const inFlight = 1024
	r, err := drive(ctx, in.Window, in.Workers, func(ctx context.Context, w int, count *atomic.Int64) error {
		conn, js, err := DialNATS(in.At.NATS, jetstream.WithPublishAsyncMaxPending(2*inFlight))
		if err != nil {
			return err
		}
		defer conn.Close()
		events := NewSource(w, in.Workers, in.Holders)
		var d hold.Draft
		ring := make([]jetstream.PubAckFuture, inFlight/in.Workers)
		for i := 0; ctx.Err() == nil; i++ {
			slot := &ring[i%len(ring)]
			if *slot != nil {
				select {
				case <-(*slot).Ok():
					count.Add(1)
				case err := <-(*slot).Err():
					return err
				case <-ctx.Done():
					return nil
				}
			}
			events.Next(&d)
			subject := ingest.LogSubject(ingest.Partition(d.Holder, ingest.DefaultPartitions))
			if *slot, err = js.PublishAsync(subject, ingest.AppendEvent(nil, &d)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return answer(r)
}

// FillInput is a log to be filled with so many events.
type FillInput struct {
	NATS    Broker
	Holders int
	Events  int
}

// FillRole fills a log through the Go producer, and answers when the log has all of it.
func FillRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := child.Input[FillInput](raw)
	if err != nil {
		return err
	}
	conn, js, err := DialNATS(in.NATS)
	if err != nil {
		return err
	}
	defer conn.Close()
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		return err
	}
	events := NewSource(0, 1, in.Holders)
	if err := Fill(ctx, log, in.Events, LogBatch, events.fill); err != nil {
		return err
	}
	return answer(struct{}{})
}

// Fill sends n events and waits until the log has them.
func Fill(ctx context.Context, log *ingest.Log, n, batch int, next func([]hold.Draft)) (err error) {
	producer := ingest.NewProducer(log, ingest.ProducerOptions{})
	defer func() { err = errors.Join(err, producer.Close(ctx)) }()
	drafts := make([]hold.Draft, batch)
	results := make(chan ingest.BatchResult, (n+batch-1)/batch)
	for left := n; left > 0; left -= batch {
		part := drafts[:min(left, batch)]
		next(part)
		producer.SendBatch(ctx, part, func(r ingest.BatchResult) { results <- r })
	}
	for range cap(results) {
		if r := <-results; len(r.Refused) > 0 {
			return fmt.Errorf("filling the log: %w", r.Refused[0].Err)
		}
	}
	return nil
}
