package gateway

import (
	"context"

	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

func rankByOf(by holdpb.RankBy) (rankBy, error) {
	switch by {
	case holdpb.RankBy_SETTLED:
		return bySettled, nil
	case holdpb.RankBy_LIVE:
		return byLive, nil
	}
	return "", &hold.FieldError{Field: "by", Err: ErrChoice, Detail: "SETTLED or LIVE"}
}

// answerTop answers Top.
func (s *grpcServer) answerTop(ctx context.Context, req *holdpb.TopRequest) (*holdpb.TopAnswer, error) {
	by, err := rankByOf(req.GetBy())
	if err != nil {
		return nil, err
	}
	page, err := s.cfg.Reads.top(ctx, topQuery{
		by: by, token: req.GetTokenId(), limit: uint64(req.GetLimit()), cursor: req.GetCursor(), after: req.GetAfter(),
	})
	if err != nil {
		return nil, err
	}
	answer := &holdpb.TopAnswer{
		NextCursor: page.next, Count: uint64(page.count),
		TotalScore: page.totals.live.Score.String(), TotalSettledScore: page.totals.settled.Score.String(),
		AsOf: timestampOf(page.at), AppliedThrough: appliedTimes{}.of(page.applied),
		Rules: page.from.RulesVersion, Generation: page.from.Generation,
	}
	for i := range page.holders {
		answer.Holders = append(answer.Holders, rankedMessage(&page.holders[i]))
	}
	return answer, nil
}

func rankedMessage(h *rankedHolder) *holdpb.RankedHolder {
	m := &holdpb.RankedHolder{
		Rank: h.rank, HolderId: h.holder,
		Score: h.live.Score.String(), SettledScore: h.settled.Score.String(),
		ScoreDouble: h.live.Score.Float64(), SettledScoreDouble: h.settled.Score.Float64(),
		Rate: h.rate.String(), HeldSeconds: h.live.Held.String(), SettledHeldSeconds: h.settled.Held.String(),
	}
	if h.until != 0 {
		m.Until = timestampOf(h.until)
	}
	return m
}

// answerRank answers Rank.
func (s *grpcServer) answerRank(ctx context.Context, req *holdpb.RankRequest) (*holdpb.RankAnswer, error) {
	by, err := rankByOf(req.GetBy())
	if err != nil {
		return nil, err
	}
	page, err := s.cfg.Reads.rank(ctx, topQuery{by: by, token: req.GetTokenId(), after: req.GetAfter()}, req.GetHolderId())
	if err != nil {
		return nil, err
	}
	h := &page.holders[0]
	return &holdpb.RankAnswer{
		Holder: rankedMessage(h), Count: uint64(page.count),
		TotalScore: page.totals.live.Score.String(), TotalSettledScore: page.totals.settled.Score.String(),
		Share:        shareOf(h.live.Score, page.totals.live.Score),
		SettledShare: shareOf(h.settled.Score, page.totals.settled.Score),
		AsOf:         timestampOf(page.at), AppliedThrough: appliedTimes{}.of(page.applied),
		Rules: page.from.RulesVersion, Generation: page.from.Generation,
	}, nil
}
