package query_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	holdpb "holdmetrics/proto"
)

// The rankings are what sorting the exact scores gives, whatever happens between,
// page by page and rank by rank.
func TestRankingsAreExact(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	random := rand.New(rand.NewPCG(1, 2))
	const now = fakes.TestNow / 1e9
	weights := []string{"1", "1", "2", "0.000000000000000001", "1000000000000000000.000000000000000001", "1000000000000000000",
		strings.Repeat("9", 37), strings.Repeat("9", 37) + ".000000000000000001"}
	for round := range 6 {
		var drafts []hold.Draft
		for range 60 {
			d := hold.Draft{
				Token: fmt.Sprint("t", random.IntN(3)), Holder: fmt.Sprintf("h%02d", random.IntN(40)), WeightExact: weights[random.IntN(len(weights))],
				Start: fakes.At(now - 1000 + int64(random.IntN(5))*100),
			}
			if round == 5 && random.IntN(20) == 0 {
				d.Start = fakes.At(1) // scores that are no float32
			}
			switch random.IntN(3) {
			case 0:
				d.End = fakes.At(now - 200)
			case 1:
				d.End = fakes.At(now + 10*int64(round)) // the line breaks while we look
			}
			drafts = append(drafts, d)
		}
		r.Take(drafts...)
		for _, token := range []string{"", "t1"} {
			for _, by := range []holdpb.RankBy{holdpb.RankBy_SETTLED, holdpb.RankBy_LIVE} {
				want := r.Naive(token, by)
				for _, limit := range []uint32{1, 7, 0} {
					query.ForgetPins(r.Gateway.Reads().Active())
					if got := r.Pages(token, by, limit); !slices.Equal(got, want) {
						t.Fatalf("round %d, token %q, by %v, limit %d: got\n%s\nwant\n%s", round, token, by, limit, strings.Join(got, "\n"), strings.Join(want, "\n"))
					}
				}
				for place, line := range want {
					holder, score, _ := strings.Cut(line, " ")
					got, err := r.Query().Rank(t.Context(), &holdpb.RankRequest{HolderId: holder, TokenId: token, By: by})
					if err != nil || got.Holder.Rank != uint64(place+1) || by == holdpb.RankBy_LIVE && got.Holder.Score != score || got.Count != uint64(len(want)) {
						t.Fatalf("%s: %v, %v, want %d", line, got, err, place+1)
					}
				}
			}
		}
		r.SetClock(r.Now.Load() + 7e9)
	}
}

func TestTopSaysWhatItIsOf(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	const now = fakes.TestNow / 1e9
	r.Take(fakes.Held("x", "alice", now-100, now-50, 2), fakes.OpenHold("y", "bob", now-300, 0.5), fakes.OpenHold("x", "bob", now-10, 1))
	want := `{"holders":[{"rank":1,"holder_id":"bob","score":"160","held_seconds":"310","settled_score":"0","settled_held_seconds":"0","score_double":160,"settled_score_double":0,"rate":"1.5"},` +
		`{"rank":2,"holder_id":"alice","score":"100","held_seconds":"50","settled_score":"100","settled_held_seconds":"50","score_double":100,"settled_score_double":100,"rate":"0"}],` +
		`"count":2,"total_score":"260","total_settled_score":"100","as_of":"2023-11-14T22:13:20Z","applied_through":"1970-01-01T00:00:01Z","rules":"none"}`
	if got := strings.TrimSpace(string(gatewaytest.Get(t, r.World, "/top?by=live", 200))); got != want {
		t.Errorf("got %s", got)
	}
	if got := string(gatewaytest.Get(t, r.World, "/top?token=x&format=csv&limit=1", 200)); !strings.HasSuffix(got, "\n1,alice,100,50,100,50,100,100,0,\n") {
		t.Errorf("got %s", got)
	}
	var rank httpapi.RankBody
	if err := json.Unmarshal(gatewaytest.Get(t, r.World, "/stats/bob/rank?by=live", 200), &rank); err != nil {
		t.Fatal(err)
	}
	if rank.Rank != 1 || rank.Count != 2 || rank.Share != 160.0/260 || rank.SettledShare != 0 || rank.TotalScore != "260" {
		t.Errorf("%+v", rank)
	}
	for _, by := range []string{"settled", "live"} {
		if got := string(gatewaytest.Get(t, r.World, "/top?token=nobody&by="+by, 200)); !strings.HasPrefix(got, `{"holders":[],"count":0,"total_score":"0"`) {
			t.Errorf("got %s", got)
		}
	}
}

// Pages of one cursor are of one state, whatever changes meanwhile.
func TestCursorsPin(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"settled", "live"} {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			r := gatewaytest.NewRanked(t)
			const now = fakes.TestNow / 1e9
			for i := range 9 {
				r.Take(fakes.Held("x", fmt.Sprint("h", i), now-100, now-50, float64(20-i)), fakes.OpenHold("y", fmt.Sprint("h", i), now-10, float64(i)))
			}
			want := r.Pages("", map[string]holdpb.RankBy{"settled": 0, "live": 1}[by], 100)
			resp, body := gatewaytest.Do(t, http.MethodGet, r.Url+"/top?limit=2&by="+by, "")
			var got []string
			for {
				var page httpapi.TopBody
				if err := json.Unmarshal(body, &page); err != nil {
					t.Fatal(err)
				}
				for _, h := range page.Holders {
					score := h.SettledScore
					if by == "live" {
						score = h.Score
					}
					got = append(got, h.HolderID+" "+score)
				}
				link := resp.Header.Get("Link")
				if page.NextCursor == "" {
					if link != "" {
						t.Error(link)
					}
					break
				}
				// The order turns round, a holder goes and one comes.
				r.Take(fakes.Held("z", fmt.Sprint("h", len(got)), now-1000, now-1, 1e9), fakes.Held("z", fmt.Sprint("new", len(got)), now-1000, now-1, 1e9))
				r.SetClock(r.Now.Load() + 1e9)
				next, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
				if !strings.Contains(next, url.QueryEscape(page.NextCursor)) {
					t.Fatal(link)
				}
				resp, body = gatewaytest.Do(t, http.MethodGet, r.Url+next, "")
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
}

// Who asks with the position of an event finds it ranked.
func TestTopAfter(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	const now = fakes.TestNow / 1e9
	r.Take(fakes.Held("x", "a", now-100, now-50, 1))
	for _, token := range []string{"", "x"} {
		r.Pages(token, 0, 0) // the board is made
	}
	for i := range 5 {
		r.Take(fakes.Held("x", "a", now-int64(i)*1000-1000, now-int64(i)*1000-999, 5), fakes.Held("x", fmt.Sprint("n", i), now-100, now-50, float64(i)+2))
		for _, token := range []string{"", "x"} {
			page, err := r.Query().Top(t.Context(), &holdpb.TopRequest{TokenId: token, After: r.Position})
			if err != nil || page.Count != uint64(i+2) || page.Holders[0].HolderId != fmt.Sprint("n", i) || page.AppliedThrough.GetSeconds() != int64(r.Position) && token == "" {
				t.Fatal(page, err)
			}
			got, err := r.Query().Rank(t.Context(), &holdpb.RankRequest{HolderId: "a", TokenId: token, After: r.Position})
			if err != nil || got.Holder.SettledScore != fmt.Sprint(50+5*(i+1)) {
				t.Fatal(got, err)
			}
		}
	}
}

// Who changes all the time, so that the snapshot is always ahead of the store, is
// not left behind on a token's board.
func TestTokenBoardOfAHolderThatNeverRests(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	const now = fakes.TestNow / 1e9
	r.Take(fakes.Held("x", "a", now-100, now-50, 1))
	r.Pages("x", 0, 0)
	for i := range 3 {
		r.Take(fakes.Held("x", "a", now-int64(i)*1000-1000, now-int64(i)*1000-900, 1))
		r.Position++ // the store is behind already
		r.Publish("a")
		query.ForgetPins(r.Gateway.Reads().Active())
		if got, want := r.Pages("x", 0, 0), fmt.Sprint("a ", 150+100*i); !slices.Equal(got, []string{want}) {
			t.Fatalf("got %v, want %s", got, want)
		}
	}
}

// A cursor of another gateway, or of this one before it was started again, does
// not page through what is here.
func TestCursorOfAnotherGateway(t *testing.T) {
	t.Parallel()
	const now = fakes.TestNow / 1e9
	var cursors []string
	for range 2 {
		r := gatewaytest.NewRanked(t)
		r.Take(fakes.Held("x", "a", now-100, now-50, 1), fakes.Held("x", "b", now-100, now-50, 1))
		page, err := r.Query().Top(t.Context(), &holdpb.TopRequest{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range cursors {
			if page, err := r.Query().Top(t.Context(), &holdpb.TopRequest{Limit: 1, Cursor: other}); status.Code(err) != codes.FailedPrecondition {
				t.Fatal(page, err)
			}
		}
		cursors = append(cursors, page.NextCursor)
	}
}

// A token's board waits with a holder until the store has what its snapshot has.
func TestTokenBoardIsNotAheadOfTheStore(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	const now = fakes.TestNow / 1e9
	r.Take(fakes.Held("x", "a", now-100, now-50, 1))
	r.Pages("x", 0, 0)
	r.Position += 5 // the snapshot is of a position that the store is not at
	r.Publish("a")
	query.ForgetPins(r.Gateway.Reads().Active())
	if got := r.Pages("x", 0, 0); !slices.Equal(got, []string{"a 50"}) {
		t.Fatal(got)
	}
	r.Take(fakes.Held("x", "a", now-300, now-200, 1))
	query.ForgetPins(r.Gateway.Reads().Active())
	if got := r.Pages("x", 0, 0); !slices.Equal(got, []string{"a 150"}) {
		t.Fatal(got)
	}
	if dirty := query.Dirty(r.Gateway.Reads().Active(), "x"); dirty != 0 {
		t.Errorf("%d holders are dirty", dirty)
	}
}

func TestRankingsRefuse(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t, func(w *gatewaytest.World) { w.Cfg.Freshness = 1e6 })
	const now = fakes.TestNow / 1e9
	for i := range 5 {
		r.Take(fakes.Held("x", fmt.Sprint("h", i), now-100, now-50, 1))
	}
	page, err := r.Query().Top(t.Context(), &holdpb.TopRequest{Limit: 2})
	if err != nil {
		t.Fatal(err)
	}
	gone, err := query.CursorOf(page.NextCursor, 999, 1)
	if err != nil {
		t.Fatal(err)
	}
	past, err := query.CursorOf(page.NextCursor, 0, 5)
	if err != nil {
		t.Fatal(err)
	}
	top := func(req *holdpb.TopRequest) error { _, err := r.Query().Top(t.Context(), req); return err }
	rank := func(req *holdpb.RankRequest) error { _, err := r.Query().Rank(t.Context(), req); return err }
	for name, c := range map[string]struct {
		err   error
		code  codes.Code
		field string

		path     string
		status   int
		location string
	}{
		"limit":                {top(&holdpb.TopRequest{Limit: 1001}), codes.InvalidArgument, "limit", "/top?limit=1001", 422, "query.limit"},
		"no limit":             {nil, codes.OK, "", "/top?limit=0", 422, "query.limit"},
		"not a limit":          {nil, codes.OK, "", "/top?limit=ten", 422, "query.limit"},
		"by":                   {top(&holdpb.TopRequest{By: 7}), codes.InvalidArgument, "by", "/top?by=weight", 422, "query.by"},
		"not a cursor":         {top(&holdpb.TopRequest{Cursor: "x"}), codes.InvalidArgument, "cursor", "/top?cursor=x", 422, "query.cursor"},
		"cursor of a token":    {top(&holdpb.TopRequest{Cursor: page.NextCursor, TokenId: "x"}), codes.InvalidArgument, "cursor", "/top?token=x&cursor=" + page.NextCursor, 422, "query.cursor"},
		"cursor of the other":  {top(&holdpb.TopRequest{Cursor: page.NextCursor, By: 1}), codes.InvalidArgument, "cursor", "/top?by=live&cursor=" + page.NextCursor, 422, "query.cursor"},
		"cursor past the end":  {top(&holdpb.TopRequest{Cursor: past}), codes.InvalidArgument, "cursor", "/top?cursor=" + past, 422, "query.cursor"},
		"cursor that is gone":  {top(&holdpb.TopRequest{Cursor: gone}), codes.FailedPrecondition, "cursor", "/top?cursor=" + gone, 410, "query.cursor"},
		"rank of nobody":       {rank(&holdpb.RankRequest{HolderId: "nobody"}), codes.NotFound, "", "/stats/nobody/rank", 404, ""},
		"rank of no one":       {rank(&holdpb.RankRequest{}), codes.InvalidArgument, "holder_id", "/stats//rank", 404, ""},
		"rank by":              {rank(&holdpb.RankRequest{HolderId: "h1", By: 7}), codes.InvalidArgument, "by", "/stats/h1/rank?by=x", 422, "query.by"},
		"rank without token":   {rank(&holdpb.RankRequest{HolderId: "h1", TokenId: "y"}), codes.NotFound, "", "/stats/h1/rank?token=y", 404, ""},
		"a position to come":   {top(&holdpb.TopRequest{After: 900}), codes.DeadlineExceeded, "", "/top?after=900", 504, ""},
		"rank after":           {rank(&holdpb.RankRequest{HolderId: "h1", After: 900}), codes.DeadlineExceeded, "", "/stats/h1/rank?after=900", 504, ""},
		"not a position":       {nil, codes.OK, "", "/top?after=-1", 422, "query.after"},
		"a misspelt parameter": {nil, codes.OK, "", "/top?tokens=x", 422, "query.tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gatewaytest.RefusedByGRPC(t, c.err, c.code, c.field)
			gatewaytest.RefusedByHTTP(t, r.Url+c.path, c.status, c.location)
		})
	}
}

// Pins and token boards are bounded: the ones that nobody asked for longest go.
func TestRankingsAreBounded(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	const now = fakes.TestNow / 1e9
	_, most := query.Boards(r.Gateway.Reads().Active())
	var drafts []hold.Draft
	for i := range 2 * most {
		drafts = append(drafts, fakes.Held(fmt.Sprint("t", i), "a", now-100, now-50, 1), fakes.Held(fmt.Sprint("t", i), "b", now-100, now-50, 1))
	}
	r.Take(drafts...)
	first, err := r.Query().Top(t.Context(), &holdpb.TopRequest{Limit: 1, After: 0})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for i := range 2 * most {
			if got := r.Pages(fmt.Sprint("t", i), 0, 1); len(got) != 2 {
				t.Fatal(got)
			}
			if n, most := query.Boards(r.Gateway.Reads().Active()); n > most {
				t.Errorf("%d boards", n)
			}
		}
		for by := range 2 {
			r.Pages("t0", holdpb.RankBy(by), 1)
		}
	}
	if n, most := query.FillPins(r.Gateway.Reads().Active()); n != most {
		t.Errorf("%d pins", n)
	}
	if _, err := r.Query().Top(t.Context(), &holdpb.TopRequest{Cursor: first.NextCursor}); status.Code(err) != codes.FailedPrecondition && err != nil {
		t.Error(err)
	}
}
