package gateway

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/processor/hold"
	holdpb "holdmetrics/proto"
)

// sendScores answers Scores.
func (g *Gateway) sendScores(req *holdpb.ScoresRequest, stream grpc.ServerStreamingServer[holdpb.Score]) error {
	q := scoreQuery{holder: req.GetHolderId(), byToken: req.GetByToken(), after: req.GetAfter()}
	var t hold.Stamp
	if asked := req.GetAsOf(); asked != nil {
		t = hold.Stamp{Seconds: asked.GetSeconds(), Nanos: asked.GetNanos(), Set: true}
	}
	if err := g.instant(&q, t); err != nil {
		return err
	}
	asOf := timestamppb.New(timeOf(q.at))
	applied := map[int64]*timestamppb.Timestamp{0: nil} // few: one a partition
	return g.scores(stream.Context(), q, func(r *scoreRow) error {
		through, ok := applied[r.applied]
		if !ok {
			through = timestamppb.New(timeOf(r.applied))
			applied[r.applied] = through
		}
		return stream.Send(&holdpb.Score{
			TokenId:            r.token,
			HolderId:           r.holder,
			Score:              r.live.Score.String(),
			HeldSeconds:        r.live.Held.String(),
			SettledScore:       r.settled.Score.String(),
			SettledHeldSeconds: r.settled.Held.String(),
			ScoreDouble:        r.live.Score.Float64(),
			SettledScoreDouble: r.settled.Score.Float64(),
			AsOf:               asOf,
			AppliedThrough:     through,
		})
	})
}
