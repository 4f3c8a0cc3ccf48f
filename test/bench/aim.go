package main

import (
	"math"
	"strings"
)

// bound is one number that an aim names.
type bound struct {
	ofRatio bool // else of the value
	most    bool // else at least
	number  float64
}

// aim is what a line of the table should reach: every bound of it.
type aim []bound

func ratioAtLeast(x float64) bound { return bound{ofRatio: true, number: x} }
func ratioAtMost(x float64) bound  { return bound{ofRatio: true, most: true, number: x} }
func atLeast(x float64) bound      { return bound{number: x} }
func atMost(x float64) bound       { return bound{most: true, number: x} }

// met reports whether every bound holds. A figure that is no number meets nothing.
func (a aim) met(value, ratio float64) bool {
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

// describe is the aim in words, for a value of that unit.
func (a aim) describe(unit string) string {
	parts := make([]string, len(a))
	for i, b := range a {
		sign := ">= "
		if b.most {
			sign = "<= "
		}
		if b.ofRatio {
			parts[i] = sign + number(b.number) + "x"
		} else {
			parts[i] = sign + number(b.number) + " " + unit
		}
	}
	return strings.Join(parts, " and ")
}
