package grpcapi

import (
	"context"

	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

func rankByOf(by holdpb.RankBy) (query.RankBy, error) {
	switch by {
	case holdpb.RankBy_SETTLED:
		return query.BySettled, nil
	case holdpb.RankBy_LIVE:
		return query.ByLive, nil
	}
	return "", &hold.FieldError{Field: "by", Err: query.ErrChoice, Detail: "SETTLED or LIVE"}
}

// answerTop answers Top.
func (s *Server) answerTop(ctx context.Context, req *holdpb.TopRequest) (*holdpb.TopAnswer, error) {
	by, err := rankByOf(req.GetBy())
	if err != nil {
		return nil, err
	}
	page, err := s.cfg.Reads.Top(ctx, query.TopQuery{
		By: by, Token: req.GetTokenId(), Limit: uint64(req.GetLimit()), Cursor: req.GetCursor(), After: req.GetAfter(),
	})
	if err != nil {
		return nil, err
	}
	answer := &holdpb.TopAnswer{
		NextCursor: page.Next, Count: uint64(page.Count),
		TotalScore: page.Totals.Live.Score.String(), TotalSettledScore: page.Totals.Settled.Score.String(),
		AsOf: timestampOf(page.At), AppliedThrough: appliedTimes{}.of(page.Applied),
		Rules: page.From.RulesVersion, Generation: page.From.Generation,
	}
	for i := range page.Holders {
		answer.Holders = append(answer.Holders, rankedMessage(&page.Holders[i]))
	}
	return answer, nil
}

func rankedMessage(h *query.Ranked) *holdpb.RankedHolder {
	m := &holdpb.RankedHolder{
		Rank: h.Rank, HolderId: h.Holder,
		Score: h.Live.Score.String(), SettledScore: h.Settled.Score.String(),
		ScoreDouble: h.Live.Score.Float64(), SettledScoreDouble: h.Settled.Score.Float64(),
		Rate: h.Rate.String(), HeldSeconds: h.Live.Held.String(), SettledHeldSeconds: h.Settled.Held.String(),
	}
	if h.Until != 0 {
		m.Until = timestampOf(h.Until)
	}
	return m
}

// answerRank answers Rank.
func (s *Server) answerRank(ctx context.Context, req *holdpb.RankRequest) (*holdpb.RankAnswer, error) {
	by, err := rankByOf(req.GetBy())
	if err != nil {
		return nil, err
	}
	page, err := s.cfg.Reads.Rank(ctx, query.TopQuery{By: by, Token: req.GetTokenId(), After: req.GetAfter()}, req.GetHolderId())
	if err != nil {
		return nil, err
	}
	h := &page.Holders[0]
	return &holdpb.RankAnswer{
		Holder: rankedMessage(h), Count: uint64(page.Count),
		TotalScore: page.Totals.Live.Score.String(), TotalSettledScore: page.Totals.Settled.Score.String(),
		Share:        query.ShareOf(h.Live.Score, page.Totals.Live.Score),
		SettledShare: query.ShareOf(h.Settled.Score, page.Totals.Settled.Score),
		AsOf:         timestampOf(page.At), AppliedThrough: appliedTimes{}.of(page.Applied),
		Rules: page.From.RulesVersion, Generation: page.From.Generation,
	}, nil
}
