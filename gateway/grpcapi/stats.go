package grpcapi

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// minHeartbeat is the shortest silence that a client may ask a heartbeat for.
const minHeartbeat = 100 * time.Millisecond

// statsQueryOf reads a request of gRPC.
func (s *Server) statsQueryOf(req *holdpb.StatsRequest) (q watch.Query, err error) {
	q = watch.Query{StatsQuery: query.StatsQuery{Holders: req.GetHolderIds(), After: req.GetAfter()}, Live: req.GetLive()}
	if d := req.GetMinInterval(); d != nil {
		if d.CheckValid() != nil {
			return q, &hold.FieldError{Field: "min_interval", Err: query.ErrRange}
		}
		q.Every = d.AsDuration()
	}
	if d := req.GetHeartbeat(); d != nil {
		q.Heartbeat = d.AsDuration()
		if d.CheckValid() != nil || q.Heartbeat != 0 && (q.Heartbeat < minHeartbeat || q.Heartbeat > watch.MaxInterval) {
			return q, &hold.FieldError{Field: "heartbeat", Err: query.ErrRange, Detail: "it is from " + minHeartbeat.String() + " to " + watch.MaxInterval.String()}
		}
	}
	q.From = req.GetResumeFrom()
	times := query.Times{AsOf: stampOf(req.GetAsOf()), From: stampOf(req.GetFrom()), To: stampOf(req.GetTo())}
	if times != (query.Times{}) {
		times.Projected = req.GetProjected()
		w, err := s.cfg.Reads.Window(times)
		if err != nil {
			return q, err
		}
		q.Window = &w
	}
	if req.GetWatch() {
		return q, q.Check()
	}
	if err := q.CheckInterval(); err != nil {
		return q, err
	}
	for field, given := range map[string]bool{"heartbeat": q.Heartbeat != 0, "resume_from": q.From != ""} {
		if given {
			return q, &hold.FieldError{Field: field, Err: query.ErrTogether, Detail: "it goes with watch"}
		}
	}
	return q, q.StatsQuery.Check()
}

// sendStats answers Stats and GetSnapshot. The bytes of a snapshot are a HoldStat,
// so they go out as they are, with the live figures behind them. With no holder
// yet one empty HoldStat goes out, as clients of the original service expect.
func (s *Server) sendStats(req *holdpb.StatsRequest, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	q, err := s.statsQueryOf(req)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	if q.Window != nil {
		asOf, applied := timestampOf(q.Window.At), appliedTimes{}
		return s.cfg.Reads.Stored(ctx, &q.StatsQuery, func(r *query.Row) error { return stream.Send(StoredStat(r, q.Window, asOf, applied.of(r.Applied))) })
	}
	if req.GetWatch() {
		if err := s.cfg.Reads.Await(ctx, &q.StatsQuery); err != nil {
			return err
		}
		return s.watchStream(&q, stream)
	}
	none := true
	err = s.cfg.Reads.EachSnapshot(ctx, &q.StatsQuery, func(s *query.Snapshot) error {
		none = false
		return stream.SendMsg(&rawMessage{bytes: s.Value, more: projection.AppendLive(nil, s.Live, s.At, s.Applied)})
	})
	if err == nil && none {
		err = stream.Send(&holdpb.HoldStat{})
	}
	return err
}

// StoredStat is a row of the stored facts in the form of a snapshot. It has no
// line: what it is of is over.
func StoredStat(r *query.Row, w *query.Window, asOf, applied *timestamppb.Timestamp) *holdpb.HoldStat {
	stat := &holdpb.HoldStat{
		HolderId:        r.Holder,
		TotalSeconds:    r.Settled.Held.Seconds(),
		WeightedScore:   r.Settled.Score.Net().Float64(),
		ScoreExact:      r.Settled.Score.Net().String(),
		HeldExact:       r.Settled.Held.String(),
		LiveScore:       r.Live.Score.String(),
		LiveScoreDouble: r.Live.Score.Float64(),
		LiveHeld:        r.Live.Held.String(),
		AsOf:            asOf,
		AppliedThrough:  applied,
		Rules:           r.From.RulesVersion,
		Generation:      r.From.Generation,
		Projected:       w.Projected,
	}
	if !w.HasFrom {
		stat.Weight, stat.Rate = r.Weight.String(), r.Rate.String()
	}
	return stat
}
