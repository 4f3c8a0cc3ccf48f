package gateway

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	holdpb "holdmetrics/proto"
)

// Owners tells how the partitions of the log do, and who owns them.
type Owners interface {
	// Partitions is what the owners last said, by partition; one that nobody owns
	// may be left out.
	Partitions(ctx context.Context) ([]PartitionStatus, error)
	// Workers are the processes that could own partitions, also those that own none.
	Workers(ctx context.Context) ([]WorkerStatus, error)
}

// WorkerStatus is a process that owns partitions, or could.
type WorkerStatus struct {
	ID            string
	Host, Version string
	Started       time.Time // zero: not known
	Heard         time.Time // last; zero: it is this process
	Leaving       bool      // it gives away what it has
}

// PartitionStatus is how a partition does at its owner.
type PartitionStatus struct {
	Partition int
	Owner     string // names the process
	State     string // in a word or two
	Moving    bool   // it has an owner, has not failed, and is not at one thing for too long
	Unknown   bool   // the owner has not said how far it is, since it loads, or there is none
	Epoch     uint64
	Position  uint64 // applied in memory
	Stored    uint64 // durable in the store
	Published uint64 // in the snapshots
	Pending   uint64 // messages behind Position, read ones too, as last known
	// Lag is how many events are not applied where the partition's last message is
	// end, and how many of those are an estimate; nil: the owner knows messages alone.
	Lag      func(end uint64) (events, estimated uint64)
	LogTime  int64  // ns, the log's time of Position
	Events   uint64 // applied since the store was made
	Rejected uint64 // refused since the store was made
	Excluded uint64 // of Events, since the owner took the partition: of holders whom the rules exclude
	Trouble  string // what is tried again, or why it failed; empty: nothing
}

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
	Trouble        string     `json:"trouble,omitempty"`
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

// statusBody is the answer of GET /status.
type statusBody struct {
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
}

type statusOutput struct{ Body statusBody }

func (g *Gateway) addStatus(api huma.API) {
	huma.Register(api, huma.Operation{
		OperationID: "status",
		Method:      http.MethodGet,
		Path:        "/status",
		Summary:     "How the partitions do, and who owns them",
		Errors:      []int{http.StatusServiceUnavailable},
	}, func(ctx context.Context, _ *struct{}) (*statusOutput, error) {
		body, err := g.status(ctx)
		if err != nil {
			return nil, g.fail(err, "")
		}
		return &statusOutput{Body: *body}, nil
	})
}

// status asks the owners and the log.
func (g *Gateway) status(ctx context.Context) (*statusBody, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	b := g.pin()
	defer b.unpin()
	var owned []PartitionStatus
	var owners []WorkerStatus
	if b.Owners != nil {
		var err error
		if owned, err = b.Owners.Partitions(ctx); err == nil {
			owners, err = b.Owners.Workers(ctx)
		}
		if err != nil {
			return nil, unavailable("the owners of the partitions", err)
		}
	}
	body := &statusBody{
		Partitions: []partitionRow{}, Workers: []workerRow{},
		Holders: b.Snapshots.Len(), At: timeOf(g.cfg.Now()), Version: g.cfg.Version,
		Watchers: g.hub.count(), Generation: b.Generation, Rules: b.RulesVersion, Prepared: g.Prepared(),
	}
	workers := map[string]int{}
	for _, w := range owners {
		workers[w.ID] = len(body.Workers)
		row := workerRow{ID: w.ID, Partitions: []int{}, Host: w.Host, Version: w.Version, Leaving: w.Leaving}
		if !w.Started.IsZero() {
			row.Started = &w.Started
		}
		if !w.Heard.IsZero() {
			row.Heard = &w.Heard
		}
		body.Workers = append(body.Workers, row)
	}
	standings, err := b.standings(ctx, owned)
	if err != nil {
		return nil, logAway(ctx, err)
	}
	unknown := false // for how long something is behind
	for i := range standings {
		p := &standings[i]
		row := partitionRow{
			Partition: p.Partition, Owner: p.Owner, State: p.State, Moving: p.Moving, Epoch: p.Epoch,
			Position: p.Position, Stored: p.Stored, Published: p.Published, End: p.end,
			Events: p.Events, Rejected: p.Rejected, Excluded: p.Excluded, AppliedThrough: timeOrNone(p.LogTime), Trouble: p.Trouble,
		}
		p.lag(&row, body.At.UnixNano())
		body.Partitions = append(body.Partitions, row)
		body.Events, body.Lag = body.Events+p.Events, body.Lag+row.Lag
		body.LagEvents, body.LagEstimated = body.LagEvents+row.LagEvents, body.LagEstimated+row.LagEstimated
		if s := row.LagSeconds; s == nil {
			unknown = true
		} else if body.LagSeconds == nil || *s > *body.LagSeconds {
			body.LagSeconds = s
		}
		if p.Owner == "" {
			continue
		}
		at, ok := workers[p.Owner]
		if !ok {
			at = len(body.Workers)
			workers[p.Owner] = at
			body.Workers = append(body.Workers, workerRow{ID: p.Owner})
		}
		body.Workers[at].Partitions = append(body.Workers[at].Partitions, p.Partition)
	}
	if s := body.LagSeconds; unknown && s != nil && *s == 0 {
		body.LagSeconds = nil // what is behind is so for nobody knows how long
	}
	return body, nil
}

// knownSeconds is a number for gRPC, where 0 beside a lag and without applied_through
// means that it is not known.
func knownSeconds(s *float64) float64 {
	if s == nil {
		return 0
	}
	return *s
}

// answerStatus answers the gRPC method Status.
func (g *Gateway) answerStatus(ctx context.Context) (*holdpb.StatusAnswer, error) {
	body, err := g.status(ctx)
	if err != nil {
		return nil, err
	}
	out := &holdpb.StatusAnswer{
		Holders: uint64(body.Holders), Events: body.Events, Lag: body.Lag, Watchers: uint64(body.Watchers),
		At: timestampOf(body.At.UnixNano()), Version: body.Version,
		Generation: body.Generation, Rules: body.Rules, Prepared: body.Prepared,
		LagEvents: body.LagEvents, LagEventsEstimated: body.LagEstimated, LagSeconds: knownSeconds(body.LagSeconds),
	}
	for i := range body.Partitions {
		p := &body.Partitions[i]
		state := &holdpb.PartitionState{
			Partition: uint32(p.Partition), Owner: p.Owner, State: p.State, Moving: p.Moving, Epoch: p.Epoch,
			Position: p.Position, Stored: p.Stored, Published: p.Published, End: p.End, Lag: p.Lag,
			Events: p.Events, Rejected: p.Rejected, Excluded: p.Excluded, Trouble: p.Trouble,
			LagEvents: p.LagEvents, LagEventsEstimated: p.LagEstimated, LagSeconds: knownSeconds(p.LagSeconds),
		}
		if p.AppliedThrough != nil {
			state.AppliedThrough = timestampOf(p.AppliedThrough.UnixNano())
		}
		out.Partitions = append(out.Partitions, state)
	}
	for _, w := range body.Workers {
		worker := &holdpb.WorkerState{Id: w.ID, Host: w.Host, Version: w.Version, Leaving: w.Leaving}
		if w.Started != nil {
			worker.Started = timestampOf(w.Started.UnixNano())
		}
		if w.Heard != nil {
			worker.Heard = timestampOf(w.Heard.UnixNano())
		}
		for _, p := range w.Partitions {
			worker.Partitions = append(worker.Partitions, uint32(p))
		}
		out.Workers = append(out.Workers, worker)
	}
	return out, nil
}
