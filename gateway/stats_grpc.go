package gateway

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// statsQueryOf reads a request of gRPC.
func (s *grpcServer) statsQueryOf(req *holdpb.StatsRequest) (q watchQuery, err error) {
	q = watchQuery{statsQuery: statsQuery{holders: req.GetHolderIds(), after: req.GetAfter()}, live: req.GetLive()}
	if d := req.GetMinInterval(); d != nil {
		if d.CheckValid() != nil {
			return q, &hold.FieldError{Field: "min_interval", Err: ErrRange}
		}
		q.every = d.AsDuration()
	}
	times := instants{asOf: stampOf(req.GetAsOf()), from: stampOf(req.GetFrom()), to: stampOf(req.GetTo())}
	if times != (instants{}) {
		w, err := s.cfg.Reads.window(times)
		if err != nil {
			return q, err
		}
		q.window = &w
	}
	if req.GetWatch() {
		return q, q.check()
	}
	if err := q.checkInterval(); err != nil {
		return q, err
	}
	return q, q.statsQuery.check()
}

// sendStats answers Stats and GetSnapshot. The bytes of a snapshot are a HoldStat,
// so they go out as they are, with the live figures behind them. With no holder
// yet one empty HoldStat goes out, as clients of the original service expect.
func (s *grpcServer) sendStats(req *holdpb.StatsRequest, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	q, err := s.statsQueryOf(req)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	if q.window != nil {
		asOf, applied := timestampOf(q.window.at), appliedTimes{}
		return s.cfg.Reads.stored(ctx, &q.statsQuery, func(r *scoreRow) error { return stream.Send(storedStat(r, asOf, applied.of(r.applied))) })
	}
	if req.GetWatch() {
		if err := s.cfg.Reads.awaitAnswer(ctx, &q.statsQuery); err != nil {
			return err
		}
		return s.watchStream(&q, stream)
	}
	none := true
	err = s.cfg.Reads.currentOf(ctx, &q.statsQuery, func(s *stat) error {
		none = false
		return stream.SendMsg(&rawMessage{bytes: s.value, more: appendLive(nil, s.live, s.at, s.applied)})
	})
	if err == nil && none {
		err = stream.Send(&holdpb.HoldStat{})
	}
	return err
}

// storedStat is a row of the stored facts in the form of a snapshot. It has no
// line: what it is of is over.
func storedStat(r *scoreRow, asOf, applied *timestamppb.Timestamp) *holdpb.HoldStat {
	return &holdpb.HoldStat{
		HolderId:        r.holder,
		TotalSeconds:    r.settled.Held.Seconds(),
		WeightedScore:   r.settled.Score.Net().Float64(),
		ScoreExact:      r.settled.Score.Net().String(),
		HeldExact:       r.settled.Held.String(),
		LiveScore:       r.live.Score.String(),
		LiveScoreDouble: r.live.Score.Float64(),
		LiveHeld:        r.live.Held.String(),
		AsOf:            asOf,
		AppliedThrough:  applied,
		Rules:           r.from.RulesVersion,
		Generation:      r.from.Generation,
	}
}
