package query

import (
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// Snapshot is a snapshot as it is answered: with the live figures of now.
type Snapshot struct {
	Value   []byte // as it was published
	Live    hold.Amount
	At      int64
	Applied int64 // 0: not known
}

// readAt reads a snapshot at an instant. Its applied time is that of the
// snapshot itself: its partition was applied up to its last event.
func readAt(value []byte, now int64) (Snapshot, error) {
	s, err := projection.ReadSnapshot(value)
	if err != nil {
		return Snapshot{}, err
	}
	out := Snapshot{Value: value, Applied: s.UpdatedAt}
	out.Live, out.At = s.At(now)
	return out, nil
}

// ReadChange is readAt of a change. What the snapshots of its partition have
// reached is said of it where it is its holder's current one still: else the next
// one may say more.
func (b *Generation) ReadChange(c *projection.Change, now int64) (Snapshot, error) {
	s, err := readAt(c.Value, now)
	if err != nil {
		return s, err
	}
	holder, err := ingest.HolderOf(c.Key)
	if err != nil {
		return s, err
	}
	at := b.reached(b.S.partitionsOf(holder)[0]).LogTime // before the look
	if current, ok := b.Snapshots.Lookup(c.Key); ok && current.Number == c.Number {
		s.Applied = max(s.Applied, at)
	}
	return s, nil
}

// reachedTimes are the log's times that the snapshots of each partition are at.
func (b *Generation) reachedTimes() []int64 {
	times := make([]int64, b.S.cfg.Log.Partitions())
	for p := range times {
		times[p] = b.reached(p).LogTime
	}
	return times
}

func (b *Generation) reached(partition int) projection.Reached {
	return b.Snapshots.Reached(partition)
}
