package hold_test

import (
	"testing"

	"holdmetrics/hold"
)

// BenchmarkRules is what figures cost by rules, of a pair of few holds and of many.
func BenchmarkRules(b *testing.B) {
	boosted := hold.Rule{Policy: hold.Merge, Multiplier: hold.MultiplierOne, Boosts: []hold.Boost{{After: 1000, Factor: 1_500_000}}}
	rules := []struct {
		name string
		rule *hold.Rule
	}{
		{"plain", hold.PlainRule(hold.Merge)},
		{"season", &hold.Rule{Multiplier: 2_000_000, SeasonFrom: 100, SeasonTo: 1 << 40}},
		{"boosts", &boosted},
	}
	for _, size := range []struct {
		name  string
		holds int64
	}{{"few", 5}, {"many", 1_000_000}} {
		p := hold.NewPair(hold.Merge)
		for i := range size.holds {
			p.Add(hold.Fact{Kind: hold.KindHold, Start: 1 + 10*i, End: 11 + 10*i - i%3})
		}
		p.Add(hold.Fact{Kind: hold.KindHold, Start: 1 + 10*size.holds})
		for _, r := range rules {
			b.Run(size.name+"/"+r.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r.rule.Figures(p, 20*size.holds)
				}
			})
		}
	}
}
