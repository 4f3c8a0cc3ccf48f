package hold_test

import (
	"fmt"
	"slices"

	"holdmetrics/hold"
)

// sampleTimes gives every end of a hold and the nanoseconds beside it, thinned to
// about n, and a few others.
func sampleTimes(s *modelState, n int, random func(int64) int64) []int64 {
	times := []int64{1, hold.MaxTime + 1}
	for _, e := range s.ends() {
		times = append(times, e-1, e, e+1)
	}
	for range 4 {
		times = append(times, 1+random(20), 1+random(hold.MaxTime))
	}
	for len(times) > n {
		i := int(random(int64(len(times))))
		times = slices.Delete(times, i, i+1)
	}
	times = slices.DeleteFunc(times, func(t int64) bool { return t < 1 })
	slices.Sort(times)
	return slices.Compact(times)
}

// fataler is what rapid and testing have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// requireSame compares the package's pair with the model: holds, what waits, and
// the figures at the times.
func requireSame(t fataler, p *hold.Pair, s *modelState, times []int64) {
	t.Helper()
	v := realView{p}
	if got := v.holds(); !slices.Equal(got, s.holds) {
		t.Fatalf("holds:\n%s\nwant:\n%s\n%s", listHolds(got), listHolds(s.holds), firstDifference(got, s.holds))
	}
	if got := p.Waiting(); got != s.waiting {
		t.Fatalf("waiting: %d, want %d", got, s.waiting)
	}
	if got, want := v.settled(), s.settled(); !got.equal(want) {
		t.Fatalf("settled: %v, want %v", got, want)
	}
	breaks := s.breaks()
	live := map[int64]modelAmount{}
	for _, at := range times {
		live[at] = s.live(at)
		if got := v.live(at); !got.equal(live[at]) {
			t.Fatalf("live at %d: %v, want %v", at, got, live[at])
		}
		if got, want := v.settledAt(at), s.settledAt(at); !got.equal(want) {
			t.Fatalf("settled at %d: %v, want %v", at, got, want)
		}
	}
	for _, at := range times {
		requireLine(t, p.Figures(at).Line, at, s, breaks, live)
	}
}

// requireLine: "Between events a live score is a straight line: base + rate x (T -
// since). A snapshot carries base, rate, since and until, the first instant at
// which the line may break; nobody extrapolates past it."
func requireLine(t fataler, l hold.Line, at int64, s *modelState, breaks []int64, live map[int64]modelAmount) {
	t.Helper()
	if l.Since > at || l.Until != 0 && at >= l.Until {
		t.Fatalf("the line for %d holds in [%d, %d)", at, l.Since, l.Until)
	}
	for T, want := range live {
		if !l.Holds(T) {
			continue
		}
		if got := amountOf(l.At(T)); !got.equal(want) {
			t.Fatalf("the line for %d, of [%d, %d), gives at %d: %v, want %v", at, l.Since, l.Until, T, got, want)
		}
	}
	for _, b := range breaks {
		if b > l.Since && (l.Until == 0 || b < l.Until) {
			t.Fatalf("the line for %d, of [%d, %d), breaks at %d", at, l.Since, l.Until, b)
		}
	}
	weight, held := s.slope(at)
	if got := scaled(l.Rate[:], 1_000_000); got.Cmp(weight) != 0 || held != (l.HeldRate == 1) || l.HeldRate > 1 {
		t.Fatalf("the line for %d has rate %v and held rate %d, want %v and %v", at, got, l.HeldRate, weight, held)
	}
	// A bound that nothing explains would make readers ask again for nothing.
	if l.Until != 0 && !slices.Contains(s.ends(), l.Until) {
		t.Fatalf("the line for %d is until %d, where no hold begins or ends", at, l.Until)
	}
}

func listHolds(holds []modelHold) string {
	if len(holds) > 50 {
		return fmt.Sprintf("%d holds", len(holds))
	}
	var s string
	for _, h := range holds {
		s += fmt.Sprintf("  %d..%d w=%s id=%q\n", h.start, h.end, h.weight.String(), h.id)
	}
	return s
}

func firstDifference(got, want []modelHold) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("first difference at %d:\n%s want\n%s", i, listHolds(got[min(i, len(got)):min(i+3, len(got))]), listHolds(want[min(i, len(want)):min(i+3, len(want))]))
		}
	}
	return ""
}
