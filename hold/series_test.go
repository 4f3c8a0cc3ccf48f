package hold_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/hold"
)

// A series of pairs has, at each instant, the sum of their figures as of it.
func TestSeries(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		times := genTime(t)
		var at []int64
		for range rapid.IntRange(1, 12).Draw(t, "instants") {
			at = append(at, times.Draw(t, "instant"))
		}
		random := drawn(t)
		for range random(20) {
			at = append(at, random(60))
		}
		slices.Sort(at)
		series, want := hold.NewSeries(at), make([]hold.SeriesPoint, len(at))
		for range rapid.IntRange(1, 4).Draw(t, "pairs") {
			r := genRule(t)
			events := genEvents(t)
			if random(4) == 0 {
				scenario := largeScenarios[random(int64(len(largeScenarios)))]
				events = scenario.events(int(70+random(60)), seeded(uint64(random(1<<30))))
			}
			p := pairOf(r.Policy, events)
			readings := 0
			if !series.Add(r, p, func(int) bool { readings++; return true }) || readings > len(at) {
				t.Fatalf("%d readings for %d instants", readings, len(at))
			}
			for i, t := range at {
				line, w := r.Figures(p, t).Line, &want[i]
				w.Live, w.Settled = w.Live.Add(line.Base), w.Settled.Add(r.SettledAt(p, t))
				w.Rate, w.Weight = w.Rate.Add(line.Rate), w.Weight.Add(p.Figures(t).Line.Rate)
			}
		}
		for i, got := range series.Points() {
			if got != want[i] {
				t.Fatalf("as of %d: %+v, want %+v", at[i], got, want[i])
			}
		}
	})
}

// A pair costs readings by what changes, not by the instants, and a series can be
// given up.
func TestSeriesReadings(t *testing.T) {
	t.Parallel()
	at := make([]int64, 1000)
	for i := range at {
		at[i] = int64(i+1) * 1e9
	}
	p := pairOf(hold.Merge, []hold.Event{{Start: 5e9, End: 300e9, Weight: one, HasWeight: true}, {Start: 400e9, Weight: one, HasWeight: true}})
	readings := 0
	count := func(int) bool { readings++; return readings < 100 }
	if s := hold.NewSeries(at); !s.Add(hold.PlainRule(hold.Merge), p, count) || readings != 4 {
		t.Errorf("%d readings, want 4: before, in and behind the first hold, and in the second one", readings)
	}
	if s := hold.NewSeries(at); s.Add(hold.PlainRule(hold.Merge), p, func(int) bool { return false }) {
		t.Error("it was not given up")
	}
}
