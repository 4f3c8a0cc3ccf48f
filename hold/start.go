package hold

import "holdmetrics/hold/internal/interval"

// This file decides what the hold facts without hold_id of one start come to: rules
// S4.1 to S4.4. All representations of a pair ask it.
//
// Rule S4.2, and the part of S4.3 about facts without a weight, matter only where
// some facts of a start state a weight and some do not: then the start is mixed. In
// any other start only facts of one weight meet, and what the facts of a weight come
// to is simple: each ended one is a hold, and the open one stays open unless there
// is an ended one (stays).

// verdict is what a fact comes to.
type verdict uint8

const (
	noHold    verdict = iota
	endedHold         // a hold as the fact states it
	openHold          // an open hold, which only a stop can end
)

// stays reports whether the open fact of a weight is an open hold, given whether it
// and any ended fact of its start and weight are sent and not retracted.
func stays(open, ended bool) bool { return open && !ended }

// foldStart sets the verdict of each fact of one start, and returns the holds that
// arise besides: those of ended facts without weight that close open facts with one.
// The group is in the order of keys; derived entries in it are ignored. It may leave
// out facts that cannot meet the others.
func foldStart(group []interval.Entry, verdicts []verdict) (derived []interval.Entry) {
	counts := func(e *interval.Entry) bool { return e.Kind == interval.EntryFact && e.Active() } // S4.1
	var opens []interval.Weight                                                                  // of the open facts that state one
	weighedEnded, bareEnded := false, false
	for i := range group {
		e := &group[i]
		switch has := e.Is(interval.HasWeight); {
		case !counts(e):
		case has && e.End == 0:
			opens = append(opens, e.Weight)
		case has:
			weighedEnded = true
		case e.End != 0:
			bareEnded = true
		}
	}
	closesAll := false // an ended fact without weight is left
	if bareEnded {
		ends := map[int64]bool{}
		for i := range group {
			if e := &group[i]; counts(e) && e.End != 0 && e.Is(interval.HasWeight) {
				ends[e.End] = true
			}
		}
		for i := range group {
			e := &group[i]
			if !counts(e) || e.End == 0 || e.Is(interval.HasWeight) || ends[e.End] { // S4.2
				continue
			}
			closesAll = true
			if len(opens) == 0 {
				verdicts[i] = endedHold
			}
			for _, w := range opens { // S4.3
				derived = append(derived, interval.Entry{
					At: e.At, End: e.End, Weight: w, Kind: interval.EntryDerived, Flags: interval.HasWeight,
				})
			}
		}
	}
	for i := range group {
		e := &group[i]
		switch has := e.Is(interval.HasWeight); {
		case !counts(e):
		case has && e.End != 0:
			verdicts[i] = endedHold
		case e.End != 0:
		case has && !closesAll && stays(true, anyEnded(group[i+1:], &e.Weight)),
			!has && len(opens) == 0 && stays(true, weighedEnded || closesAll): // S4.2, S4.3
			verdicts[i] = openHold
		}
	}
	return derived
}

// anyEnded reports whether an ended fact of that weight counts, among the entries
// that follow the open fact of the weight.
func anyEnded(behind []interval.Entry, w *interval.Weight) bool {
	for i := range behind {
		e := &behind[i]
		if e.Kind != interval.EntryFact || e.Weight != *w {
			return false
		}
		if e.Active() && e.End != 0 {
			return true
		}
	}
	return false
}

// foldWeight folds the rows of one start and weight, the first of which is at i, and
// returns the index behind them. No start of rows is mixed.
func (f *fold) foldWeight(list []row, i int) (next int) {
	at, content, opened, closed := list[i].at, list[i].what&rowContent, -1, false
	for ; i < len(list) && list[i].at == at && list[i].what&rowContent == content; i++ {
		switch r := &list[i]; {
		case r.waits():
			f.waiting++
		case !r.active(): // S4.1
		case r.end == 0:
			opened = i
		default:
			closed = true
			f.holds |= 1 << i
		}
	}
	if stays(opened >= 0, closed) {
		f.holds |= 1 << opened
		f.loose |= 1 << opened
		f.open[f.depth] = uint8(opened)
		f.depth++
	}
	return i
}
