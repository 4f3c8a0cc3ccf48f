package processor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// The index has every end before its horizon, gives each when it is due and not
// before, and stays within its bound.
func TestLineEndsAgainstAModel(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 30) {
		r := rand.New(rand.NewPCG(seed, 21))
		most := 2 + r.IntN(20)
		l, model := newLineEnds(most), map[string]lineEnd{}
		now := int64(1)
		for step := range 3000 {
			name := fmt.Sprint("h", r.IntN(40))
			switch r.IntN(6) {
			case 0:
				delete(model, name)
				l.set(name, uint64(step), 0)
			case 1, 2:
				until := now + 1 + r.Int64N(50)
				model[name] = lineEnd{holder: name, position: uint64(step), until: until}
				l.set(name, uint64(step), until)
			case 3:
				if _, ok := model[name]; !ok {
					model[name] = lineEnd{holder: name, position: uint64(step), until: now + r.Int64N(50)}
					l.offer(model[name])
				}
			case 4:
				now += r.Int64N(10)
				due := l.due(now, 1+r.IntN(5))
				for _, e := range due {
					if want := model[e.holder]; want.until != e.until || want.position != e.position || e.until > now {
						t.Fatalf("seed %d, step %d: %+v is due at %d, the model has %+v", seed, step, e, now, want)
					}
				}
				if r.IntN(2) == 0 {
					l.back(due)
				} else {
					for _, e := range due {
						delete(model, e.holder)
					}
				}
			case 5:
				if l.horizon != 0 && l.horizon <= now { // the walk
					l.horizon = 0
					for _, e := range model {
						l.offer(e)
					}
				}
			}
			if len(l.order) > most+5 || len(l.order) != len(l.byHolder) {
				t.Fatalf("seed %d, step %d: %d entries of at most %d, %d holders", seed, step, len(l.order), most, len(l.byHolder))
			}
			first := int64(math.MaxInt64)
			for name, want := range model {
				first = min(first, want.until)
				if e := l.byHolder[name]; e == nil && (l.horizon == 0 || want.until < l.horizon) {
					t.Fatalf("seed %d, step %d: %+v is missing before the horizon %d", seed, step, want, l.horizon)
				}
			}
			if next := l.next(); len(model) > 0 && (next == 0 || next > first) {
				t.Fatalf("seed %d, step %d: next is %d, the first end %d", seed, step, next, first)
			}
		}
	}
}
