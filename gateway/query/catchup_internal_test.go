package query

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"

	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// readsOf answers from a backend of a log of four partitions, at the clock of the tests.
func readsOf(t *testing.T, from Backend) *Service {
	t.Helper()
	from.WaitApplied = func(context.Context, int, uint64) error { return nil }
	s := New(Config{
		Log: &fakes.Log{Size: 4, Ends: map[int]uint64{0: 9, 1: 9, 2: 9, 3: 9}}, Now: func() int64 { return fakes.TestNow }, Freshness: time.Minute, Logger: zap.NewNop(),
	}, from)
	t.Cleanup(s.Close)
	return s
}

// What readers can have seen is what the positions say, or more: a snapshot comes
// before the position that covers it.
func TestSeenPositions(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(&holdpb.HoldStat{HolderId: "alice", Position: 3}, &holdpb.HoldStat{HolderId: "bob", Position: 9})
	b := readsOf(t, Backend{Snapshots: snapshots}).Active()
	for p := range 4 {
		snapshots.Reach(p, projection.Reached{Position: 5})
	}
	alice, bob := ingest.Partition("alice", 4), ingest.Partition("bob", 4)
	if alice == bob {
		t.Fatal("one partition")
	}
	want := func(after uint64, alices, bobs uint64) {
		t.Helper()
		if got := b.SeenPositions(after); got[alice] != alices || got[bob] != bobs {
			t.Errorf("%v; alice's partition is %d and bob's %d", got, alice, bob)
		}
	}
	want(0, 5, 9)
	snapshots.Put(&holdpb.HoldStat{HolderId: "alice", Position: 11})
	want(2, 11, 5)
}
