package query_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/hold/rules"
	holdpb "holdmetrics/proto"
)

// A boost that falls with the age of a run: what ended in the window has the run begin
// earlier, so what was settled before counts less. Of 1000 as of 1020, 512.5 are left
// as of 1025.
func TestSettledScoreOfAWindowBelowZero(t *testing.T) {
	t.Parallel()
	r, err := rules.Parse("rules.yaml", []byte("tokens:\n  - token: t\n    boosts: {by: run, steps: [{after: 10s, factor: 0.5}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Rules = r })
	w.Apply(t, 1, fakes.TestNow,
		fakes.Held("t", "alice", 1000, 1025, 1), fakes.Held("t", "alice", 1010, 1020, 100),
		fakes.Held("t", "bob", 1020, 1025, 1))
	type figures struct {
		Score, Settled, Total string
		Double, Share         float64
	}
	want := map[string]figures{
		"alice": {"2.5", "-487.5", "-482.5", -487.5, 487.5 / 482.5},
		"bob":   {"5", "5", "-482.5", 5, -5 / 482.5},
	}
	got := map[string]figures{}
	var rows []httpapi.ScoreRow
	if err := json.Unmarshal(gatewaytest.Get(t, w, "/scores?from=1020&to=1025&share=true", http.StatusOK), &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		got[row.HolderID] = figures{row.Score, row.SettledScore, row.TotalSettledScore, row.SettledScoreDouble, *row.SettledShare}
	}
	check := func(source string) {
		t.Helper()
		for holder, f := range want {
			if got[holder] != f {
				t.Errorf("%s: %s has %+v, want %+v", source, holder, got[holder], f)
			}
		}
		clear(got)
	}
	check("GET /scores")
	for holder := range want {
		var h struct {
			httpapi.ScoreRow
			Tokens []httpapi.ScoreRow
		}
		if err := json.Unmarshal(gatewaytest.Get(t, w, "/stats/"+holder+"?from=1020&to=1025&share=true", http.StatusOK), &h); err != nil {
			t.Fatal(err)
		}
		got[holder] = figures{h.Score, h.SettledScore, h.TotalSettledScore, h.SettledScoreDouble, *h.SettledShare}
		if len(h.Tokens) != 1 || h.Tokens[0].SettledScore != h.SettledScore {
			t.Errorf("tokens of %s: %+v", holder, h.Tokens)
		}
	}
	check("GET /stats/{holder}")
	scores, err := gatewaytest.Received(w.Query().Scores(t.Context(), &holdpb.ScoresRequest{From: fakes.Seconds(1020), To: fakes.Seconds(1025), Share: true}))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range scores {
		got[row.HolderId] = figures{row.Score, row.SettledScore, row.TotalSettledScore, row.SettledScoreDouble, row.SettledShare}
	}
	check("Scores")
	stats, err := gatewaytest.Received(w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{From: fakes.Seconds(1020), To: fakes.Seconds(1025)}))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range stats {
		if f := want[row.HolderId]; row.ScoreExact != f.Settled || row.WeightedScore != f.Double {
			t.Errorf("Stats: %v", row)
		}
	}
}
