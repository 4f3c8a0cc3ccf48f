package httpapi

import (
	"time"

	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/times"
)

// WindowInput is the time that a read of the stored facts is about.
type WindowInput struct {
	AsOf string `query:"as_of" doc:"RFC 3339, a date, unix seconds, or now; up to nine fractional digits. Absent: now" example:"2023-05-02T00:00:00Z"`
	From string `query:"from" doc:"Figures of the window [from, to): those at to less those at from"`
	To   string `query:"to" doc:"End of the window; another name for as_of"`
	ProjectedInput
	After uint64 `query:"after" doc:"Wait until this position of the log is applied. 0: all that the log held when the request came"`
}

// ProjectedInput allows times in the future.
type ProjectedInput struct {
	Projected bool `query:"projected" doc:"Allow times in the future, and assume that open holds stay open until then"`
}

// windowIn reads the times of a query.
func (s *Server) windowIn(in *WindowInput) (query.Window, error) {
	given := query.Times{Projected: in.Projected}
	if in.AsOf != "" && in.To != "" {
		return query.Window{}, &hold.FieldError{Field: "to", Err: query.ErrTwice}
	}
	for _, t := range []struct {
		field, text string
		stamp       *hold.Stamp
	}{{"as_of", in.AsOf, &given.AsOf}, {"from", in.From, &given.From}, {"to", in.To, &given.To}} {
		if t.text == "now" && t.field != "from" {
			given.Now = true
			continue
		}
		var err error
		if *t.stamp, err = (times.Reader{}).Parse(t.text); err != nil {
			return query.Window{}, ingest.InField(t.field, err)
		}
	}
	return s.cfg.Reads.Window(given)
}

// WindowFigures are what a row of an answer says of its time.
type WindowFigures struct {
	AsOf           time.Time  `json:"as_of" doc:"The instant that the figures are of; the end of the window"`
	From           *time.Time `json:"from,omitempty" doc:"The beginning of the window"`
	AppliedThrough *time.Time `json:"applied_through,omitempty" doc:"The log's time up to which the answer knows events. An event may still come late: nothing is final"`
	Origin
	Projection
}

// Projection is what a row says of a time in the future.
type Projection struct {
	Projected bool `json:"projected,omitempty" doc:"The time asked for is in the future: open holds are assumed to stay open"`
}

// InstantFigures are what is held at the instant that a row is of. A window has none.
type InstantFigures struct {
	Weight string `json:"weight,omitempty" doc:"What is held at that instant: the sum or the largest by each pair's policy, whatever the rules" example:"2.5"`
	Rate   string `json:"rate,omitempty" doc:"Weight-seconds a second from that instant on, by the rules" example:"2.5"`
}

func instantFigures(w *query.Window, weight, rate hold.Rate) InstantFigures {
	if w.HasFrom {
		return InstantFigures{}
	}
	return InstantFigures{weight.String(), rate.String()}
}

// ExactShares are shares as decimals.
type ExactShares struct {
	ShareExact        string `json:"share_exact,omitempty" doc:"With share: the exact fraction as a decimal of digits places, rounded down" example:"0.25"`
	SettledShareExact string `json:"settled_share_exact,omitempty" doc:"With share: the same of the settled scores"`
}

func exactShares(q *query.ScoreQuery, r *query.Row) ExactShares {
	if r.Total == nil {
		return ExactShares{}
	}
	return ExactShares{q.ShareText(r.Live.Score, r.Total.Live.Score), q.ShareText(r.Settled.Score, r.Total.Settled.Score)}
}

// DigitsInput is how fine exact shares are.
type DigitsInput struct {
	Digits string `query:"digits" doc:"With share: decimal places of the exact shares, 0 to 1000. Absent: 18" example:"18"`
}

// digits are those of a query; nil where none are given.
func (in *DigitsInput) digits() (*uint32, error) {
	if in.Digits == "" {
		return nil, nil
	}
	n, err := countIn("digits", in.Digits, 0, query.MaxDigits)
	digits := uint32(n)
	return &digits, err
}

// Origin is what an answer says of where its figures come from.
type Origin struct {
	Rules      string `json:"rules,omitempty" doc:"Version of the rules that they were counted by" example:"none"`
	Generation string `json:"generation,omitempty" doc:"Generation of the projections that they are of"`
}

func originOf(from *query.Backend) Origin {
	return Origin{Rules: from.RulesVersion, Generation: from.Generation}
}

func windowFigures(w *query.Window, applied int64, from *query.Backend) WindowFigures {
	f := WindowFigures{AsOf: query.TimeOf(w.At), AppliedThrough: timeOrNone(applied), Origin: originOf(from), Projection: Projection{w.Projected}}
	if w.HasFrom {
		from := query.TimeOf(w.From)
		f.From = &from
	}
	return f
}

// timeOrNone is nil for 0.
func timeOrNone(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	t := query.TimeOf(ns)
	return &t
}

// ShareFigures are the part of the sum over all holders.
type ShareFigures struct {
	TotalScore        string   `json:"total_score,omitempty" doc:"With share: the sum of score over all holders, in the same window" example:"432000"`
	TotalSettledScore string   `json:"total_settled_score,omitempty" doc:"With share: the sum of settled_score"`
	Share             *float64 `json:"share,omitempty" doc:"With share: score / total_score, the nearest double; 0 of nothing" example:"0.25"`
	SettledShare      *float64 `json:"settled_share,omitempty" doc:"With share: settled_score / total_settled_score"`
}

func sharesOf(live, settled hold.Score, t *query.Totals) ShareFigures {
	if t == nil {
		return ShareFigures{}
	}
	share, settledShare := query.ShareOf(live, t.Live.Score), query.ShareOf(settled, t.Settled.Score)
	return ShareFigures{
		TotalScore: t.Live.Score.String(), TotalSettledScore: t.Settled.Score.Net().String(),
		Share: &share, SettledShare: &settledShare,
	}
}
