package query

import (
	"slices"

	"holdmetrics/projection"
)

// Lineage links a generation to the one that came after it. A watcher keeps it while it
// is between two. It has no snapshots, so a watcher that rests for an hour holds no view
// in memory.
type Lineage struct {
	Left chan struct{} // closed when the generation was left; the rest is valid from then on
	Next *Lineage
	// Lost is the last change of each holder that this view had known and the next one
	// lacks, without values. point is a point of the next view, taken before it was
	// looked at: what the next view has lost after it is in that view's own history.
	Lost  []projection.Change
	Point uint64
}

func newLineage() *Lineage { return &Lineage{Left: make(chan struct{})} }

// End records that old, which changes no more, was left for next, and wakes watchers.
func (l *Lineage) End(old, next *Generation) {
	l.Next, l.Point = next.Lineage, next.Snapshots.Last()
	var changes []projection.Change
	for after, to := uint64(0), uint64(0); ; after = to {
		changes, to = old.Snapshots.AppendChanges(changes[:0], after, positionsChunk)
		if to == after {
			break
		}
		for _, c := range changes {
			if _, has := next.Snapshots.Lookup(c.Key); !has {
				c.Value = nil
				l.Lost = append(l.Lost, c)
			}
		}
	}
	l.Lost = slices.Clip(l.Lost)
	close(l.Left)
}

// Over reports whether the generation was left.
func (l *Lineage) Over() bool {
	select {
	case <-l.Left:
		return true
	default:
		return false
	}
}
