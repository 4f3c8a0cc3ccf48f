package grpcapi

import (
	"context"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/intake"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// record takes one event and answers when the log has it.
func (s *Server) record(ctx context.Context, event []byte) (*holdpb.HoldAck, error) {
	var d hold.Draft
	err := auth.CallerOf(ctx).Sends(1, len(event))
	if err == nil {
		err = ingest.DecodeEvent(event, &d)
	}
	r, err := s.cfg.Intake.Record(ctx, intake.Record, &d, err)
	if err != nil {
		return nil, err
	}
	return &holdpb.HoldAck{Ok: true, Position: r.Position, Note: r.Note}, nil
}
