package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/grpcapi"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// StatRow is a snapshot of a holder, as GET /stats has it.
type StatRow struct {
	HolderID        string     `json:"holder_id" example:"alice"`
	WeightedScore   float64    `json:"weighted_score" doc:"Settled score, the double nearest to score_exact" example:"216000"`
	TotalSeconds    int64      `json:"total_seconds" doc:"Settled held time, whole seconds" example:"86400"`
	ScoreExact      string     `json:"score_exact" doc:"Settled score, weight-seconds" example:"216000"`
	HeldExact       string     `json:"held_exact" doc:"Settled held time, seconds" example:"86400"`
	LiveScore       string     `json:"live_score,omitempty" doc:"Live score as of as_of, weight-seconds. A settled watch goes without" example:"216000"`
	LiveScoreDouble *float64   `json:"live_score_double,omitempty" example:"216000"`
	LiveHeld        string     `json:"live_held,omitempty" doc:"Live held time as of as_of, seconds" example:"86400"`
	LiveBase        string     `json:"live_base" doc:"Live score at since, weight-seconds" example:"216000"`
	LiveRate        string     `json:"live_rate" doc:"Weight-seconds a second from since on" example:"0"`
	LiveHeldBase    string     `json:"live_held_base" doc:"Live held time at since, seconds" example:"86400"`
	LiveHeldRate    uint64     `json:"live_held_rate" doc:"Pairs that are held: seconds a second" example:"0"`
	Since           *time.Time `json:"since,omitempty"`
	Until           *time.Time `json:"until,omitempty" doc:"First instant at which the line may break; absent: none is known"`
	AsOf            *time.Time `json:"as_of,omitempty" doc:"The instant that the live figures are of; never past until"`
	UpdatedAt       *time.Time `json:"updated_at,omitempty" doc:"The log's time of the last event applied"`
	AppliedThrough  *time.Time `json:"applied_through,omitempty" doc:"The log's time up to which the holder's partition is applied"`
	Position        uint64     `json:"position" doc:"Of the log, of the last event applied" example:"42"`
	Waiting         uint64     `json:"waiting" doc:"Facts that found nothing to act on" example:"0"`
	Rules           string     `json:"rules,omitempty"`
	Generation      string     `json:"generation,omitempty"`
	InstantFigures
	Projection
}

// statRowOf is the row of a snapshot, without what is added when it is read.
func statRowOf(s *holdpb.HoldStat) StatRow {
	return StatRow{
		HolderID:      s.GetHolderId(),
		WeightedScore: s.GetWeightedScore(),
		TotalSeconds:  s.GetTotalSeconds(),
		ScoreExact:    orZero(s.GetScoreExact()),
		HeldExact:     orZero(s.GetHeldExact()),
		LiveBase:      orZero(s.GetLiveBase()),
		LiveRate:      orZero(s.GetLiveRate()),
		LiveHeldBase:  orZero(s.GetLiveHeldBase()),
		LiveHeldRate:  s.GetLiveHeldRate(),
		Since:         timeIn(s.GetSince()),
		Until:         timeIn(s.GetUntil()),
		UpdatedAt:     timeIn(s.GetUpdatedAt()),
		Position:      s.GetPosition(),
		Waiting:       s.GetWaiting(),
		Rules:         s.GetRules(),
		Generation:    s.GetGeneration(),
	}
}

// addLive adds the live figures as of an instant.
func (r *StatRow) addLive(live hold.Amount, at int64) {
	double := live.Score.Float64()
	r.LiveScore, r.LiveScoreDouble, r.LiveHeld, r.AsOf = live.Score.String(), &double, live.Held.String(), timeOrNone(at)
}

// rowOf is the row of a snapshot that was read at an instant.
func rowOf(s *query.Snapshot) (StatRow, error) {
	var message holdpb.HoldStat
	if err := proto.Unmarshal(s.Value, &message); err != nil {
		return StatRow{}, err
	}
	row := statRowOf(&message)
	row.addLive(s.Live, s.At)
	row.AppliedThrough = timeOrNone(s.Applied)
	return row, nil
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func timeIn(t *timestamppb.Timestamp) *time.Time {
	if t == nil {
		return nil
	}
	at := t.AsTime()
	return &at
}

// statsInput is the request of GET /stats.
type statsInput struct {
	Holders string `query:"holders" doc:"Of these holders alone, separated by commas; for an id with a comma in it, holder" example:"alice,bob"`
	Holder  string `query:"holder" doc:"Of this holder alone"`
	AsOf    string `query:"as_of" doc:"From the stored facts instead, as of this time: RFC 3339, or unix seconds" example:"2023-05-02T00:00:00Z"`
	From    string `query:"from" doc:"From the stored facts instead, of the window [from, to)"`
	To      string `query:"to" doc:"End of the window; another name for as_of"`
	ProjectedInput
	After uint64 `query:"after" doc:"Wait until this position of the log is applied"`
	FormatInput
}

func (s *Server) addStats(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "list-stats",
		Method:      http.MethodGet,
		Path:        "/stats",
		Summary:     "Current snapshots of all holders",
		Description: "A JSON array, ordered by holder key, streamed. Empty while there is no holder. Of named holders in their order. " +
			"With as_of, from or to the rows come from the stored facts, ordered by holder, and have no line.",
		Responses: rowResponses[StatRow](api, "Stats", "The snapshots"),
		Errors:    readErrors,
	}, s.getStats)
}

// holdersIn are the holders that a query names.
func holdersIn(holders, holder string) []string {
	var names []string
	if holders != "" {
		names = strings.Split(holders, ",")
	}
	if holder != "" {
		names = append(names, holder)
	}
	return names
}

func (s *Server) getStats(ctx context.Context, in *statsInput) (*huma.StreamResponse, error) {
	q := query.StatsQuery{Holders: holdersIn(in.Holders, in.Holder), After: in.After}
	err := q.Check()
	if err == nil && in.AsOf+in.From+in.To != "" {
		var w query.Window
		w, err = s.windowIn(&WindowInput{AsOf: in.AsOf, From: in.From, To: in.To, ProjectedInput: in.ProjectedInput})
		q.Window = &w
	}
	if err != nil {
		return nil, s.fail(ctx, httpField(err, "holder_ids", "holders"), "query")
	}
	return streamRows(s, ctx, in.Format, "query", func(emit func(*StatRow) error) error {
		if q.Window != nil {
			return s.cfg.Reads.Stored(ctx, &q, func(r *query.Row) error {
				row := statRowOf(grpcapi.StoredStat(r, q.Window, nil, nil))
				row.InstantFigures, row.Projection = instantFigures(q.Window, r.Weight, r.Rate), Projection{q.Window.Projected}
				row.addLive(r.Live, q.Window.At)
				row.AppliedThrough = timeOrNone(r.Applied)
				return emit(&row)
			})
		}
		return s.cfg.Reads.EachSnapshot(ctx, &q, func(s *query.Snapshot) error {
			row, err := rowOf(s)
			if err != nil {
				return err
			}
			return emit(&row)
		})
	}), nil
}

// answerBuffer is how much of an answer of any length goes out at once.
const answerBuffer = 32 << 10
