package gateway

import (
	"slices"

	"holdmetrics/projection"
)

// lineage says of a generation what came after it. It is what a watcher keeps while
// it is between two: it has none of the snapshots, so that somebody who rests for an
// hour holds no view in memory.
type lineage struct {
	left chan struct{} // closed when the generation was left; what follows is valid from then on
	next *lineage
	// lost is what became last of each holder that the view had known, and that the
	// next one did not have; without values. point is of the next view, from before
	// it was asked: what went from there after it, its own history tells.
	lost  []projection.Change
	point uint64
}

func newLineage() *lineage { return &lineage{left: make(chan struct{})} }

// end says that old, which changes no more, was left for next, and wakes who watches.
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

// over says whether the generation was left.
func (l *lineage) over() bool {
	select {
	case <-l.left:
		return true
	default:
		return false
	}
}
