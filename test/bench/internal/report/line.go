package report

import (
	"math"
	"slices"
)

// Line is one line of the table: a value, and what it is measured against.
type Line struct {
	Name         string
	Value        float64
	Unit         string
	Against      string // empty: nothing
	AgainstValue float64
	Aim          Aim
	Fsync        bool    // behind the value; where the peer differs, against says so
	Peak         int     // bytes, the largest resident set of all processes of the row; 0: not known
	Repetitions  int     // how many the line is the median of; 0: it is one measurement
	Least, Most  float64 // of all repetitions, in what the median goes by: ratios, or values without a peer
	Note         string
	Skipped      string // why it was not measured; empty: it was
	Void         bool   // what the row demands did not happen (the note says what): no aim is met
}

// ratio is value / againstValue, or not a number where there is no peer.
func (l *Line) ratio() float64 {
	if l.Against == "" || l.AgainstValue == 0 {
		return math.NaN()
	}
	return l.Value / l.AgainstValue
}

func (l *Line) met() bool { return !l.Void && l.Skipped == "" && l.Aim.met(l.Value, l.ratio()) }

// key tells lines of a row apart.
func (l *Line) key() string { return l.Name + "\x00" + l.Against }

// Medians gives each line of several repetitions once: that of the repetition
// whose ratio (or value, without a peer) is the median, the lower one of two.
// Value and peer so are of the same moment. Lines keep the order of the first
// repetition that has them.
func Medians(repetitions [][]Line) []Line {
	var order []string
	byKey := map[string][]Line{}
	for _, lines := range repetitions {
		for _, l := range lines {
			if byKey[l.key()] == nil {
				order = append(order, l.key())
			}
			byKey[l.key()] = append(byKey[l.key()], l)
		}
	}
	out := make([]Line, 0, len(order))
	for _, k := range order {
		all := byKey[k]
		slices.SortStableFunc(all, func(a, b Line) int { return compare(a.rank(), b.rank()) })
		median := all[(len(all)-1)/2]
		median.Repetitions, median.Least, median.Most = len(all), all[0].rank(), all[len(all)-1].rank()
		out = append(out, median)
	}
	return out
}

// rank is what repetitions are compared by: the ratio, or the value without a peer.
func (l *Line) rank() float64 {
	if r := l.ratio(); !math.IsNaN(r) {
		return r
	}
	return l.Value
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
