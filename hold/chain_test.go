package hold_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// genChain draws ended holds that follow one another, nearly always.
func genChain(t *rapid.T) []hold.Event {
	weights := append(slices.Clone(someWeights), hold.Weight{1 << 63}, hold.Weight{5, 1}, hold.Weight{1<<64 - 1, 1<<64 - 1}, hold.Weight{0, 0, 7})
	step := rapid.SampledFrom([]int64{1, 3, 1e15}).Draw(t, "step")
	now := int64(1)
	var events []hold.Event
	for range rapid.IntRange(0, 40).Draw(t, "n") {
		start := now + rapid.Int64Range(0, 2).Draw(t, "gap")*step
		end := start + rapid.Int64Range(0, 3).Draw(t, "length")*step
		now = max(end, start+1)
		e := hold.Event{Token: "t", Holder: "h", Start: start, End: end}
		if rapid.Bool().Draw(t, "weighs") {
			e.Weight, e.HasWeight = rapid.SampledFrom(weights).Draw(t, "weight"), true
		}
		switch rapid.IntRange(0, 200).Draw(t, "odd") {
		case 0:
			e.Retract = true
		case 1:
			e.HoldID = "a"
		case 2:
			e.End = 0
		case 3:
			e.Start = 0
		case 4:
			e.End += 2
		}
		if e.Start != 0 || e.End != 0 {
			events = append(events, e)
		}
	}
	return events
}

// TestSettled: a slice of events comes to what a pair comes to that keeps their facts.
func TestSettled(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		policy := genPolicy(t)
		events := rapid.OneOf(rapid.Custom(genChain), rapid.Custom(genSmallEvents), rapid.Custom(genEvents)).Draw(t, "events")
		if rapid.Bool().Draw(t, "ended only") {
			events = slices.DeleteFunc(events, func(e hold.Event) bool { return e.Start == 0 || e.End == 0 || e.Retract || e.HoldID != "" })
			if rapid.Bool().Draw(t, "shuffled") {
				events = rapid.Permutation(events).Draw(t, "order")
			}
		}
		want := pairOf(policy, events).SettledAt(hold.MaxTime)
		if got := hold.Settled(policy, events, rapid.IntRange(-1, 3).Draw(t, "parts"), hold.InOrder); got != want {
			t.Fatalf("settled %v, want %v", got, want)
		}
	})
}

// TestChain: a chain takes what follows, up to the first event that does not, and
// comes to the pair's settled amount; however it is parted, the parts join to the same.
func TestChain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := genChain(t)
		var whole hold.Chain
		n := whole.Extend(events)
		var last, end int64
		for i, e := range events {
			follows := e.HoldID == "" && !e.Retract && e.Start > last && e.Start >= end && e.End >= e.Start
			if follows != (i < n) {
				t.Fatalf("took %d of %+v", n, events)
			}
			if !follows {
				break
			}
			last, end = e.Start, e.End
		}
		if whole.Len() != n {
			t.Fatalf("%d holds, want %d", whole.Len(), n)
		}
		events = events[:n]
		for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
			if got, want := whole.Settled(), pairOf(policy, events).SettledAt(hold.MaxTime); got != want {
				t.Fatalf("%v: settled %v, want %v", policy, got, want)
			}
		}
		cut := rapid.IntRange(0, n).Draw(t, "cut")
		var left, right, again hold.Chain
		left.Extend(events[:cut])
		right.Extend(events[cut:])
		if joined := left; !joined.Join(&right) || joined != whole {
			t.Fatalf("joined at %d: %+v, want %+v", cut, joined, whole)
		}
		if again.Extend(events[:cut]); again.Extend(events[cut:]) != n-cut || again != whole {
			t.Fatalf("extended at %d: %+v, want %+v", cut, again, whole)
		}
		if was := whole; n > 0 && (whole.Join(&was) || whole != was) {
			t.Fatal("a chain was joined to itself")
		}
	})
}

// atOnce is a hold.Each with a goroutine for each part.
func atOnce(n int, f func(i int)) {
	var working sync.WaitGroup
	for i := range n {
		working.Go(func() { f(i) })
	}
	working.Wait()
}

// TestSettledParts: slices that are long enough for several parts, whole and
// broken within a part and where parts meet.
func TestSettledParts(t *testing.T) {
	t.Parallel()
	const n = 5000
	chain := func() []hold.Event {
		events := make([]hold.Event, n)
		for i := range events {
			start := int64(i)*10 + 1
			events[i] = hold.Event{Token: "t", Holder: "h", Start: start, End: start + int64(i%11), Weight: hold.Weight{uint64(i) << 50, uint64(i % 3)}, HasWeight: true}
		}
		return events
	}
	spoil := map[string]func([]hold.Event){
		"whole":              func([]hold.Event) {},
		"a repeat":           func(e []hold.Event) { e[n/2] = e[n/2-1] },
		"an overlap":         func(e []hold.Event) { e[n/2-1].End += 100 },
		"no order":           func(e []hold.Event) { e[10], e[n-10] = e[n-10], e[10] },
		"an open one":        func(e []hold.Event) { e[n/4].End = 0 },
		"a retract":          func(e []hold.Event) { e[n-1] = e[0]; e[n-1].Retract = true },
		"a weight, and none": func(e []hold.Event) { e[n/3] = e[n/3-1]; e[n/3].HasWeight, e[n/3].Weight = false, hold.Weight{} },
	}
	for name, f := range spoil {
		events := chain()
		f(events)
		for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
			want := pairOf(policy, events).SettledAt(hold.MaxTime)
			for parts := 1; parts <= 4; parts++ {
				for way, each := range map[string]hold.Each{"at once": atOnce, "in order": hold.InOrder} {
					if got := hold.Settled(policy, events, parts, each); got != want {
						t.Errorf("%s, %v, %d parts %s: %v, want %v", name, policy, parts, way, got, want)
					}
				}
			}
		}
	}
}

// BenchmarkSettled sums 20,000 events of one pair.
func BenchmarkSettled(b *testing.B) {
	events := make([]hold.Event, 20_000)
	for i := range events {
		start := (int64(i) + 1) * 10 * second
		events[i] = hold.Event{Token: "t", Holder: "h", Start: start, End: start + 5*second, Weight: hold.One, HasWeight: true}
	}
	for _, bench := range []struct {
		name  string
		cores int
		order []hold.Event
	}{
		{"1 core", 1, events}, {"2 cores", 2, events}, {"reversed", 2, reversed(events)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			for b.Loop() {
				hold.Settled(hold.Merge, bench.order, bench.cores, atOnce)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
		})
	}
}

func reversed(events []hold.Event) []hold.Event {
	out := slices.Clone(events)
	slices.Reverse(out)
	return out
}

func ExampleSettled() {
	day := int64(86_400e9)
	events := []hold.Event{
		{Token: "GOLD", Holder: "alice", Start: day, End: 2 * day, Weight: hold.One, HasWeight: true},
		{Token: "GOLD", Holder: "alice", Start: 2 * day, End: 4 * day},
	}
	amount := hold.Settled(hold.Merge, events, 1, hold.InOrder)
	fmt.Println(amount.Score, amount.Held)
	// Output: 259200 259200
}
