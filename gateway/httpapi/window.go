package httpapi

import (
	"time"

	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// WindowInput is the time that a read of the stored facts is about.
type WindowInput struct {
	AsOf  string `query:"as_of" doc:"RFC 3339, or unix seconds; up to nine fractional digits. Absent: now" example:"2023-05-02T00:00:00Z"`
	From  string `query:"from" doc:"Figures of the window [from, to): those at to less those at from"`
	To    string `query:"to" doc:"End of the window; another name for as_of"`
	After uint64 `query:"after" doc:"Wait until this position of the log is applied. 0: all that the log held when the request came"`
}

// windowIn reads the times of a query.
func (s *Server) windowIn(in *WindowInput) (query.Window, error) {
	var times query.Times
	for _, t := range []struct {
		field, text string
		stamp       *hold.Stamp
	}{{"as_of", in.AsOf, &times.AsOf}, {"from", in.From, &times.From}, {"to", in.To, &times.To}} {
		var err error
		if *t.stamp, err = ingest.ParseTime(t.text); err != nil {
			return query.Window{}, ingest.InField(t.field, err)
		}
	}
	return s.cfg.Reads.Window(times)
}

// WindowFigures are what a row of an answer says of its time.
type WindowFigures struct {
	AsOf           time.Time  `json:"as_of" doc:"The instant that the figures are of; the end of the window"`
	From           *time.Time `json:"from,omitempty" doc:"The beginning of the window"`
	AppliedThrough *time.Time `json:"applied_through,omitempty" doc:"The log's time up to which the answer knows events. An event may still come late: nothing is final"`
	Origin
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
	f := WindowFigures{AsOf: query.TimeOf(w.At), AppliedThrough: timeOrNone(applied), Origin: originOf(from)}
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
