package generation

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Watermark is how far a partition of a generation is, as its worker knows.
type Watermark struct {
	Position  uint64 `json:"position"`  // applied in memory
	Stored    uint64 `json:"stored"`    // durable in the store
	Published uint64 `json:"published"` // in the snapshots
	Ended     bool   `json:"ended"`     // all up to the generation's last position is applied
	Events    uint64 `json:"events"`    // applied since the store was made
	Rejected  uint64 `json:"rejected"`  // refused since then
}

// AskWatermarks asks the workers how far the partitions of a generation are. It returns
// them by partition, or nil if one of them does not answer in time.
func AskWatermarks(ctx context.Context, conn *nats.Conn, name string, partitions int, within time.Duration) ([]Watermark, error) {
	asking, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	out, answers := make([]Watermark, partitions), make([]*answered, partitions)
	var all sync.WaitGroup
	for p := range out {
		all.Go(func() { answers[p], _ = ask(asking, conn, name, p, &question{Ask: askReach}) })
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

// watermark answers askReach.
func (g *Instance) watermark(partition int) *Watermark {
	for _, s := range g.Worker.Status() {
		if s.Partition == partition {
			return &Watermark{s.Position, s.Checkpoint, s.Published, s.Done, s.Events, s.Rejected}
		}
	}
	return nil
}

// Watermarks are how far a generation is with the whole log: up to these positions it
// has everything.
type Watermarks struct {
	Position, Stored, Published uint64
	End                         uint64 // of the log, or where the generation ends
	Rejected                    uint64
}

// together returns how far the partitions are together. ends are their last positions;
// a partition that has its own counts as being at the end of the log.
func together(all []Watermark, ends []uint64, until uint64) (w Watermarks) {
	w.End = slices.Max(ends)
	if until != 0 {
		w.End = until
	}
	w.Position, w.Stored, w.Published = w.End, w.End, w.End
	for p := range all {
		of := &all[p]
		w.Rejected += of.Rejected
		end := ends[p]
		if of.Ended {
			end = of.Position
		}
		for _, at := range []struct {
			whole *uint64
			here  uint64
		}{{&w.Position, of.Position}, {&w.Stored, of.Stored}, {&w.Published, of.Published}} {
			if at.here < end {
				*at.whole = min(*at.whole, at.here)
			}
		}
	}
	return w
}
