package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"holdmetrics/gateway/query"
)

// topInput is the request of GET /top.
type topInput struct {
	By     string `query:"by" enum:"settled,live" default:"settled" doc:"The score that the ranking is by"`
	Token  string `query:"token" doc:"Of this token alone; absent: over all"`
	Limit  string `query:"limit" doc:"How many holders, 1 to 1000. Absent: 100" example:"100"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before. All its pages are of the same state and the same instant"`
	After  uint64 `query:"after" doc:"Wait until this position of the log is applied"`
	FormatInput
}

// RankedRow is a holder with its place.
type RankedRow struct {
	Rank     uint64 `json:"rank" doc:"From 1; holders of equal scores are ordered by holder_id" example:"1"`
	HolderID string `json:"holder_id" example:"alice"`
	ExactFigures
	Rate  string     `json:"rate" doc:"Weight-seconds a second, from as_of to until" example:"2.5"`
	Until *time.Time `json:"until,omitempty" doc:"First instant at which the rate may change without an event; absent: none is known"`
}

// RankMarks are what a page says of itself. It is exported, since huma documents no other embedded fields.
type RankMarks struct {
	Count             int        `json:"count" doc:"Of holders that are ranked" example:"1000000"`
	TotalScore        string     `json:"total_score" doc:"Live, of all of them" example:"432000"`
	TotalSettledScore string     `json:"total_settled_score" example:"216000"`
	AsOf              time.Time  `json:"as_of" doc:"The instant of the live figures"`
	AppliedThrough    *time.Time `json:"applied_through,omitempty" doc:"Every partition is applied at least up to this time of the log"`
	Origin
}

// TopBody is the JSON answer of a page of a ranking.
type TopBody struct {
	Holders    []RankedRow `json:"holders"`
	NextCursor string      `json:"next_cursor,omitempty" doc:"Absent: there is no more"`
	RankMarks
}

// RankBody is the JSON answer for the rank of one holder.
type RankBody struct {
	RankedRow
	Share        float64 `json:"share" doc:"score / total_score, the nearest double; 0 of nothing" example:"0.25"`
	SettledShare float64 `json:"settled_share"`
	RankMarks
}

type rankInput struct {
	Holder string `path:"holder" doc:"The holder's id, percent-encoded; a slash as %2F" example:"alice"`
	By     string `query:"by" enum:"settled,live" default:"settled" doc:"The score that the ranking is by"`
	Token  string `query:"token" doc:"Of this token alone; absent: over all"`
	After  uint64 `query:"after" doc:"Wait until this position of the log is applied"`
}

type rankOutput struct{ Body RankBody }

func (s *Server) addRank(api huma.API) {
	responses := rowResponses[RankedRow](api, "Ranking", "The page. As NDJSON and CSV it is the holders alone; the header Link names the next page")
	responses["200"].Content["application/json"].Schema = api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[TopBody](), true, "Top")
	huma.Register(api, huma.Operation{
		OperationID: "top",
		Method:      http.MethodGet,
		Path:        "/top",
		Summary:     "The holders with the greatest scores",
		Description: "By settled score, ordered exactly, or by live score as of a stated instant. Over all tokens it is made from the snapshots. " +
			"The first question of a token reads every pair of the store; later ones read what has changed.",
		Responses: responses,
		Errors: []int{http.StatusGone, http.StatusUnprocessableEntity,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout},
	}, s.getTop)
	huma.Register(api, huma.Operation{
		OperationID: "rank",
		Method:      http.MethodGet,
		Path:        "/stats/{holder}/rank",
		Summary:     "The place of one holder, and its share of the sum of all",
		Errors:      readErrors,
	}, s.getRank)
}

func marksOf(page *query.Page) RankMarks {
	return RankMarks{
		Count: page.Count, TotalScore: page.Totals.Live.Score.String(), TotalSettledScore: page.Totals.Settled.Score.String(),
		AsOf: query.TimeOf(page.At), AppliedThrough: timeOrNone(page.Applied), Origin: originOf(page.From),
	}
}

func rankedRow(h *query.Ranked) RankedRow {
	return RankedRow{
		Rank: h.Rank, HolderID: h.Holder, ExactFigures: figuresOf(h.Live, h.Settled),
		Rate: h.Rate.String(), Until: timeOrNone(h.Until),
	}
}

func (s *Server) getTop(ctx context.Context, in *topInput) (*huma.StreamResponse, error) {
	limit, err := countIn("limit", in.Limit, 1, query.MaxTop)
	var page *query.Page
	if err == nil {
		page, err = s.cfg.Reads.Top(ctx, query.TopQuery{By: query.RankBy(in.By), Token: in.Token, Limit: limit, Cursor: in.Cursor, After: in.After})
	}
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	rows := make([]RankedRow, len(page.Holders))
	for i := range rows {
		rows[i] = rankedRow(&page.Holders[i])
	}
	respond := streamRows(s, ctx, in.Format, "query", func(emit func(*RankedRow) error) error {
		for i := range rows {
			if err := emit(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		if page.Next != "" {
			query := url.Values{"by": {in.By}, "cursor": {page.Next}, "format": {in.Format}}
			if in.Token != "" {
				query.Set("token", in.Token)
			}
			if in.Limit != "" {
				query.Set("limit", in.Limit)
			}
			hctx.SetHeader("Link", "</top?"+query.Encode()+`>; rel="next"`)
		}
		if in.Format != "json" {
			respond.Body(hctx)
			return
		}
		_, w := humago.Unwrap(hctx)
		s.writeJSON(w, TopBody{Holders: rows, NextCursor: page.Next, RankMarks: marksOf(page)})
	}}, nil
}

func (s *Server) getRank(ctx context.Context, in *rankInput) (*rankOutput, error) {
	page, err := s.cfg.Reads.Rank(ctx, query.TopQuery{By: query.RankBy(in.By), Token: in.Token, After: in.After}, in.Holder)
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	h := &page.Holders[0]
	return &rankOutput{Body: RankBody{
		RankedRow: rankedRow(h), RankMarks: marksOf(page),
		Share:        query.ShareOf(h.Live.Score, page.Totals.Live.Score),
		SettledShare: query.ShareOf(h.Settled.Score, page.Totals.Settled.Score),
	}}, nil
}
