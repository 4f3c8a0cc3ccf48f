package hold_test

import (
	"math/rand/v2"
	"testing"

	"holdmetrics/hold"
)

// BenchmarkOverlapping adds holds that overlap all, or nearly all, of those that
// are there: 20,000 of them in turn. An event must not cost what lies below it.
func BenchmarkOverlapping(b *testing.B) {
	const n = 20_000
	lot := func(start, end, weight int64) hold.Fact {
		f := hold.Fact{Kind: hold.KindHold, Start: start, End: end, HasWeight: true}
		f.Weight, _ = hold.WeightFromFloat(float64(weight))
		return f
	}
	r := rand.New(rand.NewPCG(5, 6))
	for _, bench := range []struct {
		name string
		fact func(i int64) hold.Fact
	}{
		{"staggered", func(i int64) hold.Fact { return lot(1000+i, 2_000_000+i, 1) }},
		{"one start", func(i int64) hold.Fact { return lot(1000, 2_000_000+i, 1) }},
		{"one start, rising", func(i int64) hold.Fact { return lot(1000, 2_000_000+i, i+1) }},
		{"one start, falling", func(i int64) hold.Fact { return lot(1000, 2_000_000+i, n-i) }},
		{"nested", func(i int64) hold.Fact { return lot(1000+i, 2_000_000-i, i+1) }},
		{"open, rising", func(i int64) hold.Fact { return lot(1000+i, 0, i+1) }},
		{"random", func(int64) hold.Fact {
			return lot(1000+r.Int64N(100_000), 2_000_000+r.Int64N(1_000_000), 1+r.Int64N(1000))
		}},
	} {
		facts := make([]hold.Fact, n)
		for i := range facts {
			facts[i] = bench.fact(int64(i))
		}
		for _, policy := range []hold.Policy{hold.Merge, hold.Sum} {
			b.Run(bench.name+"/"+policy.String(), func(b *testing.B) { benchmarkPairs(b, policy, 1, facts) })
		}
	}
}
