package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/bench/internal/child"
)

// errRefused: the server did not take what it should have taken.
var errRefused = errors.New("an event was refused")

// BatchRole sends batches on BroadcastBatch streams. It encodes them as it goes,
// each event once, without a Go message for each.
func BatchRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	return driveGRPC(ctx, raw, answer, func(ctx context.Context, in *Input, conn *grpc.ClientConn, w int, count *atomic.Int64) error {
		batches := NewBatches(NewSource(w, in.Workers, in.Holders))
		return Stream(ctx, conn, BatchMethod,
			func(buf []byte) []byte { return batches.Append(buf, in.Batch) },
			func(message []byte) error { return CountBatch(message, count) })
	})
}

// CountBatch counts what a HoldBatchAck acknowledges.
func CountBatch(message []byte, count *atomic.Int64) error {
	var ack holdpb.HoldBatchAck
	if err := proto.Unmarshal(message, &ack); err != nil {
		return err
	}
	if len(ack.GetRefused()) > 0 {
		return fmt.Errorf("%w: %s", errRefused, ack.GetRefused()[0].GetError())
	}
	count.Add(int64(ack.GetAccepted()))
	return nil
}

// BroadcastRole sends one event a message on Broadcast streams, to the gateway
// or to the echo, and counts the answers.
func BroadcastRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	return driveGRPC(ctx, raw, answer, func(ctx context.Context, in *Input, conn *grpc.ClientConn, w int, count *atomic.Int64) error {
		events := NewSource(w, in.Workers, in.Holders)
		var d hold.Draft
		return Stream(ctx, conn, broadcastMethod,
			func(buf []byte) []byte { events.Next(&d); return ingest.AppendEvent(buf, &d) },
			func(message []byte) error {
				if !in.Echo && !acknowledged(message) {
					return errRefused
				}
				count.Add(1)
				return nil
			})
	})
}

// RecordRole has callers that record one event after the other, each waiting for
// its answer, all on one connection.
func RecordRole(ctx context.Context, raw json.RawMessage, answer func(any) error) error {
	return driveGRPC(ctx, raw, answer, func(ctx context.Context, in *Input, conn *grpc.ClientConn, w int, count *atomic.Int64) error {
		events := NewSource(w, in.Workers, in.Holders)
		var d hold.Draft
		var request, response []byte
		for ctx.Err() == nil {
			events.Next(&d)
			request = ingest.AppendEvent(request[:0], &d)
			if err := conn.Invoke(ctx, RecordMethod, &request, &response); err != nil {
				return UnlessDone(ctx, err)
			}
			if !in.Echo && !acknowledged(response) {
				return errRefused
			}
			count.Add(1)
		}
		return nil
	})
}

// acknowledged reports whether a message is a HoldAck that begins with ok = true.
func acknowledged(message []byte) bool {
	return len(message) >= 2 && message[0] == 1<<3 && message[1] == 1
}

// driveGRPC drives workers that share one connection.
func driveGRPC(ctx context.Context, raw json.RawMessage, answer func(any) error,
	worker func(ctx context.Context, in *Input, conn *grpc.ClientConn, w int, count *atomic.Int64) error) error {
	in, err := child.Input[Input](raw)
	if err != nil {
		return err
	}
	conn, err := DialRaw(in.At)
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := drive(ctx, in.Window, in.Workers, func(ctx context.Context, w int, count *atomic.Int64) error {
		return worker(ctx, &in, conn, w, count)
	})
	if err != nil {
		return err
	}
	return answer(r)
}

// Stream sends messages as fast as the server takes them, and gives its answers
// to received, until ctx ends (nil) or something fails.
func Stream(ctx context.Context, conn *grpc.ClientConn, method string, next func([]byte) []byte, received func([]byte) error) error {
	return UnlessDone(ctx, Finite(ctx, conn, method, func(buf []byte) []byte {
		if ctx.Err() != nil {
			return nil
		}
		return next(buf)
	}, received))
}

// Finite sends messages until next gives an empty one, and returns when the
// server has answered them and ended the stream.
func Finite(ctx context.Context, conn *grpc.ClientConn, method string, next func([]byte) []byte, received func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := conn.NewStream(ctx, bothWays, method)
	if err != nil {
		return err
	}
	var sender sync.WaitGroup
	defer sender.Wait()
	defer cancel() // before the wait
	sender.Go(func() {
		var buf []byte
		for {
			if buf = next(buf[:0]); len(buf) == 0 {
				_ = s.CloseSend()
				return
			}
			if s.SendMsg(&buf) != nil {
				return // RecvMsg says why
			}
		}
	})
	var message []byte
	for {
		if err := s.RecvMsg(&message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := received(message); err != nil {
			return err
		}
	}
}

// UnlessDone is err, or nil where ctx has ended.
func UnlessDone(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Batches encodes HoldBatch messages.
type Batches struct {
	events *Source
	draft  hold.Draft
	event  []byte
}

// NewBatches returns batches of the events of a source.
func NewBatches(events *Source) *Batches { return &Batches{events: events} }

// Append appends a HoldBatch of the next n events to dst.
func (b *Batches) Append(dst []byte, n int) []byte {
	for range n {
		b.events.Next(&b.draft)
		b.event = ingest.AppendEvent(b.event[:0], &b.draft)
		dst = protowire.AppendTag(dst, 1, protowire.BytesType)
		dst = protowire.AppendBytes(dst, b.event)
	}
	return dst
}
