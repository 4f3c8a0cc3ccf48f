package projection

import (
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
