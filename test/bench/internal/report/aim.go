// Package report is the table that the bench prints: its lines with their peers and
// aims, the median of repetitions, and the same as JSON.
package report

import (
	"math"
	"strings"
)

// Bound is one number that an aim names.
type Bound struct {
	ofRatio bool // else of the value
	most    bool // else at least
	number  float64
}

// Aim is what a line of the table should reach: every bound of it.
type Aim []Bound

// RatioAtLeast requires value / peer >= x.
func RatioAtLeast(x float64) Bound { return Bound{ofRatio: true, number: x} }

// RatioAtMost requires value / peer <= x.
func RatioAtMost(x float64) Bound { return Bound{ofRatio: true, most: true, number: x} }

// AtLeast requires value >= x, in the unit of the line.
func AtLeast(x float64) Bound { return Bound{number: x} }

// AtMost requires value <= x, in the unit of the line.
func AtMost(x float64) Bound { return Bound{most: true, number: x} }

// met reports whether every bound holds. NaN meets nothing.
func (a Aim) met(value, ratio float64) bool {
	for _, b := range a {
		x := value
		if b.ofRatio {
			x = ratio
		}
		if math.IsNaN(x) || b.most && x > b.number || !b.most && x < b.number {
			return false
		}
	}
	return true
}

// describe returns the aim in words, for a value of that unit.
func (a Aim) describe(unit string) string {
	parts := make([]string, len(a))
	for i, b := range a {
		sign := ">= "
		if b.most {
			sign = "<= "
		}
		if b.ofRatio {
			parts[i] = sign + Number(b.number) + "x"
		} else {
			parts[i] = sign + Number(b.number) + " " + unit
		}
	}
	return strings.Join(parts, " and ")
}
