package gateway

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdpb "holdmetrics/proto"
)

// statRow is a snapshot of a holder, as GET /stats has it.
type statRow struct {
	HolderID      string     `json:"holder_id" example:"alice"`
	WeightedScore float64    `json:"weighted_score" doc:"Settled score, the double nearest to score_exact" example:"216000"`
	TotalSeconds  int64      `json:"total_seconds" doc:"Settled held time, whole seconds" example:"86400"`
	ScoreExact    string     `json:"score_exact" doc:"Settled score, weight-seconds" example:"216000"`
	HeldExact     string     `json:"held_exact" doc:"Settled held time, seconds" example:"86400"`
	LiveBase      string     `json:"live_base" doc:"Live score at since, weight-seconds" example:"216000"`
	LiveRate      string     `json:"live_rate" doc:"Weight-seconds a second from since on" example:"0"`
	LiveHeldBase  string     `json:"live_held_base" doc:"Live held time at since, seconds" example:"86400"`
	LiveHeldRate  uint64     `json:"live_held_rate" doc:"Pairs that are held: seconds a second" example:"0"`
	Since         *time.Time `json:"since,omitempty"`
	Until         *time.Time `json:"until,omitempty" doc:"First instant at which the line may break; absent: none is known"`
	UpdatedAt     *time.Time `json:"updated_at,omitempty" doc:"The log's time of the last event applied"`
	Position      uint64     `json:"position" doc:"Of the log, of the last event applied" example:"42"`
	Waiting       uint64     `json:"waiting" doc:"Facts that found nothing to act on" example:"0"`
	Rules         string     `json:"rules,omitempty"`
	Generation    string     `json:"generation,omitempty"`
}

func statRowOf(s *holdpb.HoldStat) statRow {
	return statRow{
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

func (g *Gateway) addStats(api huma.API) {
	rows := api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[[]statRow](), true, "Stats")
	huma.Register(api, huma.Operation{
		OperationID: "list-stats",
		Method:      http.MethodGet,
		Path:        "/stats",
		Summary:     "Current snapshots of all holders",
		Description: "A JSON array, ordered by holder key, streamed. Empty while there is no holder.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The snapshots",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: rows}},
		}},
		Errors: []int{http.StatusServiceUnavailable},
	}, g.getStats)
}

func (g *Gateway) getStats(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
	// Before the answer begins, while it can still be a problem document.
	if err := g.cfg.Snapshots.Wait(ctx); err != nil {
		return nil, g.fail(unavailable("the snapshots", err), "")
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) { g.streamStats(ctx, hctx) }}, nil
}

// streamStats writes the array. Where it fails half-way the connection is cut, so
// that no client takes half an array for the whole.
func (g *Gateway) streamStats(ctx context.Context, hctx huma.Context) {
	_, w := humago.Unwrap(hctx)
	out := newSlowWriter(w)
	defer out.release()
	w.Header().Set("Content-Type", "application/json")
	var stat holdpb.HoldStat
	separator := byte('[')
	err := g.currentSnapshots(ctx, func(value []byte) error {
		if err := proto.Unmarshal(value, &stat); err != nil {
			return err
		}
		row, err := json.Marshal(statRowOf(&stat))
		if err != nil {
			return err
		}
		out.WriteByte(separator) //nolint:errcheck // bufio keeps the error for the next call
		separator = ','
		_, err = out.Write(row)
		return err
	})
	if err == nil {
		if separator == '[' {
			out.WriteByte('[') //nolint:errcheck // bufio keeps the error for the next call
		}
		out.WriteString("]\n") //nolint:errcheck // bufio keeps the error for the next call
		err = out.Flush()
	}
	if err != nil {
		if !errors.Is(err, context.Canceled) && ctx.Err() == nil {
			g.log.Debug("GET /stats was cut off", zap.Error(err))
		}
		panic(http.ErrAbortHandler)
	}
}

// slowWriter buffers an answer of any length and gives its client writeTimeout
// for each piece, however long the whole takes. A client that reads nothing is
// cut off instead of holding what is written for it.
type slowWriter struct {
	*bufio.Writer
	control *http.ResponseController
	to      http.ResponseWriter
}

func newSlowWriter(w http.ResponseWriter) *slowWriter {
	s := &slowWriter{control: http.NewResponseController(w), to: w}
	s.Writer = bufio.NewWriterSize(pieceWriter{s}, 32<<10)
	return s
}

// release lifts the deadline, which would hit the connection's next request.
func (s *slowWriter) release() {
	s.control.SetWriteDeadline(time.Time{}) //nolint:errcheck // where deadlines are not supported there is none
}

type pieceWriter struct{ s *slowWriter }

func (p pieceWriter) Write(b []byte) (int, error) {
	p.s.control.SetWriteDeadline(time.Now().Add(writeTimeout)) //nolint:errcheck // as in release
	return p.s.to.Write(b)
}
