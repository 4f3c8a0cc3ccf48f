package processor

import (
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/projection"
)

// TestPublishQueue: whatever comes and goes, each holder leaves once for each time
// it came, the oldest half of every turn first; and the bucket is never said to
// have what still waits, nor less than before.
func TestPublishQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q publishQueue
		var model []waitingHolder
		var now, told uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before := projection.Reached{Position: now, LogTime: int64(now) * 10}
			for range rapid.IntRange(0, 9).Draw(t, "changes") {
				h := &holder{}
				q.push(h, before)
				model = append(model, waitingHolder{h, before})
			}
			now++
			if rapid.Bool().Draw(t, "apply only") {
				continue
			}
			most := rapid.IntRange(1, 12).Draw(t, "most")
			var got, want []*holder
			to := q.take(most, projection.Reached{Position: now, LogTime: int64(now) * 10}, func(h *holder) { got = append(got, h) })
			if len(model) > most {
				for range most / 2 {
					want = append(want, model[len(model)-1].holder)
					model = model[:len(model)-1]
				}
			}
			for len(model) > 0 && len(want) < most {
				want = append(want, model[0].holder)
				model = model[1:]
			}
			if len(got) != len(want) || q.len() != len(model) {
				t.Fatalf("%d left and %d stay, want %d and %d", len(got), q.len(), len(want), len(model))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("holder %d of the turn is another one", i)
				}
			}
			reached := now
			if len(model) > 0 {
				reached = model[0].before.Position
			}
			if to.Position != reached || to.LogTime != int64(reached)*10 || to.Position < told {
				t.Fatalf("the bucket has all of %v, want %d, after %d", to, reached, told)
			}
			told = to.Position
		}
	})
}
