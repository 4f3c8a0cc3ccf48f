package gateway_test

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
	holdpb "holdmetrics/proto"
)

// Windows, tokens and shares, by both APIs.
func TestScoresOfWindows(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	const alice, bob = " alice 1250 500 0 0", " bo/b 500 500 0 0"
	for name, c := range map[string]struct {
		req   *holdpb.ScoresRequest
		query string
		want  []string
	}{
		"window": {&holdpb.ScoresRequest{From: fakes.Seconds(1500), To: fakes.Seconds(2000)}, "from=1500&to=2000", []string{
			" alice 1250 500 2500 1000", bob, " lock 1000 500 0 0", " waits 0 0 0 0",
		}},
		"window within a hold": {&holdpb.ScoresRequest{From: fakes.Seconds(1400), To: fakes.Seconds(1900), HolderId: "alice"}, "from=1400&to=1900&holder=alice", []string{alice}},
		"from as of":           {&holdpb.ScoresRequest{From: fakes.Seconds(1400), AsOf: fakes.Seconds(1900), HolderId: "alice"}, "from=1400&as_of=1900&holder=alice", []string{alice}},
		"empty window":         {&holdpb.ScoresRequest{From: fakes.Seconds(1500), To: fakes.Seconds(1500), HolderId: "alice"}, "from=1500&to=1500&holder=alice", []string{" alice 0 0 0 0"}},
		"until now":            {&holdpb.ScoresRequest{From: fakes.Seconds(3000), HolderId: "bo/b"}, "from=3000&holder=bo/b", []string{" bo/b 10000 1000 21000 3000"}},
		"of a token":           {&holdpb.ScoresRequest{To: fakes.Seconds(2000), TokenId: "y"}, "to=2000&token=y", []string{" alice 300 100 300 100"}},
		"of a token, by token": {&holdpb.ScoresRequest{To: fakes.Seconds(2000), TokenId: "y", ByToken: true}, "to=2000&token=y&by_token=true", []string{"y alice 300 100 300 100"}},
		"a token of one":       {&holdpb.ScoresRequest{To: fakes.Seconds(2000), TokenId: "x", HolderId: "alice"}, "to=2000&token=x&holder=alice", []string{" alice 2500 1000 2500 1000"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, err := gatewaytest.AllOf(t, w, c.req)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rows {
				got = append(got, strings.Join([]string{r.TokenId, r.HolderId, r.Score, r.HeldSeconds, r.SettledScore, r.SettledHeldSeconds}, " "))
				if (r.From == nil) != (c.req.From == nil) || r.AppliedThrough.GetSeconds() != 1_650_000_000 {
					t.Errorf("from %v, applied through %v", r.From, r.AppliedThrough)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("gRPC: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			got = nil
			for _, r := range gatewaytest.Lines[httpapi.ScoreRow](t, gatewaytest.Get(t, w, "/scores?format=ndjson&"+c.query, 200)) {
				token := r.TokenID
				if c.req.TokenId != "" && !c.req.ByToken {
					if token != c.req.TokenId {
						t.Errorf("token %q", token)
					}
					token = ""
				}
				got = append(got, strings.Join([]string{token, r.HolderID, r.Score, r.HeldSeconds, r.SettledScore, r.SettledHeldSeconds}, " "))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("HTTP: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	// As of 2000: alice 2800, bo/b 1000, lock 2000; of x 3500.
	rows, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{To: fakes.Seconds(2000), Share: true})
	if err != nil || len(rows) != 4 || rows[0].Share != 2800.0/5800 || rows[0].TotalScore != "5800" || rows[0].SettledShare != 1 || rows[3].Share != 0 {
		t.Fatal(rows, err)
	}
	rows, err = gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{To: fakes.Seconds(2000), Share: true, HolderId: "alice", ByToken: true})
	if err != nil || len(rows) != 2 || rows[0].TotalScore != "3500" || rows[1].TotalScore != "300" || rows[0].Share != 2500.0/3500 {
		t.Fatal(rows, err)
	}
	rows, err = gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{To: fakes.Seconds(2000), Share: true, TokenId: "z", ByToken: true})
	if err != nil || len(rows) != 1 || rows[0].Share != 1 || rows[0].SettledShare != 0 || rows[0].TotalSettledScore != "0" {
		t.Fatal(rows, err)
	}
	var body httpapi.HolderBody
	if err := json.Unmarshal(gatewaytest.Get(t, w, "/stats/alice?to=2000&share=true", 200), &body); err != nil {
		t.Fatal(err)
	}
	if *body.Share != 2800.0/5800 || *body.Tokens[0].Share != 2500.0/3500 || body.Tokens[1].TotalScore != "300" {
		t.Fatalf("%+v", body)
	}
	if got := string(gatewaytest.Get(t, w, "/scores?to=2000&share=true&holder=lock&format=csv", 200)); got !=
		"holder_id,token_id,score,held_seconds,settled_score,settled_held_seconds,score_double,settled_score_double,total_score,total_settled_score,share,settled_share,as_of,from,applied_through,rules,generation,projected,weight,rate,share_exact,settled_share_exact\n"+
			"lock,,2000,1000,0,0,2000,0,5800,2800,0.3448275862068966,0,1970-01-01T00:33:20Z,,2022-04-15T05:20:00Z,none,,false,2,2,0.344827586206896551,0\n" {
		t.Fatal(got)
	}
}

func TestExplainByBothAPIs(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	for name, c := range map[string]struct {
		req         *holdpb.ExplainRequest
		path, query string
		want        []string
	}{
		"overlap": {&holdpb.ExplainRequest{HolderId: "bo/b", AsOf: fakes.Seconds(2001)}, "bo%2Fb", "as_of=2001", []string{"x 1000 4000 1 1001 1000 1", "x 2000 4000 10 10 10 0"}},
		"window":  {&holdpb.ExplainRequest{HolderId: "bo/b", From: fakes.Seconds(1999), To: fakes.Seconds(2001)}, "bo%2Fb", "from=1999&to=2001", []string{"x 1000 4000 1 2 1 1", "x 2000 4000 10 10 10 0"}},
		"open":    {&holdpb.ExplainRequest{HolderId: "alice", TokenId: "y", To: fakes.Seconds(6000)}, "alice", "token=y&to=6000", []string{"y 1000 1100 3 300 300 0", "y 5000 0 1 1000 1000 0"}},
		"tokens":  {&holdpb.ExplainRequest{HolderId: "alice", To: fakes.Seconds(2000)}, "alice", "to=2000", []string{"x 1000 2000 2.5 2500 2500 0", "y 1000 1100 3 300 300 0"}},
		"nothing": {&holdpb.ExplainRequest{HolderId: "waits"}, "waits", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, err := gatewaytest.Received(w.Query().Explain(t.Context(), c.req))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rows {
				got = append(got, fmt.Sprint(r.TokenId, " ", r.Start.GetSeconds(), " ", r.End.GetSeconds(), " ", r.Weight, " ", r.Alone, " ", r.Counted, " ", r.Removed))
				if r.Policy != "merge" || r.AsOf == nil || r.AppliedThrough == nil {
					t.Errorf("%v", r)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("gRPC: got %q\nwant %q", got, c.want)
			}
			got = nil
			for _, r := range gatewaytest.Lines[httpapi.ContributionRow](t, gatewaytest.Get(t, w, "/stats/"+c.path+"/holds?format=ndjson&"+c.query, 200)) {
				end := int64(0)
				if r.End != nil {
					end = r.End.Unix()
				}
				got = append(got, fmt.Sprint(r.TokenID, " ", r.Start.Unix(), " ", end, " ", r.Weight, " ", r.Alone, " ", r.Counted, " ", r.Removed))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("HTTP: got %q\nwant %q", got, c.want)
			}
		})
	}
	if got := gatewaytest.Get(t, w, "/stats/waits/holds", 200); string(got) != "[]\n" {
		t.Errorf("%s", got)
	}
}

func TestHistoryByBothAPIs(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	points, err := gatewaytest.Received(w.Query().History(t.Context(), &holdpb.HistoryRequest{HolderId: "bo/b", To: fakes.Seconds(4000), Points: 4}))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range points {
		got = append(got, fmt.Sprint(p.AsOf.GetSeconds(), " ", p.Score, " ", p.SettledScore))
	}
	if want := []string{"1000 0 0", "2000 1000 0", "3000 11000 0", "4000 21000 21000"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	body := string(gatewaytest.Get(t, w, "/stats/alice/history?token=y&from=999&to=1001&points=3&format=csv", 200))
	want := "as_of,score,held_seconds,settled_score,settled_held_seconds,score_double,settled_score_double,applied_through,rules,generation,weight,rate,projected\n" +
		"1970-01-01T00:16:39Z,0,0,0,0,0,0,2022-04-15T05:20:00Z,none,,0,0,false\n1970-01-01T00:16:40Z,0,0,0,0,0,0,2022-04-15T05:20:00Z,none,,3,3,false\n1970-01-01T00:16:41Z,3,1,0,0,3,0,2022-04-15T05:20:00Z,none,,3,3,false\n"
	if body != want {
		t.Errorf("got %s", body)
	}
	if got := gatewaytest.Lines[httpapi.PointRow](t, gatewaytest.Get(t, w, "/stats/lock/history?format=ndjson", 200)); len(got) != query.DefaultPoints || got[0].AsOf.Unix() != 1000 || !got[99].AsOf.Equal(time.Unix(0, fakes.TestNow)) {
		t.Errorf("%d points", len(got))
	}
	// The last instant is exact however far it is away from the first.
	rows, err := gatewaytest.Received(w.Query().History(t.Context(), &holdpb.HistoryRequest{HolderId: "alice", From: fakes.Seconds(0), To: fakes.Timestamp(hold.MaxTime), Points: query.MaxPoints, Projected: true}))
	if err != nil || len(rows) != query.MaxPoints || rows[query.MaxPoints-1].AsOf.AsTime().UnixNano() != hold.MaxTime {
		t.Error(len(rows), err)
	}
}

// Both APIs report the same error for a wrong read, and name the field.
func TestReadsRefuse(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	early, late := fakes.Seconds(5), fakes.Seconds(4)
	nothing := func(err error) error { return err }
	scores := func(r *holdpb.ScoresRequest) error { _, err := gatewaytest.AllOf(t, w, r); return nothing(err) }
	explain := func(r *holdpb.ExplainRequest) error {
		_, err := gatewaytest.Received(w.Query().Explain(t.Context(), r))
		return err
	}
	history := func(r *holdpb.HistoryRequest) error {
		_, err := gatewaytest.Received(w.Query().History(t.Context(), r))
		return err
	}
	for name, c := range map[string]struct {
		err   error
		code  codes.Code
		field string

		path     string
		status   int
		location string
	}{
		"from after to":    {scores(&holdpb.ScoresRequest{From: early, To: late}), codes.InvalidArgument, "from", "/scores?from=5&to=4", 422, "query.from"},
		"from after now":   {scores(&holdpb.ScoresRequest{From: fakes.Seconds(fakes.TestNow/1e9 + 1)}), codes.InvalidArgument, "from", fmt.Sprint("/scores?from=", fakes.TestNow/1e9+1), 422, "query.from"},
		"as_of beside to":  {scores(&holdpb.ScoresRequest{AsOf: early, To: late}), codes.InvalidArgument, "to", "/stats/alice?as_of=5&to=4", 422, "query.to"},
		"bad from":         {scores(&holdpb.ScoresRequest{From: &timestamppb.Timestamp{Nanos: -1}}), codes.InvalidArgument, "from", "/stats/alice/holds?from=x", 422, "query.from"},
		"bad to":           {scores(&holdpb.ScoresRequest{To: fakes.Seconds(-1)}), codes.InvalidArgument, "to", "/scores?to=-1", 422, "query.to"},
		"now and a time":   {scores(&holdpb.ScoresRequest{AsOf: early, AsOfNow: true}), codes.InvalidArgument, "as_of_now", "/scores?as_of=now&to=4", 422, "query.to"},
		"future":           {scores(&holdpb.ScoresRequest{AsOf: fakes.Timestamp(fakes.TestNow + 1)}), codes.InvalidArgument, "as_of", fmt.Sprint("/stats/alice?as_of=", fakes.TestNow/1e9+1), 422, "query.as_of"},
		"future window":    {scores(&holdpb.ScoresRequest{From: late, To: fakes.Timestamp(fakes.TestNow + 1)}), codes.InvalidArgument, "to", fmt.Sprint("/stats?from=4&to=", fakes.TestNow/1e9+1), 422, "query.to"},
		"future explained": {explain(&holdpb.ExplainRequest{HolderId: "alice", To: fakes.Timestamp(fakes.TestNow + 1)}), codes.InvalidArgument, "to", fmt.Sprint("/stats/alice/history?to=", fakes.TestNow/1e9+1), 422, "query.to"},
		"digits":           {scores(&holdpb.ScoresRequest{Share: true, Digits: proto.Uint32(1001)}), codes.InvalidArgument, "digits", "/scores?share=true&digits=1001", 422, "query.digits"},
		"digits of none":   {scores(&holdpb.ScoresRequest{Digits: proto.Uint32(3)}), codes.InvalidArgument, "digits", "/stats/alice?digits=3", 422, "query.digits"},
		"unknown token":    {scores(&holdpb.ScoresRequest{HolderId: "alice", TokenId: "q"}), codes.NotFound, "", "/scores?holder=alice&token=q", 404, ""},
		"unknown holder":   {scores(&holdpb.ScoresRequest{HolderId: "nobody", Share: true}), codes.NotFound, "", "/stats/nobody?share=true", 404, ""},
		"bad format":       {nil, codes.OK, "", "/scores?format=xml", 422, "query.format"},
		"explain nobody":   {explain(&holdpb.ExplainRequest{HolderId: "nobody"}), codes.NotFound, "", "/stats/nobody/holds", 404, ""},
		"explain no one":   {explain(&holdpb.ExplainRequest{}), codes.InvalidArgument, "holder_id", "/stats//holds", 404, ""},
		"explain window":   {explain(&holdpb.ExplainRequest{HolderId: "alice", From: early, To: late}), codes.InvalidArgument, "from", "/stats/alice/holds?from=5&to=4", 422, "query.from"},
		"explain token":    {explain(&holdpb.ExplainRequest{HolderId: "alice", TokenId: "q"}), codes.NotFound, "", "/stats/alice/holds?token=q", 404, ""},
		"history nobody":   {history(&holdpb.HistoryRequest{HolderId: "nobody"}), codes.NotFound, "", "/stats/nobody/history", 404, ""},
		"history token":    {history(&holdpb.HistoryRequest{HolderId: "alice", TokenId: "q"}), codes.NotFound, "", "/stats/alice/history?token=q", 404, ""},
		"one point":        {history(&holdpb.HistoryRequest{HolderId: "alice", Points: 1}), codes.InvalidArgument, "points", "/stats/alice/history?points=1", 422, "query.points"},
		"too many points":  {history(&holdpb.HistoryRequest{HolderId: "alice", Points: 1001}), codes.InvalidArgument, "points", "/stats/alice/history?points=1001", 422, "query.points"},
		"zero points":      {nil, codes.OK, "", "/stats/alice/history?points=0", 422, "query.points"},
		"history backward": {history(&holdpb.HistoryRequest{HolderId: "alice", From: early, To: late}), codes.InvalidArgument, "from", "/stats/alice/history?from=5&to=4", 422, "query.from"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gatewaytest.RefusedByGRPC(t, c.err, c.code, c.field)
			gatewaytest.RefusedByHTTP(t, w.Url+c.path, c.status, c.location)
		})
	}
}

// Reads of one holder wait for a position no longer than they may.
func TestHolderReadsOfAStoreThatStaysBehind(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Freshness = time.Millisecond
		w.Cfg.Log = &fakes.Log{Size: 1, Ends: map[int]uint64{0: 5}}
		w.Cfg.WaitApplied = func(ctx context.Context, _ int, _ uint64) error { <-ctx.Done(); return ctx.Err() }
	})
	for _, path := range []string{"/stats/alice/holds?after=900", "/stats/alice/history?after=900", "/scores?after=900", "/stats/alice"} {
		resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+path, "")
		if p := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != 504 || !strings.Contains(p.Detail, "hint") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	if _, err := gatewaytest.Received(w.Query().Explain(t.Context(), &holdpb.ExplainRequest{HolderId: "alice", After: 900})); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	if _, err := gatewaytest.Received(w.Query().History(t.Context(), &holdpb.HistoryRequest{HolderId: "alice", After: 900})); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
}

// A holder of more tokens than are kept in memory is answered whole, in order.
func TestGetHolderOfManyTokens(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	var events []hold.Draft
	const n = 3*256 + 7
	for i := range n {
		events = append(events, fakes.Held(fmt.Sprintf("t%05d", i), "h", 100, 200, 1))
	}
	w.Apply(t, 1, 1e9, events...)
	var body httpapi.HolderBody
	if err := json.Unmarshal(gatewaytest.Get(t, w, "/stats/h", 200), &body); err != nil {
		t.Fatal(err)
	}
	if len(body.Tokens) != n || body.Score != fmt.Sprint(100*n) {
		t.Fatalf("%d tokens, score %s", len(body.Tokens), body.Score)
	}
	for i, token := range body.Tokens {
		if token.TokenID != fmt.Sprintf("t%05d", i) || token.Score != "100" {
			t.Fatalf("token %d: %+v", i, token)
		}
	}
	rows, err := csv.NewReader(strings.NewReader(string(gatewaytest.Get(t, w, "/scores?holder=h&by_token=true&format=csv", 200)))).ReadAll()
	if err != nil || len(rows) != n+1 {
		t.Fatal(len(rows), err)
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	owned := &gatewaytest.Owners{Others: []query.WorkerStatus{{ID: "idle", Host: "h", Started: time.Unix(1, 0).UTC(), Heard: time.Unix(2, 0).UTC(), Leaving: true}}, Owned: []query.PartitionStatus{
		{Partition: 0, Owner: "a", State: "running", Moving: true, Position: 9, Stored: 7, Published: 8, LogTime: 5e9, Events: 3, Excluded: 2},
		{Partition: 1, Owner: "b", State: "catching up", Position: 4, Pending: 6, LogTime: 1_699_999_000e9, Events: 4, Rejected: 1, LastError: "disk",
			Lag: func(end uint64) (uint64, uint64) { return 10 * end, end }},
		{Partition: 2, Owner: "a", State: "running", Position: 1, Epoch: 2},
	}}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Owners, w.Cfg.Version = owned, "v1"
		w.Cfg.Snapshots = fakes.ReadySnapshots(gatewaytest.TestStats()...)
		w.Cfg.Log = &fakes.Log{Size: 3, Ends: map[int]uint64{0: 9, 1: 30, 2: 31}}
	})
	want := `{"partitions":[{"partition":0,"owner":"a","state":"running","moving":true,"epoch":0,"position":9,"stored":7,"published":8,"end":9,"lag":0,"lag_events":0,"lag_events_estimated":0,"lag_seconds":0,"events":3,"rejected":0,"excluded":2,"applied_through":"1970-01-01T00:00:05Z"},` +
		`{"partition":1,"owner":"b","state":"catching up","moving":false,"epoch":0,"position":4,"stored":0,"published":0,"end":30,"lag":6,"lag_events":300,"lag_events_estimated":30,"lag_seconds":1000,"events":4,"rejected":1,"applied_through":"2023-11-14T21:56:40Z","trouble":"disk"},` +
		`{"partition":2,"owner":"a","state":"running","moving":false,"epoch":2,"position":1,"stored":0,"published":0,"end":31,"lag":1,"lag_events":1,"lag_events_estimated":1,"events":0,"rejected":0}],` +
		`"workers":[{"id":"idle","partitions":[],"host":"h","started":"1970-01-01T00:00:01Z","heard":"1970-01-01T00:00:02Z","leaving":true},{"id":"a","partitions":[0,2]},{"id":"b","partitions":[1]}],"holders":2,"events":7,"lag":7,"lag_events":301,"lag_events_estimated":31,"lag_seconds":1000,"watchers":0,"at":"2023-11-14T22:13:20Z","version":"v1","rules":"none"}`
	if got := strings.TrimSpace(string(gatewaytest.Get(t, w, "/status", 200))); got != want {
		t.Errorf("got %s", got)
	}
	answer, err := w.Query().Status(t.Context(), &holdpb.Empty{})
	if err != nil || len(answer.Partitions) != 3 || answer.Partitions[1].Trouble != "disk" || answer.Partitions[0].Excluded != 2 || answer.Lag != 7 || len(answer.Workers) != 3 || answer.Workers[1].Partitions[1] != 2 || !answer.Workers[0].Leaving || !answer.Partitions[0].Moving {
		t.Error(answer, err)
	}
	if p := answer.Partitions[1]; p.LagEvents != 300 || p.LagEventsEstimated != 30 || p.LagSeconds != 1000 || answer.LagEvents != 301 || answer.LagEventsEstimated != 31 || answer.LagSeconds != 1000 {
		t.Error(answer)
	}
	owned.Err = errors.New("no leases")
	if _, err := w.Query().Status(t.Context(), &holdpb.Empty{}); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
	gatewaytest.Get(t, w, "/status", 503)
}

// A read that gives up names the partition, the position that it wanted, the one that
// was reached, and what was last heard of the partition.
func TestReadsNameWhatStandsStill(t *testing.T) {
	t.Parallel()
	owners := &gatewaytest.Owners{}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Freshness, w.Cfg.PrepareStall = 20*time.Millisecond, 20*time.Millisecond
		w.Cfg.Log = &fakes.Log{Size: 4, Ends: map[int]uint64{0: 9, 1: 9, 2: 9, 3: 9}}
		w.Cfg.WaitApplied = func(ctx context.Context, _ int, _ uint64) error { <-ctx.Done(); return ctx.Err() }
		w.Cfg.Owners = owners
	})
	w.Apply(t, 5, 5e9, fakes.Held("x", "alice", 1000, 2000, 1))
	p := w.Partition("alice")
	owners.Owned = []query.PartitionStatus{{Partition: p, Owner: "w1", State: "running", Position: 6, LastError: "disk full"}}
	// A busy machine may need longer than PrepareStall for the first load.
	testwait.Poll(t, "the snapshots are loaded", func() error {
		if resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+"/stats?holder=alice", ""); resp.StatusCode == 503 {
			return fmt.Errorf("%d %s", resp.StatusCode, body)
		}
		return nil
	})
	for path, want := range map[string]string{
		"/stats/alice?after=7":         fmt.Sprintf("position 7 of partition %d was not applied within 20ms, it is at 5; last heard: worker w1: running, applied 6: disk full (hint", p),
		"/stats/alice":                 fmt.Sprintf("position 9 of partition %d was not applied within 20ms, it is at 5; last heard: worker w1", p),
		"/stats?holder=alice&after=7":  fmt.Sprintf("position 7 of partition %d was not applied within 20ms, it is at 0; last heard: worker w1", p),
		"/stats?holder=alice&after=10": "the log did not get to position 10 within",
	} {
		resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+path, "")
		if problem := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != 504 || !strings.Contains(problem.Detail, want) {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

// A first load that stands still does not hold up a request for ever.
func TestFirstLoadThatStandsStill(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(gatewaytest.TestStats()...)
	snapshots.Ready = make(chan struct{})
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.PrepareStall = 20 * time.Millisecond
		w.Cfg.Snapshots = snapshots
		w.Cfg.Ready = func(context.Context) error { return errors.New("the broker is away") }
	})
	for _, path := range []string{"/stats", "/stats/watch", "/top"} {
		resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+path, "")
		if problem := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != 503 || !strings.Contains(problem.Detail, "2 holders so far: no progress for 20ms: last heard: the broker is away") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
}

// TestInstants: what is held at an instant and what it earns, shares by every token as
// exact decimals, and times in the future.
func TestInstants(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	future := fakes.TestNow + int64(1000*time.Second)
	for _, c := range []struct {
		name string
		req  *holdpb.ScoresRequest
		want []string // holder, token, weight, rate, exact shares, projected
	}{
		{"as of", &holdpb.ScoresRequest{HolderId: "bo/b", AsOf: fakes.Seconds(2001)}, []string{"bo/b  10 10   false"}},
		{"by token", &holdpb.ScoresRequest{HolderId: "bo/b", AsOf: fakes.Seconds(2001), ByToken: true}, []string{"bo/b x 10 10   false"}},
		{"a window", &holdpb.ScoresRequest{HolderId: "bo/b", From: fakes.Seconds(1), To: fakes.Seconds(2001)}, []string{"bo/b      false"}},
		{"now", &holdpb.ScoresRequest{HolderId: "lock"}, []string{"lock  2 2   false"}},
		{"digits", &holdpb.ScoresRequest{HolderId: "lock", AsOf: fakes.Seconds(2000), Share: true, Digits: proto.Uint32(3)}, []string{"lock  2 2 0.344 0 false"}},
		{"no digits", &holdpb.ScoresRequest{HolderId: "lock", AsOf: fakes.Seconds(2000), Share: true, Digits: proto.Uint32(0)}, []string{"lock  2 2 0 0 false"}},
		{"every token", &holdpb.ScoresRequest{Share: true, ByToken: true}, []string{
			"alice x 0 0 0.106382978723404255 0.106382978723404255 false", "alice y 1 1 1 1 false",
			"bo/b x 0 0 0.893617021276595744 0.893617021276595744 false", "lock z 2 2 1 1 false", "waits x 0 0 0 0 false"}},
		{"projected", &holdpb.ScoresRequest{HolderId: "alice", AsOf: fakes.Timestamp(future), Projected: true}, []string{"alice  1 1   true"}},
		{"allowed, but past", &holdpb.ScoresRequest{HolderId: "bo/b", AsOf: fakes.Seconds(2001), Projected: true}, []string{"bo/b  10 10   false"}},
	} {
		rows, err := gatewaytest.Received(w.Query().Scores(t.Context(), c.req))
		if err != nil {
			t.Fatal(c.name, err)
		}
		var got []string
		for _, r := range rows {
			got = append(got, fmt.Sprint(r.HolderId, " ", r.TokenId, " ", r.Weight, " ", r.Rate, " ", r.ShareExact, " ", r.SettledShareExact, " ", r.Projected))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
	}
	for path, want := range map[string]string{
		"/scores?holder=bo%2Fb&as_of=2001":                                           `"weight":"10","rate":"10"`,
		"/stats?holder=bo%2Fb&as_of=2001":                                            `"weight":"10","rate":"10"`,
		"/stats/lock?as_of=2000&share=true&digits=3":                                 `"share_exact":"0.344"`,
		fmt.Sprint("/stats/alice?projected=true&as_of=", future/1e9):                 `"projected":true`,
		fmt.Sprint("/stats?holder=alice&projected=true&as_of=", future/1e9):          `"projected":true`,
		fmt.Sprint("/stats/alice/holds?projected=true&to=", future/1e9):              `"projected":true`,
		fmt.Sprint("/stats/alice/history?projected=true&points=2&to=", future/1e9):   `"projected":true`,
		fmt.Sprint("/scores?projected=true&from=5&to=", future/1e9, "&holder=alice"): `"projected":true`,
		"/scores?holder=bo%2Fb&as_of=1970-01-02":                                     `"as_of":"1970-01-02T00:00:00Z"`,
		"/scores?holder=alice&as_of=now":                                             `"as_of":"` + query.TimeOf(fakes.TestNow).Format(time.RFC3339Nano) + `"`,
		"/scores?holder=alice&from=5&to=now":                                         `"as_of":"` + query.TimeOf(fakes.TestNow).Format(time.RFC3339Nano) + `"`,
	} {
		if body := string(gatewaytest.Get(t, w, path, 200)); !strings.Contains(body, want) {
			t.Errorf("%s: %s", path, body)
		}
	}
}
