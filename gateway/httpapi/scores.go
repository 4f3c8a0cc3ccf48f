package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"holdmetrics/gateway/query"
	"holdmetrics/hold"
)

// scoresInput is the request of GET /scores.
type scoresInput struct {
	Holder  string `query:"holder" doc:"Of this holder alone. For a holder whose id cannot be in a path, such as watch or .." example:"alice"`
	Token   string `query:"token" doc:"Of this token alone"`
	ByToken bool   `query:"by_token" doc:"A row for each token of a holder"`
	Share   bool   `query:"share" doc:"With the part of the sum over all holders. Reads every pair"`
	DigitsInput
	WindowInput
	FormatInput
}

// ScoreRow is a row of GET /scores.
type ScoreRow struct {
	HolderID string `json:"holder_id" example:"alice"`
	TokenID  string `json:"token_id,omitempty" doc:"With by_token or token"`
	ExactFigures
	ShareFigures
	WindowFigures
	InstantFigures
	ExactShares
}

// ExactFigures are exact, with the nearest doubles beside them.
type ExactFigures struct {
	Score              string  `json:"score" doc:"Live, as of the instant, weight-seconds" example:"108000"`
	HeldSeconds        string  `json:"held_seconds" doc:"Live, as of the instant, seconds" example:"43200"`
	SettledScore       string  `json:"settled_score" doc:"Of ended holds: with as_of or a window those with an end up to it, else all. Of a window it may be negative, by a boost that falls: a hold that ended in the window may have begun the run earlier of what ended before" example:"0"`
	SettledHeldSeconds string  `json:"settled_held_seconds" doc:"Of the same holds, seconds" example:"0"`
	ScoreDouble        float64 `json:"score_double" example:"108000"`
	SettledScoreDouble float64 `json:"settled_score_double" example:"0"`
}

func figuresOf(live, settled hold.Amount) ExactFigures {
	return ExactFigures{
		Score:              live.Score.String(),
		HeldSeconds:        live.Held.String(),
		SettledScore:       settled.Score.Net().String(),
		SettledHeldSeconds: settled.Held.String(),
		ScoreDouble:        live.Score.Float64(),
		SettledScoreDouble: settled.Score.Net().Float64(),
	}
}

var readErrors = []int{http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout}

func (s *Server) addScores(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-scores",
		Method:      http.MethodGet,
		Path:        "/scores",
		Summary:     "Exact figures from the stored facts",
		Description: "Of all holders or one, as of any time or of any window, ordered by holder, then token, streamed. The twin of the gRPC method Scores.",
		Responses:   rowResponses[ScoreRow](api, "Scores", "The rows"),
		Errors:      readErrors,
	}, s.getScores)
}

func (s *Server) getScores(ctx context.Context, in *scoresInput) (*huma.StreamResponse, error) {
	w, err := s.windowIn(&in.WindowInput)
	q := query.ScoreQuery{Window: w, Holder: in.Holder, Token: in.Token, ByToken: in.ByToken, Share: in.Share, After: in.After}
	if err == nil {
		q.Digits, err = in.digits()
	}
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	return streamRows(s, ctx, in.Format, "query", func(emit func(*ScoreRow) error) error {
		return s.cfg.Reads.Scores(ctx, q, func(r *query.Row) error {
			row := ScoreRow{
				HolderID: r.Holder, TokenID: r.Token, ExactFigures: figuresOf(r.Live, r.Settled),
				ShareFigures: sharesOf(r.Live.Score, r.Settled.Score, r.Total), WindowFigures: windowFigures(&w, r.Applied, r.From),
				InstantFigures: instantFigures(&w, r.Weight, r.Rate), ExactShares: exactShares(&q, r),
			}
			if !q.ByToken {
				row.TokenID = q.Token
			}
			return emit(&row)
		})
	}), nil
}
