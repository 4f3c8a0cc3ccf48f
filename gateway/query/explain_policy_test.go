package query_test

import (
	"slices"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/hold"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// A gateway without rules, since it began before the first worker, explains
// a pair by the pair's own policy, as it counts it.
func TestExplainWithoutRules(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	const second = int64(1e9)
	pair := hold.NewPair(hold.Sum)
	pair.Add(hold.Fact{Kind: hold.KindHold, Start: 100 * second, End: 200 * second})
	pair.Add(hold.Fact{Kind: hold.KindHold, Start: 100 * second, End: 200 * second, HoldID: "b"})
	figures := pair.Figures(300 * second)
	c := projection.PairChange{Key: projection.PairKey{Holder: "alice", Token: "t"}, Policy: hold.Sum, Figures: figures}
	for f := range pair.Facts() {
		c.Facts = append(c.Facts, projection.LoggedFact{Fact: f, Position: 1, LogTime: 300 * second})
	}
	for page := range pair.DirtyPages() {
		c.Pages = append(c.Pages, hold.Page{Key: slices.Clone(page.Key), Data: slices.Clone(page.Data)})
	}
	if err := w.Store.Flush(t.Context(), &projection.Batch{
		Partition: w.Partition("alice"), Pairs: []projection.PairChange{c},
		Holders:    []projection.HolderRecord{{Holder: "alice", Figures: figures, UpdatedAt: 300 * second, Position: 1}},
		Checkpoint: projection.Checkpoint{LogID: "log", Position: 1, Epoch: 1, LogTime: 300 * second},
	}); err != nil {
		t.Fatal(err)
	}
	rows, err := gatewaytest.Received(w.Query().Explain(t.Context(), &holdpb.ExplainRequest{HolderId: "alice", AsOf: fakes.Seconds(250)}))
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	for _, row := range rows {
		if row.Policy != "sum" || row.Counted != "100" || row.Settled != "100" || row.Removed != "0" {
			t.Errorf("%v", row)
		}
	}
}
