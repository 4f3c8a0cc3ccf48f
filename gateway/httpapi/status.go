package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"holdmetrics/gateway/query"
)

// partitionRow is a partition in GET /status.
type partitionRow struct {
	Partition      int        `json:"partition"`
	Owner          string     `json:"owner" doc:"The process that applies it"`
	State          string     `json:"state" example:"running"`
	Moving         bool       `json:"moving" doc:"It has an owner, has not failed, and is not at one thing for too long"`
	Epoch          uint64     `json:"epoch"`
	Position       uint64     `json:"position" doc:"Applied in memory; where no owner says it, in the store or in the snapshots"`
	Stored         uint64     `json:"stored" doc:"Durable in the store"`
	Published      uint64     `json:"published" doc:"In the snapshots"`
	End            uint64     `json:"end" doc:"Last position of the partition in the log"`
	Lag            uint64     `json:"lag" doc:"Messages of the log that are not applied"`
	LagEvents      uint64     `json:"lag_events" doc:"Events of the log that are not applied: those that the owner has read are counted, the others estimated"`
	LagEstimated   uint64     `json:"lag_events_estimated" doc:"How many of lag_events are an estimate; 0 where all are counted"`
	LagSeconds     *float64   `json:"lag_seconds,omitempty" doc:"Age of what is applied, by the log's time, or where nothing is, of the first message; 0 where nothing is behind it, absent where that is not known"`
	Events         uint64     `json:"events" doc:"Applied since the store was made"`
	Rejected       uint64     `json:"rejected" doc:"Refused since the store was made"`
	Excluded       uint64     `json:"excluded,omitempty" doc:"Of events, since the owner took the partition: of holders whom the rules exclude"`
	AppliedThrough *time.Time `json:"applied_through,omitempty" doc:"The log's time of position"`
	LastError      string     `json:"trouble,omitempty"`
}

// workerRow is a process that owns partitions.
type workerRow struct {
	ID         string     `json:"id"`
	Partitions []int      `json:"partitions"`
	Host       string     `json:"host,omitempty"`
	Version    string     `json:"version,omitempty"`
	Started    *time.Time `json:"started,omitempty"`
	Heard      *time.Time `json:"heard,omitempty" doc:"When the worker was heard of last"`
	Leaving    bool       `json:"leaving,omitempty" doc:"It gives away what it has"`
}

// StatusBody is the answer of GET /status.
type StatusBody struct {
	Partitions   []partitionRow `json:"partitions"`
	Workers      []workerRow    `json:"workers"`
	Holders      int            `json:"holders" doc:"With a snapshot"`
	Events       uint64         `json:"events" doc:"Applied, of all partitions"`
	Lag          uint64         `json:"lag" doc:"Messages of the log that are not applied"`
	LagEvents    uint64         `json:"lag_events" doc:"Events of the log that are not applied, of all partitions"`
	LagEstimated uint64         `json:"lag_events_estimated" doc:"How many of lag_events are an estimate; 0 where all are counted"`
	LagSeconds   *float64       `json:"lag_seconds,omitempty" doc:"That of the partition that is furthest behind, of those where it is known"`
	Watchers     int64          `json:"watchers" doc:"Clients that watch, at this gateway"`
	At           time.Time      `json:"at"`
	Version      string         `json:"version,omitempty"`
	Generation   string         `json:"generation,omitempty" doc:"That this gateway answers from" example:"1"`
	Rules        string         `json:"rules,omitempty" doc:"Version of its rules"`
	Prepared     string         `json:"prepared,omitempty" doc:"Generation that is loaded beside it"`
	DeadLetters  *deadLetterRow `json:"dead_letters,omitempty" doc:"What the stream of dead letters holds, and what it may hold"`
	Checkpoint   *uint64        `json:"checkpoint,omitempty" doc:"Positions that the latest signed checkpoint covers; absent without a signing key"`
	Refused      string         `json:"refused,omitempty" doc:"Why no event is taken now, and since when; absent: events are taken"`
	Lost         []lostRow      `json:"lost,omitempty" doc:"Positions of the log whose messages are lost by an operator's decision"`
}

// deadLetterRow is what the stream of dead letters holds.
type deadLetterRow struct {
	Messages    uint64     `json:"messages" doc:"Those of a frame are one"`
	MaxMessages uint64     `json:"max_messages,omitempty" doc:"Absent: no limit"`
	Bytes       uint64     `json:"bytes"`
	MaxBytes    uint64     `json:"max_bytes,omitempty" doc:"Absent: no limit"`
	Since       *time.Time `json:"since,omitempty" doc:"The oldest was stored; absent: there are none"`
	Full        bool       `json:"full" doc:"The next ones take the place of the oldest, whose events stay in the log"`
}

// lostRow is a run of positions of the log in GET /status.
type lostRow struct {
	First    uint64    `json:"first"`
	Last     uint64    `json:"last"`
	At       time.Time `json:"at" doc:"When the loss was accepted"`
	Restored uint64    `json:"restored" doc:"How many of the messages were sent again from a backup"`
}

type statusOutput struct{ Body StatusBody }

func (s *Server) addStatus(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "status",
		Method:      http.MethodGet,
		Path:        "/status",
		Summary:     "How the partitions do, and who owns them",
		Errors:      []int{http.StatusServiceUnavailable},
	}, func(ctx context.Context, _ *struct{}) (*statusOutput, error) {
		status, err := s.cfg.Status(ctx)
		if err != nil {
			return nil, s.fail(ctx, err, "")
		}
		body := statusBodyOf(status)
		if c, _, err := s.cfg.Reads.Proofs().Checkpoint(); err == nil {
			body.Checkpoint = &c.Size
		}
		return &statusOutput{Body: body}, nil
	})
}

// statusBodyOf is a status in the form of GET /status.
func statusBodyOf(s *query.Status) StatusBody {
	body := StatusBody{
		Partitions: []partitionRow{}, Workers: []workerRow{}, Holders: s.Holders, Events: s.Events,
		Lag: s.Lag, LagEvents: s.LagEvents, LagEstimated: s.LagEstimated, LagSeconds: s.LagSeconds,
		Watchers: s.Watchers, At: query.TimeOf(s.At), Version: s.Version, Generation: s.Generation, Rules: s.Rules, Prepared: s.Prepared,
	}
	for i := range s.Partitions {
		p := &s.Partitions[i]
		body.Partitions = append(body.Partitions, partitionRow{
			Partition: p.Partition, Owner: p.Owner, State: p.State, Moving: p.Moving, Epoch: p.Epoch,
			Position: p.Position, Stored: p.Stored, Published: p.Published, End: p.End, Lag: p.Behind,
			LagEvents: p.LagEvents, LagEstimated: p.LagEstimated, LagSeconds: p.LagSeconds,
			Events: p.Events, Rejected: p.Rejected, Excluded: p.Excluded, AppliedThrough: timeOrNone(p.LogTime), LastError: p.LastError,
		})
	}
	if d := s.DeadLetters; d != nil {
		body.DeadLetters = &deadLetterRow{Messages: d.Messages, MaxMessages: d.MaxMessages, Bytes: d.Bytes, MaxBytes: d.MaxBytes, Full: d.Full()}
		if !d.Since.IsZero() {
			body.DeadLetters.Since = &d.Since
		}
	}
	if s.Refused != nil {
		body.Refused = s.Refused.Error()
	}
	for _, l := range s.Lost {
		body.Lost = append(body.Lost, lostRow{l.First, l.Last, l.At, l.Restored})
	}
	for i := range s.Workers {
		w := &s.Workers[i]
		row := workerRow{ID: w.ID, Partitions: w.Partitions, Host: w.Host, Version: w.Version, Leaving: w.Leaving}
		if row.Partitions == nil {
			row.Partitions = []int{}
		}
		if !w.Started.IsZero() {
			row.Started = &w.Started
		}
		if !w.Heard.IsZero() {
			row.Heard = &w.Heard
		}
		body.Workers = append(body.Workers, row)
	}
	return body
}
