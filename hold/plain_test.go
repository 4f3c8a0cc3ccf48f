package hold

import (
	"math/rand/v2"
	"testing"
)

// The figures of one pass over plain rows are those of the fold, at every instant, and
// most pairs that only get holds of different starts are plain.
func TestPlainFiguresAreTheFolded(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	weights := []Weight{{}, One, {1 << 63}, {5, 1}, {1<<64 - 1, 1<<64 - 1}, {0, 0, 7}}
	plain, folded := 0, 0
	for range 30_000 {
		p := NewPair(Policy(r.IntN(2)))
		now, overlaps := int64(1), r.IntN(2) == 0
		for range r.IntN(12) {
			now += 1 + r.Int64N(4)
			f := Fact{Kind: KindHold, Start: now, End: now + r.Int64N(6)}
			if !overlaps {
				now = f.End
			}
			switch r.IntN(40) {
			case 0:
				f.End = 0
			case 1:
				f = Fact{Kind: KindStop, End: now}
			case 2:
				f.Kind = KindRetractHold
			case 3:
				f.Start = max(1, f.Start-r.Int64N(6))
			}
			if f.Kind != KindStop && r.IntN(2) == 0 {
				f.Weight, f.HasWeight = weights[r.IntN(len(weights))], true
			}
			if f.End != 0 && f.Start > f.End {
				continue
			}
			p.Add(f)
		}
		if p.grown != nil {
			continue
		}
		s := (*rows)(p)
		for at := int64(0); at < now+8; at += 1 + r.Int64N(3) {
			got, ok := plainFigures(s, at)
			if !ok {
				folded++
				continue
			}
			plain++
			if want := foldedFigures(s, at); got != want {
				t.Fatalf("%v at %d: %+v, want %+v; facts %+v", p.Policy(), at, got, want, s.list)
			}
		}
	}
	if plain < 10_000 || folded < 10_000 {
		t.Errorf("%d are plain, and %d are folded", plain, folded)
	}
}
