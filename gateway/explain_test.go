package gateway_test

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/hold/rules"
	holdpb "holdmetrics/proto"
)

// By rules of every kind, what each row says leads from what a hold weighs to what it
// counts, and the rows of a token add up to its score and its settled score, by both
// APIs and at several instants.
func TestExplainedRowsAddUpByBothAPIs(t *testing.T) {
	t.Parallel()
	r, err := rules.Parse("rules.yaml", []byte(`
tokens:
  - {token: x, policy: sum, multiplier: 0.3, season: {from: 1970-01-01T00:20:00Z, to: 1970-01-01T00:50:00Z}}
  - {token: y, shortest_run: 100s, boosts: {by: hold, steps: [{after: 50s, factor: 1.5}]}}
  - {match: "z*", multiplier: 2, boosts: {by: run, steps: [{after: 1m, factor: 0.5}, {after: 1h, factor: 3}]}}
`))
	if err != nil {
		t.Fatal(err)
	}
	w := gatewaytest.ScoreWorld(t, func(w *gatewaytest.World) { w.Cfg.Rules, w.Cfg.RulesVersion = r, r.Version() })
	signed := func(texts ...string) *big.Rat {
		sum := new(big.Rat)
		for _, text := range texts {
			minus := strings.HasPrefix(text, "less ")
			v, ok := new(big.Rat).SetString(strings.TrimPrefix(text, "less "))
			if !ok {
				t.Fatalf("not a decimal: %q", text)
			}
			if minus {
				v.Neg(v)
			}
			sum.Add(sum, v)
		}
		return sum
	}
	for _, holder := range []string{"alice", "bo/b", "lock"} {
		for _, at := range []int64{1000, 1101, 1500, 2001, 3500, 5099, 5100, 9000} {
			rows, err := gatewaytest.Received(w.Query().Explain(t.Context(), &holdpb.ExplainRequest{HolderId: holder, AsOf: fakes.Seconds(at)}))
			if err != nil {
				t.Fatal(err)
			}
			counted, settled := map[string]*big.Rat{}, map[string]*big.Rat{}
			var texts []string
			for _, row := range rows {
				alone := signed(row.Plain, "less "+row.Cut, row.Multiplied, row.Boosted)
				if alone.Cmp(signed(row.Alone)) != 0 || signed(row.Alone, "less "+row.Removed, row.Added).Cmp(signed(row.Counted)) != 0 {
					t.Errorf("%s at %d: %v does not add up", holder, at, row)
				}
				if want := map[string]string{"x": "x", "y": "y", "z": "match z*"}[row.TokenId]; row.Rule != want || row.Rules != r.Version() {
					t.Errorf("rule %q of %q", row.Rule, row.TokenId)
				}
				if counted[row.TokenId] == nil {
					counted[row.TokenId], settled[row.TokenId] = new(big.Rat), new(big.Rat)
				}
				counted[row.TokenId].Add(counted[row.TokenId], signed(row.Counted))
				settled[row.TokenId].Add(settled[row.TokenId], signed(row.Settled))
				texts = append(texts, fmt.Sprint(row.TokenId, row.Rule, row.Plain, " ", row.Cut, " ", row.Multiplied, " ", row.Boosted, " ", row.Added, " ", row.Settled))
			}
			scores, err := gatewaytest.Received(w.Query().Scores(t.Context(), &holdpb.ScoresRequest{HolderId: holder, ByToken: true, AsOf: fakes.Seconds(at)}))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range scores {
				if c := counted[s.TokenId]; c == nil {
					if s.Score != "0" || s.SettledScore != "0" {
						t.Errorf("%s at %d: no row of %s, which has %s, settled %s", holder, at, s.TokenId, s.Score, s.SettledScore)
					}
				} else if c.Cmp(signed(s.Score)) != 0 || settled[s.TokenId].Cmp(signed(s.SettledScore)) != 0 {
					t.Errorf("%s at %d, token %s: the rows add up to %v, settled %v; the score is %s, settled %s", holder, at, s.TokenId, c, settled[s.TokenId], s.Score, s.SettledScore)
				}
			}
			var http []string
			path := fmt.Sprintf("/stats/%s/holds?format=ndjson&as_of=%d", strings.ReplaceAll(holder, "/", "%2F"), at)
			for _, row := range gatewaytest.Lines[httpapi.ContributionRow](t, gatewaytest.Get(t, w, path, 200)) {
				http = append(http, fmt.Sprint(row.TokenID, row.Rule, row.Plain, " ", row.Cut, " ", row.Multiplied, " ", row.Boosted, " ", row.Added, " ", row.Settled))
			}
			if !slices.Equal(http, texts) {
				t.Errorf("%s at %d: HTTP has %q, gRPC %q", holder, at, http, texts)
			}
		}
	}
	rows, err := gatewaytest.Received(w.Query().Explain(t.Context(), &holdpb.ExplainRequest{HolderId: "alice", From: fakes.Seconds(1050), To: fakes.Seconds(2000)}))
	if err != nil || len(rows) == 0 || rows[0].Settled != "" {
		t.Errorf("of a window: %v, %v", rows, err)
	}
}
