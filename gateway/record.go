package gateway

import (
	"context"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

// record takes one event from gRPC and answers when the log has it.
func (g *Gateway) record(ctx context.Context, event []byte) (*holdpb.HoldAck, error) {
	var d hold.Draft
	err := ingest.DecodeEvent(event, &d)
	position, err := g.recordDraft(ctx, doorRecord, &d, err)
	if err != nil {
		return nil, err
	}
	return &holdpb.HoldAck{Ok: true, Position: position}, nil
}

// recordDraft sends one event, where it decoded. Its client is told after
// RecordWait that the log is slow, so that it can go elsewhere or come back.
func (g *Gateway) recordDraft(ctx context.Context, d door, draft *hold.Draft, decoded error) (position uint64, err error) {
	if err = decoded; err == nil {
		ctx, cancel := context.WithTimeoutCause(ctx, g.cfg.RecordWait, ErrSlow)
		defer cancel()
		if position, err = g.producer.Record(ctx, draft); err != nil {
			err = g.whySlow(ctx, err)
		}
	}
	g.metrics.event(d, err)
	return position, err
}
