package grpcapi

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// sendScores answers Scores.
func (s *Server) sendScores(req *holdpb.ScoresRequest, stream grpc.ServerStreamingServer[holdpb.Score]) error {
	w, err := s.cfg.Reads.Window(query.Times{
		AsOf: stampOf(req.GetAsOf()), From: stampOf(req.GetFrom()), To: stampOf(req.GetTo()),
		Now: req.GetAsOfNow(), Projected: req.GetProjected(),
	})
	if err != nil {
		return err
	}
	q := query.ScoreQuery{
		Window: w, Holder: req.GetHolderId(), Token: req.GetTokenId(),
		ByToken: req.GetByToken(), Share: req.GetShare(), Digits: req.Digits, After: req.GetAfter(),
	}
	asOf, from, applied := timestampOf(w.At), fromOf(w), appliedTimes{}
	return s.cfg.Reads.Scores(stream.Context(), q, func(r *query.Row) error {
		score := &holdpb.Score{
			TokenId:            r.Token,
			HolderId:           r.Holder,
			Score:              r.Live.Score.String(),
			HeldSeconds:        r.Live.Held.String(),
			SettledScore:       r.Settled.Score.Net().String(),
			SettledHeldSeconds: r.Settled.Held.String(),
			ScoreDouble:        r.Live.Score.Float64(),
			SettledScoreDouble: r.Settled.Score.Net().Float64(),
			AsOf:               asOf,
			From:               from,
			AppliedThrough:     applied.of(r.Applied),
			Rules:              r.From.RulesVersion,
			Generation:         r.From.Generation,
			Projected:          w.Projected,
		}
		if !w.HasFrom {
			score.Weight, score.Rate = r.Weight.String(), r.Rate.String()
		}
		if t := r.Total; t != nil {
			score.TotalScore, score.TotalSettledScore = t.Live.Score.String(), t.Settled.Score.Net().String()
			score.Share = query.ShareOf(r.Live.Score, t.Live.Score)
			score.SettledShare = query.ShareOf(r.Settled.Score, t.Settled.Score)
			score.ShareExact = q.ShareText(r.Live.Score, t.Live.Score)
			score.SettledShareExact = q.ShareText(r.Settled.Score, t.Settled.Score)
		}
		return stream.Send(score)
	})
}

// sendContributions answers Explain.
func (s *Server) sendContributions(req *holdpb.ExplainRequest, stream grpc.ServerStreamingServer[holdpb.Contribution]) error {
	w, err := s.cfg.Reads.Window(query.Times{AsOf: stampOf(req.GetAsOf()), From: stampOf(req.GetFrom()), To: stampOf(req.GetTo()), Projected: req.GetProjected()})
	if err != nil {
		return err
	}
	q := query.ExplainQuery{Window: w, Holder: req.GetHolderId(), Token: req.GetTokenId(), After: req.GetAfter()}
	asOf, from, applied := timestampOf(w.At), fromOf(w), appliedTimes{}
	return s.cfg.Reads.Explain(stream.Context(), q, func(c *query.Contribution) error {
		removed := c.Removed()
		row := &holdpb.Contribution{
			TokenId:        c.Token,
			Policy:         c.Policy.String(),
			Weight:         c.WeightText(),
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
			Settled:        c.SettledText(),
			Rule:           c.Rule,
			AsOf:           asOf,
			From:           from,
			AppliedThrough: applied.of(c.Applied),
			Rules:          c.From.RulesVersion,
			Generation:     c.From.Generation,
			Projected:      w.Projected,
		}
		if !c.Sealed {
			row.Start = timestampOf(c.Start)
		}
		if c.End != 0 {
			row.End = timestampOf(c.End)
		}
		return stream.Send(row)
	})
}

// sendHistory answers History.
func (s *Server) sendHistory(req *holdpb.HistoryRequest, stream grpc.ServerStreamingServer[holdpb.ScorePoint]) error {
	w, err := s.cfg.Reads.Window(query.Times{From: stampOf(req.GetFrom()), To: stampOf(req.GetTo()), Projected: req.GetProjected()})
	if err != nil {
		return err
	}
	points, err := s.cfg.Reads.History(stream.Context(), query.HistoryQuery{
		Window: w, Holder: req.GetHolderId(), Token: req.GetTokenId(), Points: uint64(req.GetPoints()), After: req.GetAfter(),
	})
	if err != nil {
		return err
	}
	asked, applied := s.cfg.Reads.Now(), appliedTimes{}
	for i := range points {
		p := &points[i]
		err := stream.Send(&holdpb.ScorePoint{
			AsOf:               timestampOf(p.At),
			Score:              p.Live.Score.String(),
			HeldSeconds:        p.Live.Held.String(),
			SettledScore:       p.Settled.Score.String(),
			SettledHeldSeconds: p.Settled.Held.String(),
			ScoreDouble:        p.Live.Score.Float64(),
			SettledScoreDouble: p.Settled.Score.Float64(),
			AppliedThrough:     applied.of(p.Applied),
			Rules:              p.From.RulesVersion,
			Generation:         p.From.Generation,
			Weight:             p.Weight.String(),
			Rate:               p.Rate.String(),
			Projected:          p.At > asked,
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

func timestampOf(ns int64) *timestamppb.Timestamp { return timestamppb.New(query.TimeOf(ns)) }

func fromOf(w query.Window) *timestamppb.Timestamp {
	if !w.HasFrom {
		return nil
	}
	return timestampOf(w.From)
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
