package hold_test

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"holdmetrics/hold"
)

var long = flag.Bool("long", false, "long histories of full length, for minutes")

// size is how long a history is in every run.
type size uint8

const (
	usual   size = iota
	deep         // several levels of the tree, since the model is quick at it
	chained      // shorter: an event moves the ends of many holds, so the cost is the square
)

// most returns the length of histories of a size.
func (s size) most(usually, deeply, least int) int {
	switch {
	case *long:
		return max(usually, deeply, 4000)
	case s == deep:
		return deeply
	case s == chained:
		return least
	}
	return usually
}

// largeScenarios are histories of thousands of events, long enough that the
// package's tree grows, splits and shrinks.
var largeScenarios = []struct {
	name   string
	size   size
	events func(n int, random func(int64) int64) []hold.Event
}{
	{"ended holds appended", usual, func(n int, random func(int64) int64) []hold.Event {
		var out []hold.Event
		now := int64(1)
		for range n {
			start := now + random(3)
			now = start + random(5)
			out = append(out, event(start, now, random))
		}
		return out
	}},
	{"ended holds in random order", usual, func(n int, random func(int64) int64) []hold.Event {
		var out []hold.Event
		for i := range n {
			out = append(out, event(int64(i)*10+1, int64(i)*10+1+random(10), random))
		}
		return mixed(out, random)
	}},
	{"balances, open and ended facts in random order", deep, func(n int, random func(int64) int64) []hold.Event {
		var out []hold.Event
		for i := range n / 2 {
			e := event(int64(i)*10+1, int64(i)*10+11, random)
			open := e
			open.End = 0
			out = append(out, open, e)
		}
		return mixed(out, random)
	}},
	{"deep brackets, opens first", usual, func(n int, random func(int64) int64) []hold.Event {
		return deepBrackets(n, random)
	}},
	{"deep brackets, stops first", usual, func(n int, random func(int64) int64) []hold.Event {
		out := deepBrackets(n, random)
		slices.Reverse(out)
		return out
	}},
	{"deep brackets, mixed, some retracted", chained, func(n int, random func(int64) int64) []hold.Event {
		out := deepBrackets(n, random)
		for range n / 10 {
			e := out[random(int64(len(out)))]
			e.Retract = true
			out = append(out, e)
		}
		return mixed(out, random)
	}},
	{"a random walk of opens and stops, shuffled", usual, func(n int, random func(int64) int64) []hold.Event {
		var out []hold.Event
		for i := range n {
			if random(2) == 0 {
				out = append(out, event(int64(i+1), 0, random))
			} else {
				out = append(out, event(0, int64(i+1), random))
			}
		}
		return mixed(out, random)
	}},
	{"long overlapping lots with ids", usual, func(n int, random func(int64) int64) []hold.Event {
		var out []hold.Event
		for i := range n {
			start := 1 + random(int64(n))
			e := event(start, start+random(int64(n)), random)
			e.HoldID = "lot " + strconv.Itoa(i)
			if random(4) == 0 {
				e.End = 0
			}
			out = append(out, e)
		}
		return out
	}},
	{"many of one start", chained, func(n int, random func(int64) int64) []hold.Event {
		var out []hold.Event
		for range n {
			start := 5 + random(3)
			e := event(start, 0, random)
			e.Weight = hold.Weight{uint64(random(int64(n / 2)))}
			e.HasWeight = random(10) > 0
			switch random(4) {
			case 0:
				e.End = start + random(4)
			case 1:
				e.Start, e.End = 0, start+random(int64(n))
			}
			e.Retract = random(8) == 0
			out = append(out, e)
		}
		return out
	}},
	{"everything, crowded", deep, func(n int, random func(int64) int64) []hold.Event {
		return everything(n, int64(n/8), n/20, random)
	}},
	{"everything, wide", usual, func(n int, random func(int64) int64) []hold.Event {
		return everything(n, hold.MaxTime/2, n, random)
	}},
}

func event(start, end int64, random func(int64) int64) hold.Event {
	e := hold.Event{Token: "t", Holder: "h", Start: start, End: end}
	if w := random(int64(len(someWeights) + 1)); w > 0 {
		e.Weight, e.HasWeight = someWeights[w-1], true
	}
	return e
}

// deepBrackets opens n/2 holds and stops them, the last one first.
func deepBrackets(n int, random func(int64) int64) []hold.Event {
	var out []hold.Event
	for i := range n / 2 {
		out = append(out, event(int64(2*i+1), 0, random))
	}
	for i := range n / 2 {
		out = append(out, event(0, int64(n+2*i+1), random))
	}
	return out
}

func everything(n int, last int64, ids int, random func(int64) int64) []hold.Event {
	var out []hold.Event
	for range n {
		a, b := 1+random(last), 1+random(last)
		if random(3) > 0 {
			b = a + random(20)
		}
		e := event(min(a, b), max(a, b), random)
		if random(3) == 0 {
			e.HoldID, e.Revision = "id "+strconv.FormatInt(random(int64(ids)), 10), uint64(random(4))
		}
		switch k := random(10); {
		case k < 4:
			e.End = 0
		case k < 7:
			e.Start = 0
		case k < 8 && len(out) > 0:
			e = out[random(int64(len(out)))]
			e.Retract = true
			if random(2) == 0 {
				e.Revision = uint64(random(4))
			}
		}
		out = append(out, e)
	}
	return out
}

func mixed(events []hold.Event, random func(int64) int64) []hold.Event {
	for i := len(events) - 1; i > 0; i-- {
		j := random(int64(i + 1))
		events[i], events[j] = events[j], events[i]
	}
	return events
}

// TestLarge compares the package with the model on long histories, half-way and at
// the end, along with the pages that it stores on the way.
func TestLarge(t *testing.T) {
	t.Parallel()
	for i, scenario := range largeScenarios {
		for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
			t.Run(fmt.Sprintf("%s/%v", scenario.name, policy), func(t *testing.T) {
				t.Parallel()
				n := scenario.size.most(500, 2500, 300)
				random := seeded(uint64(i))
				events := scenario.events(n, random)
				p, m := hold.NewPair(policy), newModel(policy)
				for j, e := range events {
					f := e.Fact()
					if got, want := p.Add(f), m.add(f); got != want {
						t.Fatalf("add %+v: %v, want %v", f, got, want)
					}
					if j+1 == len(events)/2 || j+1 == len(events) {
						s := m.state()
						requireSame(t, p, s, sampleTimes(s, 6, random))
						requireFacts(t, p, m)
					}
				}
				times := sampleTimes(m.state(), 200, random)
				opened, _ := runStored(t, policy, events,
					func(int) bool { return random(50) == 0 },
					func(int) bool { return random(200) == 0 },
					func(int) int { return int(random(40_000)) - 20_000 })
				if err := opened.Err(); err != nil {
					t.Fatal(err)
				}
				requireIdentical(t, p, opened, times)
				requireIdentical(t, p, hold.PairFromFacts(policy, p.Facts()), times)
				requireIdentical(t, p, pairOf(policy, mixed(events, random)), times)
			})
		}
	}
}
