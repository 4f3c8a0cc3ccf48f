package generation

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Reach is how far a partition of a generation is, as its worker knows.
type Reach struct {
	Position  uint64 `json:"position"`  // applied in memory
	Stored    uint64 `json:"stored"`    // durable in the store
	Published uint64 `json:"published"` // in the snapshots
	Ended     bool   `json:"ended"`     // all up to the generation's last position is applied
	Events    uint64 `json:"events"`    // applied since the store was made
	Rejected  uint64 `json:"rejected"`  // refused since then
}

// Reached asks the workers how far the partitions of a generation are, by partition;
// nil where one of them does not answer in time.
func Reached(ctx context.Context, conn *nats.Conn, name string, partitions int, within time.Duration) ([]Reach, error) {
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c := Comparison{Conn: conn}
	out, answers := make([]Reach, partitions), make([]*answered, partitions)
	var all sync.WaitGroup
	for p := range out {
		all.Go(func() { answers[p], _ = c.ask(asking, name, p, &question{Ask: askReach}) })
	}
	all.Wait()
	for p, a := range answers {
		if a == nil || a.Reach == nil {
			return nil, ctx.Err()
		}
		out[p] = *a.Reach
	}
	return out, nil
}

// reach answers askReach.
func (g *Instance) reach(partition int) *Reach {
	for _, s := range g.Worker.Status() {
		if s.Partition == partition {
			return &Reach{s.Position, s.Checkpoint, s.Published, s.Done, s.Events, s.Rejected}
		}
	}
	return nil
}
