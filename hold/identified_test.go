package hold_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"holdmetrics/hold"
)

// Many stops of one id and their retracts, in any order, wait or count as the
// naive reading says.
func TestManyStopsOfOneID(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 1))
			type stop struct {
				end      int64
				revision uint64
			}
			var facts []hold.Fact
			stops, retracts := map[stop]bool{}, map[stop]bool{}
			for range 300 {
				s := stop{end: 10 + r.Int64N(5), revision: r.Uint64N(12)}
				f := hold.Fact{Kind: hold.KindStop, HoldID: "a", Revision: s.revision, End: s.end}
				if r.IntN(2) == 0 {
					f.Kind = hold.KindRetractStop
					retracts[s] = true
				} else {
					stops[s] = true
				}
				facts = append(facts, f)

				want := 0
				for s := range stops {
					retracted := false
					for x := range retracts {
						retracted = retracted || x.end == s.end && x.revision >= s.revision
					}
					if !retracted {
						want++
					}
				}
				for x := range retracts {
					sent := false
					for s := range stops {
						sent = sent || x.end == s.end && s.revision <= x.revision
					}
					if !sent {
						want++
					}
				}
				if got := hold.PairFromFacts(hold.Merge, slices.Values(facts)).Waiting(); got != want {
					t.Fatalf("after %d facts %d wait, want %d", len(facts), got, want)
				}
			}
		})
	}
}

func BenchmarkManyStopsOfOneID(b *testing.B) {
	p := hold.NewPair(hold.Merge)
	p.Add(hold.Fact{Kind: hold.KindHold, HoldID: "a", Start: 1})
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		i++
		p.Add(hold.Fact{Kind: hold.Kind(2 + 2*(i%2)), HoldID: "a", Revision: 1, End: 10 + i/2})
	}
}

// BenchmarkOpenPair opens a stored pair; an event is a hold of it.
func BenchmarkOpenPair(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p := hold.PairFromFacts(hold.Merge, slices.Values(endedInOrder(n)))
			pages := slices.Collect(p.DirtyPages())
			b.ReportAllocs()
			for b.Loop() {
				if _, err := hold.OpenPair(hold.Merge, pages, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/hold")
		})
	}
}

// BenchmarkDirtyPages stores one change of a pair of many hold_ids and leaves.
func BenchmarkDirtyPages(b *testing.B) {
	p := hold.NewPair(hold.Sum)
	for i := range 200_000 {
		p.Add(hold.Fact{Kind: hold.KindHold, HoldID: fmt.Sprint(i), Start: int64(i + 1), End: int64(i + 2)})
	}
	for _, f := range endedInOrder(200_000) {
		p.Add(f)
	}
	p.ClearDirty()
	b.ReportAllocs()
	i := int64(0)
	for b.Loop() {
		i++
		p.Add(hold.Fact{Kind: hold.KindHold, HoldID: "1", Revision: uint64(i), Start: 2, End: 3})
		for range p.DirtyPages() {
		}
		p.ClearDirty()
	}
}
