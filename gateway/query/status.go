package query

import (
	"context"
	"strconv"
	"time"

	"holdmetrics/gateway/auth"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest"
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
	Lag       func(end uint64) (events, estimated uint64)
	LogTime   int64  // ns, the log's time of Position
	Events    uint64 // applied since the store was made
	Rejected  uint64 // refused since the store was made
	Excluded  uint64 // of Events, since the owner took the partition: of holders whom the rules exclude
	LastError string // what is tried again, or why it failed; empty: nothing
}

// partitionState is how a partition does, and how far it is behind the log.
type partitionState struct {
	PartitionStatus
	End          uint64   // last position of the partition in the log
	Behind       uint64   // messages of the log that are not applied
	LagEvents    uint64   // events of the log that are not applied
	LagEstimated uint64   // how many of LagEvents are an estimate
	LagSeconds   *float64 // age of what is applied; nil: not known
}

// workerState is a process that owns partitions, or could.
type workerState struct {
	WorkerStatus
	Partitions []int
}

// Status is how the whole system does.
type Status struct {
	Partitions   []partitionState
	Workers      []workerState
	Holders      int    // with a snapshot
	Events       uint64 // applied, of all partitions
	Lag          uint64 // messages of the log that are not applied
	LagEvents    uint64
	LagEstimated uint64
	LagSeconds   *float64 // of the partition that is furthest behind; nil: not known
	At           int64    // unix nanoseconds
	Generation   string   // that answers
	Rules        string   // version of its rules
	// HolderIDs and TokenIDs are how its rules normalise ids, as [rules.Rules.Normalisation]
	// has it.
	HolderIDs, TokenIDs string

	// Lost are positions of the log whose messages are lost by an operator's decision.
	Lost []ingest.Lost

	// What the gateway adds.
	DeadLetters *ingest.DeadLetterUsage // nil: not known
	Refused     error                   // why no event is taken now; nil: events are taken
	Watchers    int64
	Version     string
	Prepared    string // generation that is loaded beside the active one
}

// Lost returns the positions of the log whose messages are lost by an operator's decision.
func (s *Service) Lost() []ingest.Lost {
	if log, ok := s.cfg.Log.(interface{ LostPositions() []ingest.Lost }); ok {
		return log.LostPositions()
	}
	return nil
}

// LostHeader is the header of answers that has how many messages of the log are lost by an
// operator's decision, of HTTP and, in lower case, of gRPC. It is absent if none are.
const LostHeader = "Holdmetrics-Lost"

// LostText returns the value of [LostHeader], or "".
func (s *Service) LostText() string {
	lost := uint64(0)
	for _, l := range s.Lost() {
		lost += l.Last - l.First + 1 - l.Restored
	}
	if lost == 0 {
		return ""
	}
	return strconv.FormatUint(lost, 10)
}

// Status asks the owners and the log.
func (s *Service) Status(ctx context.Context) (*Status, error) {
	if err := auth.CallerOf(ctx).MayReadAll("the status"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	b := s.Pin()
	defer b.Unpin()
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
	body := &Status{Holders: b.Snapshots.Len(), At: s.Now(), Generation: b.Generation, Rules: b.RulesVersion, Lost: s.Lost()}
	if r, ok := b.Rules.(*rules.Rules); ok {
		body.HolderIDs, body.TokenIDs = r.Normalisation()
	}
	workers := map[string]int{}
	for _, w := range owners {
		workers[w.ID] = len(body.Workers)
		body.Workers = append(body.Workers, workerState{WorkerStatus: w})
	}
	standings, err := b.standings(ctx, owned)
	if err != nil {
		return nil, logAway(ctx, err)
	}
	unknown := false // for how long something is behind
	for i := range standings {
		p := &standings[i]
		row := partitionState{PartitionStatus: p.PartitionStatus, End: p.end}
		p.lag(&row, body.At)
		body.Partitions = append(body.Partitions, row)
		body.Events, body.Lag = body.Events+p.Events, body.Lag+row.Behind
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
			body.Workers = append(body.Workers, workerState{WorkerStatus: WorkerStatus{ID: p.Owner}})
		}
		body.Workers[at].Partitions = append(body.Workers[at].Partitions, p.Partition)
	}
	if s := body.LagSeconds; unknown && s != nil && *s == 0 {
		body.LagSeconds = nil // what is behind is so for nobody knows how long
	}
	return body, nil
}
