package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// explainInput is the request of GET /stats/{holder}/holds.
type explainInput struct {
	Holder string `path:"holder" doc:"The holder's id, percent-encoded; a slash as %2F" example:"alice"`
	Token  string `query:"token" doc:"Of this token alone"`
	WindowInput
	FormatInput
}

// ContributionRow is a hold and what it contributes.
type ContributionRow struct {
	TokenID        string     `json:"token_id" example:"pool"`
	Policy         string     `json:"policy" enum:"merge,sum" doc:"How overlapping holds of the token count" example:"merge"`
	Start          *time.Time `json:"start,omitempty" doc:"Absent: the row is of all holds that were sealed, whose last end is end"`
	End            *time.Time `json:"end,omitempty" doc:"Absent: the hold is open"`
	Weight         string     `json:"weight" example:"2.5"`
	HoldID         string     `json:"hold_id,omitempty"`
	Alone          string     `json:"alone" doc:"What the hold would count in the window, by the rule, if there were no other, weight-seconds: plain - cut + multiplied + boosted" example:"216000"`
	Counted        string     `json:"counted" doc:"What it counts: alone - removed + added. All rows of a token add up to its score" example:"216000"`
	Removed        string     `json:"removed" doc:"What overlap with heavier or equal holds removed" example:"0"`
	HeldSeconds    string     `json:"held_seconds" doc:"How long it covers the window" example:"86400"`
	CountedSeconds string     `json:"counted_seconds" doc:"How long it is the one that counts" example:"86400"`
	AloneDouble    float64    `json:"alone_double" example:"216000"`
	CountedDouble  float64    `json:"counted_double" example:"216000"`
	RemovedDouble  float64    `json:"removed_double" example:"0"`
	Plain          string     `json:"plain" doc:"Its weight times held_seconds, whatever the rule" example:"216000"`
	Cut            string     `json:"cut" doc:"What a season, or a shortest run, takes away. Negative: what a run that became long enough in the window had before it" example:"0"`
	Multiplied     string     `json:"multiplied" doc:"What the multiplier adds; below 1 it is negative" example:"0"`
	Boosted        string     `json:"boosted" doc:"What boosts add to the hold alone; negative for factors below 1" example:"0"`
	Added          string     `json:"added" doc:"What other holds added: they began its run, so it is boosted more, or made it long enough to count" example:"0"`
	Settled        string     `json:"settled,omitempty" doc:"What it counts in the settled score. Absent where a window was asked for" example:"216000"`
	Rule           string     `json:"rule,omitempty" doc:"The rule that counts for the token: its id, or match PATTERN. Absent: none of its own" example:"match LP-*"`
	WindowFigures
}

func (s *Server) addExplain(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "explain-holder",
		Method:      http.MethodGet,
		Path:        "/stats/{holder}/holds",
		Summary:     "The holds behind a holder's score",
		Description: "What each hold contributes to the live score, and what rules and other holds take away or add, by token, then by start, streamed. Holds that do not reach into the window are left out.",
		Responses:   rowResponses[ContributionRow](api, "Contributions", "The holds"),
		Errors:      readErrors,
	}, s.getHolds)
}

func (s *Server) getHolds(ctx context.Context, in *explainInput) (*huma.StreamResponse, error) {
	w, err := s.windowIn(&in.WindowInput)
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	q := query.ExplainQuery{Window: w, Holder: in.Holder, Token: in.Token, After: in.After}
	return streamRows(s, ctx, in.Format, "path", func(emit func(*ContributionRow) error) error {
		return s.cfg.Reads.Explain(ctx, q, func(c *query.Contribution) error {
			removed := c.Removed()
			return emit(&ContributionRow{
				TokenID: c.Token, Policy: c.Policy.String(),
				Start: timeOrNone(c.Start), End: timeOrNone(c.End), Weight: c.WeightText(), HoldID: c.HoldID,
				Alone: c.Alone.Score.String(), Counted: c.Counted.Score.String(), Removed: removed.String(),
				HeldSeconds: c.Plain.Held.String(), CountedSeconds: c.Counted.Held.String(),
				AloneDouble: c.Alone.Score.Float64(), CountedDouble: c.Counted.Score.Float64(), RemovedDouble: removed.Float64(),
				Plain: c.Plain.Score.String(), Cut: c.Cut().String(), Multiplied: c.Multiplied().String(), Boosted: c.Boosted().String(),
				Added: c.Added().String(), Settled: c.SettledText(), Rule: c.Rule,
				WindowFigures: windowFigures(&w, c.Applied, c.From),
			})
		})
	}), nil
}

// historyInput is the request of GET /stats/{holder}/history.
type historyInput struct {
	Holder string `path:"holder" doc:"The holder's id, percent-encoded; a slash as %2F" example:"alice"`
	Token  string `query:"token" doc:"Of this token alone; absent: summed over all"`
	From   string `query:"from" doc:"The first instant, as as_of elsewhere. Absent: the start of the first hold"`
	To     string `query:"to" doc:"The last instant. Absent: now"`
	ProjectedInput
	Points string `query:"points" doc:"How many instants, 2 to 1000. Absent: 100" example:"100"`
	After  uint64 `query:"after" doc:"Wait until this position of the log is applied. 0: all that the log held when the request came"`
	FormatInput
}

// PointRow is the score as of one instant.
type PointRow struct {
	AsOf time.Time `json:"as_of"`
	ExactFigures
	AppliedThrough *time.Time `json:"applied_through,omitempty" doc:"The log's time up to which the answer knows events"`
	Origin
	InstantFigures
	Projection
}

func (s *Server) addHistory(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "holder-history",
		Method:      http.MethodGet,
		Path:        "/stats/{holder}/history",
		Summary:     "The score of a holder over time",
		Description: "Exact at each of evenly spaced instants, the first and the last among them.",
		Responses:   rowResponses[PointRow](api, "History", "The instants, by time"),
		Errors:      readErrors,
	}, s.getHistory)
}

func (s *Server) getHistory(ctx context.Context, in *historyInput) (*huma.StreamResponse, error) {
	w, err := s.windowIn(&WindowInput{From: in.From, To: in.To, ProjectedInput: in.ProjectedInput})
	q := query.HistoryQuery{Window: w, Holder: in.Holder, Token: in.Token, After: in.After}
	if err == nil {
		q.Points, err = countIn("points", in.Points, 2, query.MaxPoints)
	}
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	asked := s.cfg.Reads.Now()
	points, err := s.cfg.Reads.History(ctx, q)
	if err != nil {
		return nil, s.fail(ctx, err, "query")
	}
	return streamRows(s, ctx, in.Format, "query", func(emit func(*PointRow) error) error {
		for i := range points {
			p := &points[i]
			row := PointRow{AsOf: query.TimeOf(p.At), ExactFigures: figuresOf(p.Live, p.Settled), AppliedThrough: timeOrNone(p.Applied), Origin: originOf(p.From),
				InstantFigures: InstantFigures{p.Weight.String(), p.Rate.String()}, Projection: Projection{p.At > asked}}
			if err := emit(&row); err != nil {
				return err
			}
		}
		return nil
	}), nil
}

// countIn reads a number of a query; an empty text is 0, not given.
func countIn(field, text string, least, most uint64) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	n, err := ingest.ParseRevision(text)
	if err != nil || n < least || n > most {
		return 0, &hold.FieldError{Field: field, Err: query.ErrRange, Detail: query.RangeDetail(least, most)}
	}
	return n, nil
}
