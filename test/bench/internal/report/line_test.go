package report

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAim(t *testing.T) {
	t.Parallel()
	both := Aim{RatioAtLeast(0.5), AtLeast(5e6)}
	for name, c := range map[string]struct {
		aim          Aim
		value, ratio float64
		met          bool
	}{
		"both hold":             {both, 6e6, 0.6, true},
		"exactly":               {both, 5e6, 0.5, true},
		"only the ratio":        {both, 4e6, 0.6, false},
		"only the value":        {both, 6e6, 0.4, false},
		"at most":               {Aim{AtMost(10)}, 9, math.NaN(), true},
		"too much":              {Aim{AtMost(10)}, 11, math.NaN(), false},
		"ratio at most":         {Aim{RatioAtMost(3)}, 100, 2.9, true},
		"a ratio of nothing":    {Aim{RatioAtLeast(0.1)}, 100, math.NaN(), false},
		"no aim is always met":  {nil, 1, math.NaN(), true},
		"a value that is none":  {Aim{AtMost(10)}, math.NaN(), 1, false},
		"endless is too much":   {Aim{AtMost(10)}, math.Inf(1), 1, false},
		"ratio at most, beyond": {Aim{RatioAtMost(3), AtMost(10)}, 9, 3.1, false},
	} {
		if got := c.aim.met(c.value, c.ratio); got != c.met {
			t.Errorf("%s: met is %v", name, got)
		}
	}
	if got, want := both.describe("events/s"), ">= 0.5x and >= 5,000,000 events/s"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
}

// A line whose row did not get to what it demands meets nothing.
func TestVoid(t *testing.T) {
	t.Parallel()
	l := Line{Value: 1, Aim: Aim{AtMost(10)}}
	if !l.met() {
		t.Error("it is not met")
	}
	l.Void = true
	if l.met() {
		t.Error("it is met although void")
	}
}

// named makes a line whose ratio is value / 10 where it has a peer.
func named(name string, value float64, against string) Line {
	return Line{Name: name, Value: value, Against: against, AgainstValue: 10}
}

func TestMedians(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		in   [][]Line
		want []float64 // values
	}{
		"nothing":      {nil, nil},
		"one":          {[][]Line{{named("a", 3, "x")}}, []float64{3}},
		"two: lower":   {[][]Line{{named("a", 5, "x")}, {named("a", 3, "x")}}, []float64{3}},
		"three":        {[][]Line{{named("a", 5, "x")}, {named("a", 1, "x")}, {named("a", 3, "x")}}, []float64{3}},
		"order stays":  {[][]Line{{named("b", 5, "x"), named("a", 9, "x")}, {named("b", 6, "x"), named("a", 1, "x")}, {named("b", 7, "x"), named("a", 2, "x")}}, []float64{6, 2}},
		"by peer":      {[][]Line{{named("a", 1, "x"), named("a", 2, "y")}}, []float64{1, 2}},
		"without peer": {[][]Line{{named("a", 5, "")}, {named("a", 1, "")}, {named("a", 3, "")}}, []float64{3}},
		"some missing": {[][]Line{{named("a", 5, "x")}, {named("b", 1, "x")}}, []float64{5, 1}},
	} {
		var got []float64
		for _, l := range Medians(c.in) {
			got = append(got, l.Value)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The median goes by the ratio, and its value and peer belong together.
func TestMedianGoesByRatio(t *testing.T) {
	t.Parallel()
	lines := [][]Line{
		{{Name: "a", Value: 100, Against: "x", AgainstValue: 100}},
		{{Name: "a", Value: 10, Against: "x", AgainstValue: 5}},
		{{Name: "a", Value: 50, Against: "x", AgainstValue: 1}},
	}
	got := Medians(lines)
	if len(got) != 1 || got[0].Value != 10 || got[0].AgainstValue != 5 {
		t.Errorf("the median is %+v", got)
	}
}
