package main

import (
	"math"
	"slices"
)

// line is one line of the table: a value, and what it is measured against.
type line struct {
	name         string
	value        float64
	unit         string
	against      string // empty: nothing
	againstValue float64
	aim          aim
	fsync        bool // behind the value; where the peer differs, against says so
	note         string
	skipped      string // why it was not measured; empty: it was
	void         bool   // what the row demands did not happen (the note says what): no aim is met
}

// ratio is value / againstValue, or not a number where there is no peer.
func (l *line) ratio() float64 {
	if l.against == "" || l.againstValue == 0 {
		return math.NaN()
	}
	return l.value / l.againstValue
}

func (l *line) met() bool { return !l.void && l.skipped == "" && l.aim.met(l.value, l.ratio()) }

// key tells lines of a row apart.
func (l *line) key() string { return l.name + "\x00" + l.against }

// medians gives each line of several repetitions once: that of the repetition
// whose ratio (or value, without a peer) is the median, the lower one of two.
// Value and peer so are of the same moment. Lines keep the order of the first
// repetition that has them.
func medians(repetitions [][]line) []line {
	var order []string
	byKey := map[string][]line{}
	for _, lines := range repetitions {
		for _, l := range lines {
			if byKey[l.key()] == nil {
				order = append(order, l.key())
			}
			byKey[l.key()] = append(byKey[l.key()], l)
		}
	}
	out := make([]line, 0, len(order))
	for _, k := range order {
		all := byKey[k]
		slices.SortStableFunc(all, func(a, b line) int { return compare(a.rank(), b.rank()) })
		out = append(out, all[(len(all)-1)/2])
	}
	return out
}

func (l *line) rank() float64 {
	if r := l.ratio(); !math.IsNaN(r) {
		return r
	}
	return l.value
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
