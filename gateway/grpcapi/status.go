package grpcapi

import (
	"context"

	holdpb "holdmetrics/proto"
)

// knownSeconds is a number for gRPC, where 0 beside a lag and without applied_through
// means that it is not known.
func knownSeconds(s *float64) float64 {
	if s == nil {
		return 0
	}
	return *s
}

// answerStatus answers the gRPC method Status.
func (s *Server) answerStatus(ctx context.Context) (*holdpb.StatusAnswer, error) {
	body, err := s.cfg.Status(ctx)
	if err != nil {
		return nil, err
	}
	out := &holdpb.StatusAnswer{
		Holders: uint64(body.Holders), Events: body.Events, Lag: body.Lag, Watchers: uint64(body.Watchers),
		At: timestampOf(body.At), Version: body.Version,
		Generation: body.Generation, Rules: body.Rules, Prepared: body.Prepared,
		HolderIds: body.HolderIDs, TokenIds: body.TokenIDs,
		LagEvents: body.LagEvents, LagEventsEstimated: body.LagEstimated, LagSeconds: knownSeconds(body.LagSeconds),
	}
	if body.Refused != nil {
		out.Refused = body.Refused.Error()
	}
	for i := range body.Partitions {
		p := &body.Partitions[i]
		state := &holdpb.PartitionState{
			Partition: uint32(p.Partition), Owner: p.Owner, State: p.State, Moving: p.Moving, Epoch: p.Epoch,
			Position: p.Position, Stored: p.Stored, Published: p.Published, End: p.End, Lag: p.Behind,
			Events: p.Events, Rejected: p.Rejected, Excluded: p.Excluded, Trouble: p.LastError,
			LagEvents: p.LagEvents, LagEventsEstimated: p.LagEstimated, LagSeconds: knownSeconds(p.LagSeconds),
		}
		if p.LogTime != 0 {
			state.AppliedThrough = timestampOf(p.LogTime)
		}
		out.Partitions = append(out.Partitions, state)
	}
	if d := body.DeadLetters; d != nil {
		out.DeadLetters = &holdpb.DeadLetterState{Messages: d.Messages, MaxMessages: d.MaxMessages, Bytes: d.Bytes, MaxBytes: d.MaxBytes, Full: d.Full()}
		if !d.Since.IsZero() {
			out.DeadLetters.Since = timestampOf(d.Since.UnixNano())
		}
	}
	for _, w := range body.Workers {
		worker := &holdpb.WorkerState{Id: w.ID, Host: w.Host, Version: w.Version, Leaving: w.Leaving}
		if !w.Started.IsZero() {
			worker.Started = timestampOf(w.Started.UnixNano())
		}
		if !w.Heard.IsZero() {
			worker.Heard = timestampOf(w.Heard.UnixNano())
		}
		for _, p := range w.Partitions {
			worker.Partitions = append(worker.Partitions, uint32(p))
		}
		out.Workers = append(out.Workers, worker)
	}
	return out, nil
}
