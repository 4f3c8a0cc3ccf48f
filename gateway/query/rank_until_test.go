package query_test

import (
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	holdpb "holdmetrics/proto"
)

// The log's clock is ahead of the gateway's, and a line breaks between the two: no
// total goes past it, so it is what the rows come to.
func TestTopWhereTheLogsClockIsAhead(t *testing.T) {
	t.Parallel()
	const now = fakes.TestNow / 1e9
	alice := &holdpb.HoldStat{HolderId: "alice", ScoreExact: "0", LiveBase: "10", LiveRate: "0", Since: fakes.Seconds(now + 5), Position: 2}
	bob := &holdpb.HoldStat{HolderId: "bob", ScoreExact: "0", LiveBase: "100", LiveRate: "1", LiveHeldRate: 1, Since: fakes.Seconds(now - 1), Until: fakes.Seconds(now + 2), Position: 1}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Snapshots = fakes.ReadySnapshots(alice, bob)
		w.Cfg.Log = &fakes.Log{Size: 4, Ends: map[int]uint64{0: 2, 1: 2, 2: 2, 3: 2}}
	})
	w.Apply(t, 1, fakes.TestNow, fakes.Held("t", "bob", now-101, now+2, 1))
	a, err := w.Query().Top(t.Context(), &holdpb.TopRequest{By: holdpb.RankBy_LIVE})
	if err != nil {
		t.Fatal(err)
	}
	if a.AsOf.Seconds != now+5 || a.TotalScore != "113" || len(a.Holders) != 2 || a.Holders[0].Score != "103" || a.Holders[1].Score != "10" {
		t.Errorf("as of now+%d, total %s of %v", a.AsOf.Seconds-now, a.TotalScore, a.Holders)
	}
}

// The store is ahead of the snapshots when a line ends: a row is of the one position
// or of the other, never its live score of one and its settled score of the other.
func TestTopIsOfOnePosition(t *testing.T) {
	t.Parallel()
	const now = fakes.TestNow / 1e9
	bob := &holdpb.HoldStat{HolderId: "bob", ScoreExact: "0", LiveBase: "10", LiveRate: "1", LiveHeldRate: 1, Since: fakes.Seconds(now - 10), Until: fakes.Seconds(now - 5), Position: 1}
	snapshots := fakes.ReadySnapshots(bob)
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Snapshots = snapshots
		w.Cfg.Log = &fakes.Log{Size: 4, Ends: map[int]uint64{0: 2, 1: 2, 2: 2, 3: 2}}
	})
	w.Apply(t, 2, fakes.TestNow, fakes.Held("t", "bob", now-20, now-5, 1), fakes.Held("t", "bob", now-100, now-20, 1000))
	top := func(live, settled string) {
		t.Helper()
		query.ForgetPins(w.Gateway.Reads().Active())
		a, err := w.Query().Top(t.Context(), &holdpb.TopRequest{By: holdpb.RankBy_LIVE})
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Holders) != 1 || a.Holders[0].Score != live || a.Holders[0].SettledScore != settled || a.TotalScore != live || a.TotalSettledScore != settled {
			t.Errorf("totals %s and %s of %v", a.TotalScore, a.TotalSettledScore, a.Holders)
		}
	}
	top("15", "0")
	snapshots.Put(&holdpb.HoldStat{HolderId: "bob", ScoreExact: "80015", LiveBase: "80015", LiveRate: "0", Since: fakes.Seconds(now - 5), Position: 2})
	top("80015", "80015")
}
