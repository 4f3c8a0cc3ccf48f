package query

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"holdmetrics/ingest"
)

// checkpointWait bounds how long status waits for a store that may be away.
const checkpointWait = time.Second

// standing is how a partition does, by its owner or, where that has not said how far
// it is, by the snapshots, the store and the log.
type standing struct {
	PartitionStatus
	end    uint64
	behind ingest.Behind // by the log's own count; zero: it was not asked
}

// standings asks about all partitions at once.
func (b *Generation) standings(ctx context.Context, owned []PartitionStatus) ([]standing, error) {
	out := make([]standing, len(owned))
	group, ctx := errgroup.WithContext(ctx)
	for i := range owned {
		s := &out[i]
		s.PartitionStatus = owned[i]
		group.Go(func() (err error) {
			if s.end, err = b.end(ctx, s.Partition); err != nil {
				return err
			}
			if s.Unknown {
				b.look(ctx, &s.PartitionStatus)
			}
			// What an owner that goes on says is a moment old. Of one that does not, the
			// log's client may have stood still for as long, with its count.
			if s.Position >= s.end || !s.Unknown && s.Moving && s.LastError == "" && s.LogTime != 0 {
				return nil
			}
			partition := s.Partition
			if b.wholeLog() {
				partition = ingest.Everywhere
			}
			s.behind, err = b.S.cfg.Log.Behind(ctx, partition, s.Position)
			return err
		})
	}
	return out, group.Wait()
}

// look fills in what is known of a partition whose owner says nothing: what the
// snapshots have and, if it answers soon, the store.
func (b *Generation) look(ctx context.Context, p *PartitionStatus) {
	r := b.reached(p.Partition)
	p.Published = max(p.Published, r.Position)
	if r.Position > p.Position {
		p.Position, p.LogTime = r.Position, r.LogTime
	}
	ctx, cancel := context.WithTimeout(ctx, checkpointWait)
	defer cancel()
	c, found, err := b.Reader.Checkpoint(ctx, p.Partition)
	if err != nil || !found {
		return
	}
	p.Stored, p.Epoch = max(p.Stored, c.Position), max(p.Epoch, c.Epoch)
	p.Events, p.Rejected = max(p.Events, c.Events), max(p.Rejected, c.Rejected)
	if c.Position >= p.Position {
		p.Position, p.LogTime = c.Position, c.LogTime
	}
}

// lag fills in how far a partition is behind the end of the log.
func (s *standing) lag(row *partitionState, now int64) {
	none := 0.0
	if s.Position >= s.end {
		row.LagSeconds = &none
		return
	}
	// What the owner last heard may be old, but the end of the log is not.
	row.Behind = max(s.Pending, 1)
	row.LagEvents, row.LagEstimated = row.Behind, row.Behind // an event a message, at least
	if s.Lag != nil && !s.Unknown {
		row.LagEvents, row.LagEstimated = s.Lag(s.end)
	}
	since := s.LogTime
	if s.behind.Messages > 0 {
		row.Behind = s.behind.Messages
		if row.LagEstimated > 0 { // else the owner has read and counted all of them
			row.LagEvents, row.LagEstimated = s.behind.Events, s.behind.Estimated
		}
		if since == 0 {
			since = s.behind.First
		}
	}
	if since > 0 {
		seconds := max(0, float64(now-since)/1e9)
		row.LagSeconds = &seconds
	}
}
