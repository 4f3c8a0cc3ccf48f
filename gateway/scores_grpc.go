package gateway

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// sendScores answers Scores.
func (s *grpcServer) sendScores(req *holdpb.ScoresRequest, stream grpc.ServerStreamingServer[holdpb.Score]) error {
	w, err := s.cfg.Reads.window(instants{asOf: stampOf(req.GetAsOf()), from: stampOf(req.GetFrom()), to: stampOf(req.GetTo())})
	if err != nil {
		return err
	}
	q := scoreQuery{
		window: w, holder: req.GetHolderId(), token: req.GetTokenId(),
		byToken: req.GetByToken(), share: req.GetShare(), after: req.GetAfter(),
	}
	asOf, from, applied := timestampOf(w.at), fromOf(w), appliedTimes{}
	return s.cfg.Reads.scores(stream.Context(), q, func(r *scoreRow) error {
		score := &holdpb.Score{
			TokenId:            r.token,
			HolderId:           r.holder,
			Score:              r.live.Score.String(),
			HeldSeconds:        r.live.Held.String(),
			SettledScore:       r.settled.Score.Net().String(),
			SettledHeldSeconds: r.settled.Held.String(),
			ScoreDouble:        r.live.Score.Float64(),
			SettledScoreDouble: r.settled.Score.Net().Float64(),
			AsOf:               asOf,
			From:               from,
			AppliedThrough:     applied.of(r.applied),
			Rules:              r.from.RulesVersion,
			Generation:         r.from.Generation,
		}
		if t := r.total; t != nil {
			score.TotalScore, score.TotalSettledScore = t.live.Score.String(), t.settled.Score.Net().String()
			score.Share = shareOf(r.live.Score, t.live.Score)
			score.SettledShare = shareOf(r.settled.Score, t.settled.Score)
		}
		return stream.Send(score)
	})
}

// sendContributions answers Explain.
func (s *grpcServer) sendContributions(req *holdpb.ExplainRequest, stream grpc.ServerStreamingServer[holdpb.Contribution]) error {
	w, err := s.cfg.Reads.window(instants{asOf: stampOf(req.GetAsOf()), from: stampOf(req.GetFrom()), to: stampOf(req.GetTo())})
	if err != nil {
		return err
	}
	q := explainQuery{window: w, holder: req.GetHolderId(), token: req.GetTokenId(), after: req.GetAfter()}
	asOf, from, applied := timestampOf(w.at), fromOf(w), appliedTimes{}
	return s.cfg.Reads.explain(stream.Context(), q, func(c *contribution) error {
		removed := c.Removed()
		row := &holdpb.Contribution{
			TokenId:        c.token,
			Policy:         c.policy.String(),
			Weight:         c.weight(),
			HoldId:         c.HoldID,
			Alone:          c.Alone.Score.String(),
			Counted:        c.Counted.Score.String(),
			Removed:        removed.String(),
			HeldSeconds:    c.Plain.Held.String(),
			CountedSeconds: c.Counted.Held.String(),
			AloneDouble:    c.Alone.Score.Float64(),
			CountedDouble:  c.Counted.Score.Float64(),
			RemovedDouble:  removed.Float64(),
			Plain:          c.Plain.Score.String(),
			Cut:            c.Cut().String(),
			Multiplied:     c.Multiplied().String(),
			Boosted:        c.Boosted().String(),
			Added:          c.Added().String(),
			Settled:        c.settled(),
			Rule:           c.rule,
			AsOf:           asOf,
			From:           from,
			AppliedThrough: applied.of(c.applied),
			Rules:          c.from.RulesVersion,
			Generation:     c.from.Generation,
		}
		if !c.sealed {
			row.Start = timestampOf(c.Start)
		}
		if c.End != 0 {
			row.End = timestampOf(c.End)
		}
		return stream.Send(row)
	})
}

// sendHistory answers History.
func (s *grpcServer) sendHistory(req *holdpb.HistoryRequest, stream grpc.ServerStreamingServer[holdpb.ScorePoint]) error {
	w, err := s.cfg.Reads.window(instants{from: stampOf(req.GetFrom()), to: stampOf(req.GetTo())})
	if err != nil {
		return err
	}
	points, err := s.cfg.Reads.history(stream.Context(), historyQuery{
		window: w, holder: req.GetHolderId(), token: req.GetTokenId(), points: uint64(req.GetPoints()), after: req.GetAfter(),
	})
	if err != nil {
		return err
	}
	applied := appliedTimes{}
	for i := range points {
		p := &points[i]
		err := stream.Send(&holdpb.ScorePoint{
			AsOf:               timestampOf(p.at),
			Score:              p.live.Score.String(),
			HeldSeconds:        p.live.Held.String(),
			SettledScore:       p.settled.Score.String(),
			SettledHeldSeconds: p.settled.Held.String(),
			ScoreDouble:        p.live.Score.Float64(),
			SettledScoreDouble: p.settled.Score.Float64(),
			AppliedThrough:     applied.of(p.applied),
			Rules:              p.from.RulesVersion,
			Generation:         p.from.Generation,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// stampOf is a time of a request, which nobody has checked yet.
func stampOf(t *timestamppb.Timestamp) hold.Stamp {
	if t == nil {
		return hold.Stamp{}
	}
	return hold.Stamp{Seconds: t.GetSeconds(), Nanos: t.GetNanos(), Set: true}
}

func timestampOf(ns int64) *timestamppb.Timestamp { return timestamppb.New(timeOf(ns)) }

func fromOf(w window) *timestamppb.Timestamp {
	if !w.hasFrom {
		return nil
	}
	return timestampOf(w.from)
}

// appliedTimes are the messages of log times, of which there is one a partition.
type appliedTimes map[int64]*timestamppb.Timestamp

// of is nil for 0: nothing is applied.
func (a appliedTimes) of(ns int64) *timestamppb.Timestamp {
	if ns == 0 {
		return nil
	}
	t, ok := a[ns]
	if !ok {
		t = timestampOf(ns)
		a[ns] = t
	}
	return t
}
