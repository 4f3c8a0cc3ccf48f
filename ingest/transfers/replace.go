package transfers

import (
	"context"
	"fmt"
	"iter"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
)

// Replace reads the rows of a branch of a chain that was abandoned, with the ledger
// old, and those of the branch that took its place, with l, and yields the events
// that make what was imported of the one into what is to be imported of the other:
// the events that only the new branch has, and the retracts of those that only the
// old one had. What both have is left alone. Both ledgers begin with the same
// opening balances, those before the first row in which the branches differ.
//
// The new branch has to reach the time of the old one's last row, else the error
// matches ErrBranch: later rows could come to the very event that was retracted here,
// and the same content retracted and sent again stays retracted. For the same reason the new
// branch may say nothing that was retracted by an earlier reorganisation, as a chain
// does that goes back to a branch which it had abandoned, and a third branch whose
// block of the same time has one of the transfers of the first: then the error matches
// ErrRetracted, and it takes events with hold ids and revisions. What was retracted is
// kept beside the last of files ([RetractedName]), and read of abandoned.
//
// Nothing is yielded before all files were read, but an error, so half a branch
// changes nothing. It keeps the events of both branches in memory.
func (l *Ledger) Replace(ctx context.Context, old *Ledger, abandoned, files []string) iter.Seq2[rows.Event, error] {
	return func(yield func(rows.Event, error) bool) {
		earlier, err := loadRetracted(abandoned)
		if err != nil {
			yield(rows.Event{}, err)
			return
		}
		gone := map[hold.Draft]bool{}
		var before, after []rows.Event // after: that the old branch does not have
		for e, err := range old.Events(ctx, abandoned...) {
			if err != nil {
				yield(rows.Event{}, err)
				return
			}
			if !gone[e.Draft] {
				gone[e.Draft] = true
				before = append(before, e)
			}
		}
		for e, err := range l.Events(ctx, files...) {
			if err != nil {
				yield(rows.Event{}, err)
				return
			}
			if gone[e.Draft] {
				gone[e.Draft] = false
			} else {
				after = append(after, e)
			}
		}
		if l.at < old.at {
			yield(rows.Event{}, fmt.Errorf("%w: it ends at %s, and the one that it replaces at %s", ErrBranch, l.opt.when(l.at), l.opt.when(old.at)))
			return
		}
		if err := earlier.follow(before, after, gone, files[len(files)-1]); err != nil {
			yield(rows.Event{}, err)
			return
		}
		for i := range before {
			e := before[i]
			if !gone[e.Draft] {
				continue
			}
			e.Draft.Retract = true
			if !yield(e, nil) {
				return
			}
		}
		for i := range after {
			if !yield(after[i], nil) {
				return
			}
		}
	}
}
