package hold_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdmetrics/hold"
)

// Every benchmark reports the time and the allocations of one event.

const second = int64(1e9)

// endedInOrder are ended holds of one pair that follow one another.
func endedInOrder(n int) []hold.Fact {
	facts := make([]hold.Fact, n)
	for i := range facts {
		start := (int64(i) + 1) * 10 * second
		facts[i] = hold.Fact{Kind: hold.KindHold, Start: start, End: start + 5*second, Weight: hold.One, HasWeight: true}
	}
	return facts
}

// balances are the opens and ends of a balance that changes n/2 times, in order.
func balances(n int) []hold.Fact {
	facts := make([]hold.Fact, 0, n)
	for i := int64(1); len(facts)+2 <= n; i++ {
		w, _ := hold.ParseWeight(fmt.Sprint(i%7 + 1))
		facts = append(facts,
			hold.Fact{Kind: hold.KindHold, Start: i * second, Weight: w, HasWeight: true},
			hold.Fact{Kind: hold.KindHold, Start: i * second, End: (i + 1) * second, Weight: w, HasWeight: true})
	}
	return facts
}

// brackets are opens and the stops that end them.
func brackets(n int) []hold.Fact {
	facts := make([]hold.Fact, 0, n)
	for i := int64(1); len(facts)+2 <= n; i++ {
		facts = append(facts,
			hold.Fact{Kind: hold.KindHold, Start: i * 10 * second, Weight: hold.One, HasWeight: true},
			hold.Fact{Kind: hold.KindStop, End: i*10*second + 5*second})
	}
	return facts
}

func shuffledFacts(facts []hold.Fact) []hold.Fact {
	out := append([]hold.Fact(nil), facts...)
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// benchmarkPairs spreads the facts over so many pairs at a time, again and again.
func benchmarkPairs(b *testing.B, policy hold.Policy, pairs int, facts []hold.Fact) {
	b.ReportAllocs()
	var all []*hold.Pair
	for i := 0; b.Loop(); i++ {
		if i%(len(facts)*pairs) == 0 {
			b.StopTimer()
			all = make([]*hold.Pair, pairs)
			for p := range all {
				all[p] = hold.NewPair(policy)
			}
			b.StartTimer()
		}
		all[i%pairs].Add(facts[i/pairs%len(facts)])
	}
}

func BenchmarkAppendInOrder(b *testing.B) {
	benchmarkPairs(b, hold.Merge, 1, endedInOrder(20_000))
}

func BenchmarkRandomOrder(b *testing.B) {
	benchmarkPairs(b, hold.Merge, 1, shuffledFacts(endedInOrder(20_000)))
}

func BenchmarkBalancesInOrder(b *testing.B) {
	benchmarkPairs(b, hold.Merge, 1, balances(20_000))
}

func BenchmarkStopsInOrder(b *testing.B) {
	benchmarkPairs(b, hold.Merge, 1, brackets(20_000))
}

func BenchmarkStopsRandomOrder(b *testing.B) {
	benchmarkPairs(b, hold.Merge, 1, shuffledFacts(brackets(2_000)))
}

// BenchmarkMillionHolds adds to a pair that has a million holds already.
func BenchmarkMillionHolds(b *testing.B) {
	const n = 1_000_000
	gaps := rand.New(rand.NewPCG(3, 4)).Perm(n)
	for _, bench := range []struct {
		name string
		fact func(i int) hold.Fact
	}{
		{"append", func(i int) hold.Fact {
			start := (int64(n+i) + 1) * 10 * second
			return hold.Fact{Kind: hold.KindHold, Start: start, End: start + 5*second, Weight: hold.One, HasWeight: true}
		}},
		{"random", func(i int) hold.Fact {
			// Into the gaps between the holds, each time a little further in.
			start := (int64(gaps[i%n])+1)*10*second + 6*second + int64(i/n)
			return hold.Fact{Kind: hold.KindHold, Start: start, End: start + 1, Weight: hold.One, HasWeight: true}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			p := hold.NewPair(hold.Merge)
			for _, f := range endedInOrder(n) {
				p.Add(f)
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				p.Add(bench.fact(i))
			}
		})
	}
	b.Run("as of", func(b *testing.B) {
		p := hold.NewPair(hold.Merge)
		for _, f := range endedInOrder(n) {
			p.Add(f)
		}
		b.ReportAllocs()
		b.ResetTimer()
		for i := 0; i < b.N; i++ {
			t := int64(gaps[i%n]) * 10 * second
			p.LiveAt(t)
			p.SettledAt(t)
		}
	})
}

func BenchmarkSmallPairs(b *testing.B) {
	for _, bench := range []struct {
		name  string
		facts []hold.Fact
	}{
		{"ended in order", endedInOrder(5)},
		{"balances out of order", shuffledFacts(balances(10))},
		{"stops out of order", shuffledFacts(brackets(10))},
	} {
		b.Run(bench.name, func(b *testing.B) { benchmarkPairs(b, hold.Merge, 10_000, bench.facts) })
	}
}

func BenchmarkFigures(b *testing.B) {
	p := hold.PairFromFacts(hold.Merge, func(yield func(hold.Fact) bool) {
		for _, f := range balances(20) {
			if !yield(f) {
				return
			}
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		p.Figures(100 * second)
	}
}
