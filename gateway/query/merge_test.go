package query_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// However pages of pairs and stretches of rows fall, scores of all holders are those of
// a walk over all pairs: by holder and by token, of one token, with shares, and with
// other clients at work, so that turns end anywhere.
func TestPagedScoresAreThoseOfAWalk(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	w := gatewaytest.NewWorld(t)
	var drafts []hold.Draft
	for holder := range 400 {
		tokens := 1 + random.IntN(3)
		if holder%50 == 0 {
			tokens = 100 + random.IntN(400) // several pages of one holder
		}
		for token := range tokens {
			drafts = append(drafts, fakes.Held(fmt.Sprint("token", token), fmt.Sprint("holder", holder), 1, int64(2+random.IntN(1000)), 1))
		}
	}
	w.Apply(t, 5, 5e9, drafts...)
	reads := w.Gateway.Reads()
	window, err := reads.Window(query.Times{})
	if err != nil {
		t.Fatal(err)
	}

	type row struct{ holder, token, score string }
	walk := func(token string, byToken bool) (rows []row) {
		sums := map[row]hold.Score{}
		for p := range w.Cfg.Log.Partitions() {
			v, err := w.Store.View(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			err = v.AllPairs(t.Context(), func(r *projection.PairRecord) error {
				if ingest.Partition(r.Key.Holder, w.Cfg.Log.Partitions()) != p {
					t.Errorf("%v is in partition %d", r.Key, p)
				}
				if token != "" && r.Key.Token != token {
					return nil
				}
				key := row{holder: r.Key.Holder}
				if byToken {
					key.token = r.Key.Token
				}
				sums[key] = sums[key].Add(r.Figures.Settled.Score)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			v.Close()
		}
		for key, score := range sums {
			key.score = score.String()
			rows = append(rows, key)
		}
		slices.SortFunc(rows, func(a, b row) int {
			return projection.PairKey{Holder: a.holder, Token: a.token}.Compare(projection.PairKey{Holder: b.holder, Token: b.token})
		})
		return rows
	}
	for _, c := range []query.ScoreQuery{{}, {ByToken: true}, {Token: "token2"}, {Token: "token300", ByToken: true}, {Share: true, ByToken: true}} {
		t.Run(fmt.Sprintf("%s %v %v", c.Token, c.ByToken, c.Share), func(t *testing.T) {
			t.Parallel()
			want := walk(c.Token, c.ByToken)
			for i := range 4 {
				t.Run(strconv.Itoa(i), func(t *testing.T) {
					t.Parallel()
					q := c
					q.Window = window
					var got []row
					err := reads.Scores(query.WithClient(t.Context(), strconv.Itoa(i%2)), q, func(r *query.Row) error {
						got = append(got, row{r.Holder, r.Token, r.Live.Score.String()})
						if c.Share && r.Total == nil {
							t.Errorf("%s %s has no total", r.Holder, r.Token)
						}
						return nil
					})
					if err != nil || !slices.Equal(got, want) {
						t.Errorf("%d rows, want %d, %v", len(got), len(want), err)
					}
				})
			}
		})
	}
}
