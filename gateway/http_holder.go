package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"holdmetrics/projection"
)

// holderInput is the request of GET /stats/{holder}.
type holderInput struct {
	Holder string `path:"holder" doc:"The holder's id, percent-encoded; a slash as %2F. The holder named watch is read by /scores?holder=watch" example:"alice"`
	Share  bool   `query:"share" doc:"With the part of the sum over all holders. Reads every pair of the store"`
	WindowInput
}

// holderBody is the answer of GET /stats/{holder}.
type holderBody struct {
	HolderID      string  `json:"holder_id" example:"alice"`
	WeightedScore float64 `json:"weighted_score" doc:"The same as settled_score_double" example:"0"`
	TotalSeconds  int64   `json:"total_seconds" doc:"Whole seconds of settled_held_seconds" example:"0"`
	ExactFigures
	ShareFigures
	WindowFigures
	Tokens []tokenBody `json:"tokens" doc:"The same by token, ordered by token_id"`
}

type tokenBody struct {
	TokenID string `json:"token_id" example:"pool"`
	ExactFigures
	ShareFigures
}

func (g *Gateway) addHolder(api huma.API) {
	body := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[holderBody](), true, "Holder")
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
	}, g.getHolder)
}

// tokensKept is how many tokens of a holder are kept in memory while their sum,
// which the answer has before them, is added up. Where there are more, they are
// read a second time.
const tokensKept = 256

// holderAnswer is a holder on the way to the client.
type holderAnswer struct {
	sum   scoreRow
	first []scoreRow // at most tokensKept
	count int        // of tokens
}

func (g *Gateway) getHolder(ctx context.Context, in *holderInput) (*huma.StreamResponse, error) {
	w, err := g.windowIn(&in.WindowInput)
	if err != nil {
		return nil, g.fail(err, "query")
	}
	q := scoreQuery{window: w, holder: in.Holder, byToken: true, share: in.Share, after: in.After}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		_, to := humago.Unwrap(hctx)
		out := newSlowWriter(to)
		defer out.release()
		begun := false
		err := afresh(func(given func()) error {
			return g.with(func(b *backend) error {
				return b.streamHolder(ctx, q, func(text []byte) error {
					if !begun {
						begun = true
						to.Header().Set("Content-Type", "application/json")
						given()
					}
					_, err := out.Write(text)
					return err
				})
			})
		})
		if err == nil {
			err = out.Flush()
		}
		if err != nil && !begun {
			g.writeFailure(to, err, "query")
		} else if err != nil {
			panic(http.ErrAbortHandler) // half an answer must not be taken for the whole
		}
	}}, nil
}

// streamHolder writes the answer in pieces.
func (b *backend) streamHolder(ctx context.Context, q scoreQuery, write func([]byte) error) error {
	q = q.named(b.Rules)
	var a holderAnswer
	views, sums, err := b.open(ctx, q)
	if err != nil {
		return err
	}
	defer closeViews(views)
	view := b.g.viewOf(q.holder, views)
	err = holderScores(ctx, view, q, func(r *scoreRow) error {
		a.sum.add(r.live, r.settled)
		a.sum.applied = r.applied
		if a.count++; a.count <= tokensKept {
			kept := *r
			kept.token = keep(r.token, "")
			a.first = append(a.first, kept)
		}
		return nil
	})
	if err == nil && a.count == 0 {
		err = projection.ErrNotFound
	}
	if err != nil {
		return storeError(ctx, err)
	}
	settled := a.sum.settled
	body := holderBody{
		HolderID: q.holder, WeightedScore: settled.Score.Net().Float64(), TotalSeconds: settled.Held.Seconds(),
		ExactFigures: figuresOf(a.sum.live, settled), ShareFigures: sharesOf(a.sum.live.Score, settled.Score, sums.all()),
		WindowFigures: q.figures(a.sum.applied, &b.Backend), Tokens: []tokenBody{},
	}
	head, err := json.Marshal(&body)
	if err != nil {
		return err
	}
	if err := write(head[:len(head)-len("]}")]); err != nil { // the list of tokens stays open
		return err
	}
	written := 0
	token := func(r *scoreRow) error {
		text, err := json.Marshal(tokenBody{
			TokenID: r.token, ExactFigures: figuresOf(r.live, r.settled),
			ShareFigures: sharesOf(r.live.Score, r.settled.Score, sums.of(r.token)),
		})
		if err == nil && written > 0 {
			err = write([]byte{','})
		}
		written++
		if err != nil {
			return err
		}
		return write(text)
	}
	for i := range a.first {
		if err := token(&a.first[i]); err != nil {
			return err
		}
	}
	if a.count > tokensKept {
		skip := tokensKept
		err := holderScores(ctx, view, q, func(r *scoreRow) error {
			if skip > 0 {
				skip--
				return nil
			}
			return token(r)
		})
		if err != nil {
			return storeError(ctx, err)
		}
	}
	return write([]byte("]}\n"))
}
