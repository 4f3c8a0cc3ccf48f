package gateway

import (
	"slices"

	"holdmetrics/projection"
)

// lineage links a generation to the one that came after it. A watcher keeps it while it
// is between two. It has no snapshots, so a watcher that rests for an hour holds no view
// in memory.
type lineage struct {
	left chan struct{} // closed when the generation was left; the rest is valid from then on
	next *lineage
	// lost is the last change of each holder that this view had known and the next one
	// lacks, without values. point is a point of the next view, taken before it was
	// looked at: what the next view has lost after it is in that view's own history.
	lost  []projection.Change
	point uint64
}

func newLineage() *lineage { return &lineage{left: make(chan struct{})} }

// end records that old, which changes no more, was left for next, and wakes watchers.
func (l *lineage) end(old, next *backend) {
	l.next, l.point = next.lineage, next.Snapshots.Last()
	var changes []projection.Change
	for after, to := uint64(0), uint64(0); ; after = to {
		changes, to = old.Snapshots.AppendChanges(changes[:0], after, positionsChunk)
		if to == after {
			break
		}
		for _, c := range changes {
			if _, has := next.Snapshots.Lookup(c.Key); !has {
				c.Value = nil
				l.lost = append(l.lost, c)
			}
		}
	}
	l.lost = slices.Clip(l.lost)
	close(l.left)
}

// over reports whether the generation was left.
func (l *lineage) over() bool {
	select {
	case <-l.left:
		return true
	default:
		return false
	}
}
