package load

import (
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// Events are accepted, no two are the same fact of the same pair, and a holder's
// come in order and from one source.
func TestSourceEventsAreDistinct(t *testing.T) {
	t.Parallel()
	const holders, sources, rounds = 1000, 4, 5
	type fact struct {
		holder, token string
		fact          hold.Fact
	}
	seen := map[fact]bool{}
	last := map[string]int64{}
	owner := map[string]int{}
	for w := range sources {
		s := NewSource(w, sources, holders)
		var d hold.Draft
		for range rounds * holders / sources {
			s.Next(&d)
			e, err := d.Check(time.Now().UnixNano(), hold.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			key := fact{e.Holder, e.Token, e.Fact()}
			if seen[key] {
				t.Fatalf("%+v comes twice", d)
			}
			seen[key] = true
			if e.Start <= last[e.Holder] {
				t.Fatalf("%+v is not behind the one before", d)
			}
			last[e.Holder] = e.Start
			if by, ok := owner[e.Holder]; ok && by != w {
				t.Fatalf("holder %s comes from %d and %d", e.Holder, by, w)
			}
			owner[e.Holder] = w
		}
	}
	if len(last) != holders {
		t.Errorf("%d holders have events, want %d", len(last), holders)
	}
}

// What POST /holds gets says the same as what the other endpoints get.
func TestAppendJSON(t *testing.T) {
	t.Parallel()
	s := NewSource(0, 1, 10)
	var want, got hold.Draft
	for range 30 {
		s.Next(&want)
		line := appendJSON(nil, &want)
		if err := ingest.DecodeJSON(line, &got); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		a, errA := want.Check(time.Now().UnixNano(), hold.DefaultLimits())
		b, errB := got.Check(time.Now().UnixNano(), hold.DefaultLimits())
		if errA != nil || errB != nil || a != b {
			t.Errorf("%s is %+v (%v), want %+v (%v)", line, b, errB, a, errA)
		}
	}
}
