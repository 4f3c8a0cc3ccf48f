package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"holdmetrics/ingest"
	"holdmetrics/processor/hold"
	"holdmetrics/projection"
)

// holderInput is the request of GET /stats/{holder}.
type holderInput struct {
	Holder string `path:"holder" doc:"The holder's id, percent-encoded; a slash as %2F" example:"alice"`
	AsOf   string `query:"as_of" doc:"RFC 3339, or unix seconds; up to nine fractional digits. Absent: now" example:"2023-05-02T00:00:00Z"`
	After  uint64 `query:"after" doc:"Wait until this position of the log is applied. 0: all that the log held when the request came"`
}

// ExactFigures are exact, with the nearest doubles beside them.
type ExactFigures struct {
	Score              string  `json:"score" doc:"Live, as of the instant, weight-seconds" example:"108000"`
	HeldSeconds        string  `json:"held_seconds" doc:"Live, as of the instant, seconds" example:"43200"`
	SettledScore       string  `json:"settled_score" doc:"Of ended holds: with as_of those with an end up to it, else all" example:"0"`
	SettledHeldSeconds string  `json:"settled_held_seconds" doc:"Of the same holds, seconds" example:"0"`
	ScoreDouble        float64 `json:"score_double" example:"108000"`
	SettledScoreDouble float64 `json:"settled_score_double" example:"0"`
}

func figuresOf(live, settled hold.Amount) ExactFigures {
	return ExactFigures{
		Score:              live.Score.String(),
		HeldSeconds:        live.Held.String(),
		SettledScore:       settled.Score.String(),
		SettledHeldSeconds: settled.Held.String(),
		ScoreDouble:        live.Score.Float64(),
		SettledScoreDouble: settled.Score.Float64(),
	}
}

// holderBody is the answer of GET /stats/{holder}.
type holderBody struct {
	HolderID      string  `json:"holder_id" example:"alice"`
	WeightedScore float64 `json:"weighted_score" doc:"The same as settled_score_double" example:"0"`
	TotalSeconds  int64   `json:"total_seconds" doc:"Whole seconds of settled_held_seconds" example:"0"`
	ExactFigures
	AsOf           time.Time   `json:"as_of" doc:"The instant that the figures are of"`
	AppliedThrough *time.Time  `json:"applied_through,omitempty" doc:"The log's time up to which the answer knows events"`
	Tokens         []tokenBody `json:"tokens" doc:"The same by token, ordered by token_id"`
}

type tokenBody struct {
	TokenID string `json:"token_id" example:"pool"`
	ExactFigures
}

type holderOutput struct{ Body holderBody }

func (g *Gateway) addHolder(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "get-holder",
		Method:      http.MethodGet,
		Path:        "/stats/{holder}",
		Summary:     "Exact figures of one holder",
		Description: "From the stored facts, as of any time, with the breakdown by token. The answer waits, for a bounded time, until the store has applied what was asked for.",
		Errors: []int{http.StatusNotFound, http.StatusUnprocessableEntity,
			http.StatusServiceUnavailable, http.StatusGatewayTimeout},
	}, g.getHolder)
}

func (g *Gateway) getHolder(ctx context.Context, in *holderInput) (*holderOutput, error) {
	q := scoreQuery{holder: in.Holder, byToken: true, after: in.After}
	t, err := ingest.ParseTime(in.AsOf)
	if err == nil {
		err = g.instant(&q, t)
	}
	if err != nil {
		return nil, g.fail(ingest.InField("as_of", err), "query")
	}
	out := &holderOutput{Body: holderBody{HolderID: in.Holder, AsOf: timeOf(q.at), Tokens: []tokenBody{}}}
	var sum scoreRow
	err = g.scores(ctx, q, func(r *scoreRow) error {
		sum.add(r.live, r.settled)
		sum.applied = r.applied
		out.Body.Tokens = append(out.Body.Tokens, tokenBody{TokenID: keep(r.token, ""), ExactFigures: figuresOf(r.live, r.settled)})
		return nil
	})
	if err == nil && len(out.Body.Tokens) == 0 {
		err = projection.ErrNotFound
	}
	if err != nil {
		return nil, g.fail(err, "query")
	}
	b := &out.Body
	b.ExactFigures = figuresOf(sum.live, sum.settled)
	b.WeightedScore, b.TotalSeconds = b.SettledScoreDouble, sum.settled.Held.Seconds()
	if sum.applied != 0 {
		through := timeOf(sum.applied)
		b.AppliedThrough = &through
	}
	return out, nil
}
