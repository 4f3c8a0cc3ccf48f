package processor

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"holdmetrics/projection"
)

// TestPublishQueue: whatever changes and is taken, each holder that changed leaves
// once, half of every turn are those that wait longest, no more is kept than what
// waits calls for, and the bucket is never said to have what still waits.
func TestPublishQueue(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var q publishQueue
		holders := make([]holder, 40)
		var waiting []*holder // by the time of their first change
		before := map[*holder]uint64{}
		var now, last uint64
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			for range rapid.IntRange(0, 30).Draw(t, "changes") {
				h := &holders[min(rapid.IntRange(0, 39).Draw(t, "holder"), rapid.IntRange(0, 39).Draw(t, "or"))]
				q.change(h, projection.Reached{Position: now, LogTime: int64(now) * 10})
				if !slices.Contains(waiting, h) {
					waiting = append(waiting, h)
					before[h] = now
				}
			}
			now++
			if rapid.Bool().Draw(t, "apply only") {
				continue
			}
			most := rapid.IntRange(1, 12).Draw(t, "most")
			oldest := slices.Clone(waiting[:min(len(waiting), most-most/2)])
			want := min(most, len(waiting))
			var got []*holder
			to := q.take(most, projection.Reached{Position: now, LogTime: int64(now) * 10}, func(h *holder) { got = append(got, h) })
			if len(got) != want {
				t.Fatalf("%d of %d left, want %d", len(got), len(waiting), want)
			}
			for _, h := range got {
				i := slices.Index(waiting, h)
				if i < 0 || h.queued != 0 {
					t.Fatal("a holder left that did not wait, or still does")
				}
				waiting = slices.Delete(waiting, i, i+1)
			}
			for _, h := range oldest {
				if slices.Contains(waiting, h) && !slices.Contains(got, h) {
					t.Fatal("one of the oldest stays")
				}
			}
			if q.len() != len(waiting) {
				t.Fatalf("%d wait, want %d", q.len(), len(waiting))
			}
			reached := now
			if len(waiting) > 0 {
				reached = before[waiting[0]]
			}
			if to.Position != reached || to.LogTime != int64(reached)*10 || to.Position < last {
				t.Fatalf("the bucket has all of %v, want %d, after %d", to, reached, last)
			}
			last = to.Position
			if kept := len(q.entries) + q.extra; kept > 2*len(waiting)+staleSpared {
				t.Fatalf("%d entries for %d that wait", kept, len(waiting))
			}
		}
	})
}

// TestBusyHolderIsPublishedSoon: one that changes again and again does not wait for
// the many that came before it.
func TestBusyHolderIsPublishedSoon(t *testing.T) {
	t.Parallel()
	var q publishQueue
	quiet, busy := make([]holder, 100_000), new(holder)
	for i := range quiet {
		q.change(&quiet[i], projection.Reached{Position: 1})
	}
	q.change(busy, projection.Reached{Position: 2})
	others := make([]holder, 1000)
	for i := range others {
		q.change(&others[i], projection.Reached{Position: 3})
	}
	q.change(busy, projection.Reached{Position: 4})
	found := false
	if to := q.take(10, projection.Reached{Position: 5}, func(h *holder) { found = found || h == busy }); !found || to.Position != 1 {
		t.Errorf("taken: %v; the bucket is said to have all of %d", found, to.Position)
	}
}

func BenchmarkPublishQueue(b *testing.B) {
	var q publishQueue
	holders := make([]holder, 20_000)
	b.ReportAllocs()
	for i := range b.N {
		q.change(&holders[i*7919%len(holders)], projection.Reached{Position: uint64(i)})
		if i%512 == 0 {
			q.take(turnHolders, projection.Reached{Position: uint64(i)}, func(*holder) {})
		}
	}
}
