package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"holdmetrics/gateway/query"
)

// holderInput is the request of GET /stats/{holder}.
type holderInput struct {
	Holder string `path:"holder" doc:"The holder's id, percent-encoded; a slash as %2F. The holder named watch is read by /scores?holder=watch" example:"alice"`
	Share  bool   `query:"share" doc:"With the part of the sum over all holders. Reads every pair of the store"`
	DigitsInput
	WindowInput
}

// HolderBody is the answer of GET /stats/{holder}.
type HolderBody struct {
	HolderID      string  `json:"holder_id" example:"alice"`
	WeightedScore float64 `json:"weighted_score" doc:"The same as settled_score_double" example:"0"`
	TotalSeconds  int64   `json:"total_seconds" doc:"Whole seconds of settled_held_seconds" example:"0"`
	ExactFigures
	ShareFigures
	WindowFigures
	InstantFigures
	ExactShares
	Tokens []tokenBody `json:"tokens" doc:"The same by token, ordered by token_id"`
}

type tokenBody struct {
	TokenID string `json:"token_id" example:"pool"`
	ExactFigures
	ShareFigures
	InstantFigures
	ExactShares
}

func (s *Server) addHolder(api huma.API) {
	body := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[HolderBody](), true, "Holder")
	huma.Register(api, huma.Operation{
		OperationID: "get-holder",
		Method:      http.MethodGet,
		Path:        "/stats/{holder}",
		Summary:     "Exact figures of one holder",
		Description: "From the stored facts, as of any time or of any window, with the breakdown by token. The answer waits, for a bounded time, until the store has applied what was asked for.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The holder",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: body}},
		}},
		Errors: readErrors,
	}, s.getHolder)
}

func (s *Server) getHolder(ctx context.Context, in *holderInput) (*huma.StreamResponse, error) {
	w, err := s.windowIn(&in.WindowInput)
	q := query.ScoreQuery{Window: w, Holder: in.Holder, ByToken: true, Share: in.Share, After: in.After}
	if err == nil {
		q.Digits, err = in.digits()
	}
	if err == nil {
		err = q.Check()
	}
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, to := humago.Unwrap(hctx)
		out := bufio.NewWriterSize(to, answerBuffer)
		answer := holderAnswer{q: &q, w: &w, out: out, header: to.Header()}
		err := s.cfg.Reads.Breakdown(ctx, q, answer.begin, answer.token)
		if err == nil {
			err = answer.end()
		}
		if err != nil && !answer.begun {
			s.writeFailure(ctx, to, err, "query")
		} else if err != nil {
			panic(http.ErrAbortHandler) // half an answer must not be taken for the whole
		}
	}}, nil
}

// holderAnswer writes a holder in pieces.
type holderAnswer struct {
	q      *query.ScoreQuery
	w      *query.Window
	out    *bufio.Writer
	header http.Header
	begun  bool
	tokens int
}

// begin writes everything before the tokens. Their list stays open.
func (a *holderAnswer) begin(sum *query.Row) error {
	head, err := json.Marshal(&HolderBody{
		HolderID: sum.Holder, WeightedScore: sum.Settled.Score.Net().Float64(), TotalSeconds: sum.Settled.Held.Seconds(),
		ExactFigures: figuresOf(sum.Live, sum.Settled), ShareFigures: sharesOf(sum.Live.Score, sum.Settled.Score, sum.Total),
		WindowFigures: windowFigures(a.w, sum.Applied, sum.From), Tokens: []tokenBody{},
		InstantFigures: instantFigures(a.w, sum.Weight, sum.Rate), ExactShares: exactShares(a.q, sum),
	})
	if err != nil {
		return err
	}
	a.begun = true
	a.header.Set("Content-Type", "application/json")
	_, err = a.out.Write(head[:len(head)-len("]}")])
	return err
}

func (a *holderAnswer) token(r *query.Row) error {
	text, err := json.Marshal(tokenBody{
		TokenID: r.Token, ExactFigures: figuresOf(r.Live, r.Settled),
		ShareFigures:   sharesOf(r.Live.Score, r.Settled.Score, r.Total),
		InstantFigures: instantFigures(a.w, r.Weight, r.Rate), ExactShares: exactShares(a.q, r),
	})
	if err == nil && a.tokens > 0 {
		err = a.out.WriteByte(',')
	}
	a.tokens++
	if err != nil {
		return err
	}
	_, err = a.out.Write(text)
	return err
}

func (a *holderAnswer) end() error {
	if _, err := a.out.WriteString("]}\n"); err != nil {
		return err
	}
	return a.out.Flush()
}
