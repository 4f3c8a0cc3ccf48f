package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// loadInput is what a load sends, and where to.
type loadInput struct {
	At      addresses
	Window  window
	Holders int
	Workers int // streams, connections or callers
	Batch   int // events a batch or a request
	Echo    bool
}

const (
	// benchHolders is how many holders the rows about doors and the log have.
	benchHolders = 100_000
	logBatch     = 4096
)

// produceRole sends events with the Go producer: it checks, encodes and frames
// them, and the broker acknowledges each frame. All of that is measured.
func produceRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := input[loadInput](raw)
	if err != nil {
		return err
	}
	conn, js, err := dialNATS(in.At.NATS)
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
		events := newSource(w, in.Workers, in.Holders)
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

// publishRole publishes one event a message, asynchronously: what a user of
// JetStream would do without frames. It goes to the same stream, past the subject
// transform. The server acknowledges what it found in its queue at once only when
// all of it is stored, so more in flight would be no faster with an fsync each,
// and for seconds nothing would be acknowledged.
func publishRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := input[loadInput](raw)
	if err != nil {
		return err
	}
	const inFlight = 1024
	r, err := drive(ctx, in.Window, in.Workers, func(ctx context.Context, w int, count *atomic.Int64) error {
		conn, js, err := dialNATS(in.At.NATS, jetstream.WithPublishAsyncMaxPending(2*inFlight))
		if err != nil {
			return err
		}
		defer conn.Close()
		events := newSource(w, in.Workers, in.Holders)
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
			events.next(&d)
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

// fillInput is a log to be filled with so many events.
type fillInput struct {
	NATS    string
	Holders int
	Events  int
}

// fillRole fills a log through the Go producer, and answers when the log has all of it.
func fillRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	in, err := input[fillInput](raw)
	if err != nil {
		return err
	}
	conn, js, err := dialNATS(in.NATS)
	if err != nil {
		return err
	}
	defer conn.Close()
	log, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		return err
	}
	events := newSource(0, 1, in.Holders)
	if err := fill(ctx, log, in.Events, logBatch, events.fill); err != nil {
		return err
	}
	return answer(struct{}{})
}

// fill sends n events and waits until the log has them.
func fill(ctx context.Context, log *ingest.Log, n, batch int, next func([]hold.Draft)) (err error) {
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
