package gateway

import (
	"context"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// record takes one event and answers when the log has it.
func (s *grpcServer) record(ctx context.Context, event []byte) (*holdpb.HoldAck, error) {
	var d hold.Draft
	err := ingest.DecodeEvent(event, &d)
	position, err := s.cfg.Intake.record(ctx, endpointRecord, &d, err)
	if err != nil {
		return nil, err
	}
	return &holdpb.HoldAck{Ok: true, Position: position}, nil
}
