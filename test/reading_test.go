package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdpb "holdmetrics/proto"
)

// answer reads an HTTP answer of a server into v.
func answer(t *testing.T, s *server, path string, v any) {
	t.Helper()
	resp, err := http.Get(s.http + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d, %v: %s", path, resp.StatusCode, err, body)
	}
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("GET %s: %v: %s", path, err, body)
	}
}

// Who has the position of an acknowledged event finds it in every read, by HTTP and
// by gRPC, without waiting longer than for that; and a watcher sees it.
func TestReadYourOwnWrite(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.http+"/stats/watch?live=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	events := bufio.NewScanner(watch.Body)
	for events.Scan() && events.Text() != "event: complete" {
	}
	conn := s.dial()
	query := holdpb.NewHoldMetricsQueryClient(conn)
	for i := range 20 {
		holder, n := fmt.Sprint("h", i%3), 1+i/3
		body := fmt.Sprintf(`{"token_id":"t%d","holder_id":"%s","start":"2023-01-01T00:00:00Z","end":"2023-01-01T00:00:10Z","weight":2}`, i/3, holder)
		resp, err := http.Post(s.http+"/hold", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var accepted struct{ Position uint64 }
		err = json.NewDecoder(resp.Body).Decode(&accepted)
		resp.Body.Close()
		if err != nil || accepted.Position == 0 {
			t.Fatal(accepted, err)
		}
		want := fmt.Sprint(20 * n)
		var stats []struct {
			Score string `json:"score_exact"`
			Live  string `json:"live_score"`
			Thru  string `json:"applied_through"`
		}
		if answer(t, s, fmt.Sprintf("/stats?holders=%s&after=%d", holder, accepted.Position), &stats); stats[0].Score != want || stats[0].Live != want || stats[0].Thru == "" {
			t.Fatalf("after event %d: %+v, want %s", i, stats, want)
		}
		var one struct {
			Score  string
			Tokens []struct{}
		}
		if answer(t, s, fmt.Sprintf("/stats/%s?after=%d", holder, accepted.Position), &one); one.Score != want || len(one.Tokens) != n {
			t.Fatalf("after event %d: %+v, want %s", i, one, want)
		}
		var holds []struct{ Counted string }
		if answer(t, s, fmt.Sprintf("/stats/%s/holds?after=%d", holder, accepted.Position), &holds); len(holds) != n || holds[0].Counted != "20" {
			t.Fatalf("after event %d: %+v", i, holds)
		}
		for _, token := range []string{"", fmt.Sprint("t", i/3)} {
			rank, err := query.Rank(ctx, &holdpb.RankRequest{HolderId: holder, TokenId: token, After: accepted.Position})
			if err != nil {
				t.Fatal(err)
			}
			if token != "" {
				want = "20"
			}
			if rank.Holder.SettledScore != want {
				t.Fatalf("after event %d, token %q: %v, want %s", i, token, rank, want)
			}
		}
		seen := false
		for !seen && events.Scan() {
			seen = strings.HasPrefix(events.Text(), "data: {") && strings.Contains(events.Text(), fmt.Sprintf(`"position":%d,`, accepted.Position))
		}
		if !seen {
			t.Fatalf("the watcher did not see event %d: %v", i, events.Err())
		}
	}
	var top struct {
		Holders []struct {
			Rank   uint64
			Holder string `json:"holder_id"`
		}
		Count int
	}
	if answer(t, s, "/top?limit=2", &top); top.Count != 3 || top.Holders[0].Holder != "h0" || top.Holders[1].Rank != 2 {
		t.Errorf("%+v", top)
	}
	var history []struct{ Score string }
	if answer(t, s, "/stats/h0/history?points=3&from=2023-01-01T00:00:00Z&to=2023-01-01T00:00:10Z", &history); len(history) != 3 || history[1].Score != "70" || history[2].Score != "140" {
		t.Errorf("%+v", history)
	}
	var system struct {
		Partitions []struct{ Owner, State string }
		Workers    []struct{ Partitions []int }
		Events     uint64
		Watchers   int
	}
	if answer(t, s, "/status", &system); len(system.Partitions) != 16 || len(system.Workers) != 1 || system.Events != 20 || system.Watchers != 1 {
		t.Errorf("%+v", system)
	}
}

// A server that is asked to stop does so while clients watch; they get an error that says so.
func TestStopWhileWatched(t *testing.T) {
	t.Parallel()
	s := start(t, t.TempDir())
	watch, err := http.Get(s.http + "/stats/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	stream, err := holdpb.NewHoldMetricsClient(s.dial()).Stats(t.Context(), &holdpb.StatsRequest{Watch: true})
	if err != nil {
		t.Fatal(err)
	}
	if mark, err := stream.Recv(); err != nil || !mark.Complete {
		t.Fatal(mark, err)
	}
	s.stop()
	if _, err := io.ReadAll(watch.Body); err != nil {
		t.Errorf("the events did not end as an answer does: %v", err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Error(err)
	}
}
