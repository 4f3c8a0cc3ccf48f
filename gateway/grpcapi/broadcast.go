package grpcapi

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/failure"
	"holdmetrics/gateway/intake"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

const (
	// broadcastInFlight is how many events of one Broadcast stream may wait for
	// their acks: two full frames of each of the usual sixteen partitions.
	broadcastInFlight = 16 << 10
	// batchesInFlight is the same in batches, and batchedInFlight in the events of
	// those. Accepted events wait in the producer, which bounds them;
	// each that was refused waits here with its reason, some hundred bytes.
	batchesInFlight = 64
	batchedInFlight = 1 << 18
	// MaxBatchEvents is the number of events that a HoldBatch may have. A message
	// of the largest size could else be two million empty ones, each with a
	// refusal to be made and sent.
	MaxBatchEvents = 1 << 16
)

// outcome is what became of one event.
type outcome struct {
	receipt intake.Receipt
	err     error
}

// broadcast answers every event of a stream with one ack, in order, each once
// the log has its event.
//
// An event that is refused gets its ack in its place. Where the log itself
// fails, the stream ends after the acks of what came before: what has no ack
// must be sent again, which is harmless for what the log has got all the same.
func (s *Server) broadcast(stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	acks := newReplies[outcome](broadcastInFlight, broadcastInFlight)
	s.receivers.Go(func() { acks.close(s.receiveEvents(ctx, stream, acks)) })
	var ack holdpb.HoldAck
	return acks.send(ctx, s.cfg.StreamWait, func(o outcome) error {
		s.cfg.Intake.Observed(ctx, intake.Broadcast, o.err)
		switch {
		case o.err == nil:
			ack.Ok, ack.Position, ack.Note, ack.Error, ack.Field = true, o.receipt.Position, o.receipt.Note, "", ""
		case failure.Refused(o.err):
			f := failure.Of(o.err)
			ack.Ok, ack.Position, ack.Note, ack.Error, ack.Field = false, 0, "", f.Message, f.Field
		default:
			return o.err
		}
		return stream.SendMsg(&ack)
	})
}

// receiveEvents reads the stream until its client has no more to send. It
// returns an error where the stream broke.
func (s *Server) receiveEvents(ctx context.Context, stream grpc.ServerStream, acks *replies[outcome]) error {
	var raw rawMessage
	var d hold.Draft
	events, caller := s.cfg.Intake.Stream(ctx, intake.Broadcast), auth.CallerOf(ctx)
	for {
		if err := stream.RecvMsg(&raw); err != nil {
			return endOfStream(err)
		}
		seq, err := acks.take(ctx, 1)
		if err != nil {
			return err
		}
		if err = caller.Sends(1, len(raw.bytes)); err == nil {
			err = ingest.DecodeEvent(raw.bytes, &d)
		}
		if err == nil {
			err = events.Send(ctx, &d, func(r intake.Receipt, err error) {
				acks.answer(seq, outcome{r, err})
			})
		}
		if err == nil {
			continue
		}
		acks.answer(seq, outcome{err: err})
		if !failure.Refused(err) {
			return nil // its answer ends the stream
		}
	}
}

// endOfStream is nil where the client half-closed.
func endOfStream(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
