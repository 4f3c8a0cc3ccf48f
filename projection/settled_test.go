package projection

import (
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	holdpb "holdmetrics/proto"
)

func TestTableKnowsWhatSettled(t *testing.T) {
	t.Parallel()
	var table table
	table.init()
	put := func(s *holdpb.HoldStat) Change {
		t.Helper()
		b, err := proto.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		table.put("h", b, 1)
		c, ok := table.get("h")
		if !ok || c.Number != table.newest() {
			t.Fatalf("%+v", c)
		}
		return c
	}
	first := put(&holdpb.HoldStat{HolderId: "h"})
	if first.Settled != first.Number {
		t.Errorf("new: %+v", first)
	}
	if c := put(&holdpb.HoldStat{HolderId: "h", LiveRate: "2", Position: 9}); c.Settled != first.Settled {
		t.Errorf("a hold began: %+v", c)
	}
	second := put(&holdpb.HoldStat{HolderId: "h", ScoreExact: "5", WeightedScore: 5, LiveRate: "2"})
	if second.Settled != second.Number {
		t.Errorf("a hold ended: %+v", second)
	}
	third := put(&holdpb.HoldStat{HolderId: "h", ScoreExact: "5.1", WeightedScore: 5, LiveRate: "2"})
	if third.Settled != third.Number {
		t.Errorf("the exact score alone changed: %+v", third)
	}
	table.put("h", []byte{0xff}, 1)
	if c, _ := table.get("h"); c.Settled != c.Number {
		t.Errorf("what does not decode: %+v", c)
	}
	changes, next := table.changes(nil, third.Number, 5)
	if len(changes) != 1 || next != table.newest() || changes[0].Number != next {
		t.Errorf("%+v, %d", changes, next)
	}
	table.remove("h")
	if changes, _ = table.changes(changes, next, 5); len(changes) != 2 || !changes[1].Gone || changes[1].Settled != table.newest() {
		t.Errorf("gone: %+v", changes)
	}
}

// Going back from the newest change, a reader meets each holder once, and what
// changes meanwhile next time.
func TestTableLatest(t *testing.T) {
	t.Parallel()
	var table table
	table.init()
	keys := func(changes []Change) (s string) {
		for _, c := range changes {
			s += c.Key
		}
		return s
	}
	for _, key := range []string{"a", "b", "c", "a", "d", "b"} {
		table.put(key, []byte{1}, 1)
	}
	changes, next, point, more := table.latest(nil, 0, math.MaxUint64, 2)
	if keys(changes) != "bd" || point != 6 || next != 5 || !more {
		t.Fatal(keys(changes), next, point, more)
	}
	table.put("c", []byte{2}, 1) // it was not met yet
	changes, next, point, more = table.latest(changes[:0], 0, next, 2)
	if keys(changes) != "a" || point != 7 || more {
		t.Fatal(keys(changes), next, point, more)
	}
	changes, _, _, more = table.latest(changes[:0], 6, math.MaxUint64, 2)
	if keys(changes) != "c" || more {
		t.Fatal(keys(changes), more)
	}
	if changes, _, point, more = table.latest(changes[:0], 7, math.MaxUint64, 2); len(changes) != 0 || more || point != 7 {
		t.Fatal(keys(changes), more)
	}
}
