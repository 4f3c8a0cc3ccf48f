package grpcapi

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/failure"
	"holdmetrics/gateway/intake"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// batchOutcome is what became of one batch.
type batchOutcome struct {
	ack *holdpb.HoldBatchAck
	err error // of the log; nil where events were refused by themselves only
}

// broadcastBatch answers every batch of a stream with one ack, in order, each
// once the log has every event of it that was accepted. It fails as broadcast does.
func (s *Server) broadcastBatch(stream grpc.ServerStream) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	acks := newReplies[batchOutcome](batchesInFlight, batchedInFlight)
	s.receivers.Go(func() { acks.close(s.receiveBatches(ctx, stream, acks)) })
	return acks.send(ctx, s.cfg.StreamWait, func(o batchOutcome) error {
		if o.err != nil {
			return o.err
		}
		return stream.SendMsg(o.ack)
	})
}

func (s *Server) receiveBatches(ctx context.Context, stream grpc.ServerStream, acks *replies[batchOutcome]) error {
	var raw rawMessage
	var b opened
	events, caller := s.cfg.Intake.Stream(ctx, intake.BroadcastBatch), auth.CallerOf(ctx)
	for {
		if err := stream.RecvMsg(&raw); err != nil {
			return endOfStream(err)
		}
		damaged := b.open(raw.bytes)
		seq, err := acks.take(ctx, len(b.drafts)+len(b.refused))
		if err != nil {
			return err
		}
		if damaged == nil {
			damaged = caller.Sends(len(b.drafts)+len(b.refused), len(raw.bytes))
		}
		if damaged != nil {
			acks.answer(seq, batchOutcome{err: damaged})
			return nil // its answer ends the stream
		}
		refusals, at := b.refused, b.at
		events.SendBatch(ctx, b.drafts, func(r intake.Batch) {
			acks.answer(seq, s.batchOutcome(ctx, r, at, refusals))
		})
	}
}

// batchOutcome turns the producer's result into the ack. at gives the places in
// the batch of the drafts that were sent, or is nil where they are all of it.
func (s *Server) batchOutcome(ctx context.Context, r intake.Batch, at []uint32, refusals []*holdpb.HoldRefusal) batchOutcome {
	s.cfg.Intake.Observer().Accepted(intake.BroadcastBatch, r.Accepted)
	for range refusals {
		s.cfg.Intake.Observed(ctx, intake.BroadcastBatch, ingest.ErrMalformed)
	}
	placeOf := func(index int) uint32 {
		if at != nil {
			return at[index]
		}
		return uint32(index)
	}
	var fatal error
	for _, refusal := range r.Refused {
		s.cfg.Intake.Observed(ctx, intake.BroadcastBatch, refusal.Err)
		if !failure.Refused(refusal.Err) {
			fatal = refusal.Err
			continue
		}
		f := failure.Of(refusal.Err)
		refusals = append(refusals, &holdpb.HoldRefusal{Index: placeOf(refusal.Index), Error: f.Message, Field: f.Field})
	}
	if fatal != nil {
		return batchOutcome{err: fatal}
	}
	slices.SortFunc(refusals, func(a, b *holdpb.HoldRefusal) int { return int(a.Index) - int(b.Index) })
	ack := &holdpb.HoldBatchAck{Accepted: uint64(r.Accepted), Position: r.Position, Refused: refusals}
	for _, note := range r.Notes {
		ack.Notes = append(ack.Notes, &holdpb.HoldNote{Index: placeOf(note.Index), Note: note.Text})
	}
	return batchOutcome{ack: ack}
}

// opened is a batch whose events are decoded. Its drafts are used again for the
// next batch; at and refused are not, since they wait with the ack.
type opened struct {
	drafts  []hold.Draft
	at      []uint32 // place of each draft in the batch; nil while all of them decode
	refused []*holdpb.HoldRefusal
}

// open decodes a HoldBatch. An event that does not decode is refused in its place.
func (b *opened) open(batch []byte) error {
	clear(b.drafts) // their strings belong to the last message
	b.drafts, b.at, b.refused = b.drafts[:0], nil, nil
	index := uint32(0)
	return eachEvent(batch, func(event []byte) error {
		var d hold.Draft
		err := ingest.DecodeEvent(event, &d)
		if err != nil {
			if b.at == nil {
				b.at = make([]uint32, len(b.drafts))
				for i := range b.at {
					b.at[i] = uint32(i)
				}
			}
			f := failure.Of(err)
			b.refused = append(b.refused, &holdpb.HoldRefusal{Index: index, Error: f.Message, Field: f.Field})
		} else {
			b.drafts = append(b.drafts, d)
			if b.at != nil {
				b.at = append(b.at, index)
			}
		}
		index++
		return nil
	})
}
