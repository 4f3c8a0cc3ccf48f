package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway"
	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/ingest"
	holdpb "holdmetrics/proto"
)

func TestPostHold(t *testing.T) {
	t.Parallel()
	const good = `{"token_id":"t","holder_id":"h","start":"2023-01-01T00:00:00Z","weight":0}`
	for name, c := range map[string]struct {
		body   string
		err    error
		status int
		field  string
	}{
		"good":      {good, nil, 202, ""},
		"unix time": {`{"token_id":"t","holder_id":"h","start":1600000000.123456789,"end":"1600000001","weight_exact":"1.5","hold_id":"i","revision":3}`, nil, 202, ""},
		// An end may equal its start, and not be before it: a time without a zone is that in UTC.
		"start without a zone": {`{"token_id":"t","holder_id":"h","start":"2021-01-01 00:00:00","end":"2021-01-01T00:00:00Z"}`, nil, 202, ""},
		"end without a zone":   {`{"token_id":"t","holder_id":"h","start":"2021-01-01T00:00:00Z","end":"2021-01-01T00:00:00"}`, nil, 202, ""},
		"an end too early":     {`{"token_id":"t","holder_id":"h","start":"2021-01-01T00:00:00.000000001Z","end":"2021-01-01T00:00:00"}`, nil, 422, "body.end"},
		"stop":                 {`{"token_id":"t","holder_id":"h","end":1600000000}`, nil, 202, ""},
		"retract by id":        {`{"token_id":"t","holder_id":"h","hold_id":"i","retract":true}`, nil, 202, ""},
		"no token":             {`{"holder_id":"h","start":1}`, nil, 422, "body.token_id"},
		"end before start":     {`{"token_id":"t","holder_id":"h","start":5,"end":4}`, nil, 422, "body.end"},
		"bad time":             {`{"token_id":"t","holder_id":"h","start":"yesterday"}`, nil, 422, "body.start"},
		"negative weight":      {`{"token_id":"t","holder_id":"h","start":5,"weight":-1}`, nil, 422, "body.weight"},
		"bad weight_exact":     {`{"token_id":"t","holder_id":"h","start":5,"weight_exact":"1e3"}`, nil, 422, "body.weight_exact"},
		"bad revision":         {`{"token_id":"t","holder_id":"h","start":5,"revision":-1}`, nil, 422, "body.revision"},
		"unknown field":        {`{"token_id":"t","holder_id":"h","start":5,"wieght":1}`, nil, 422, "body.wieght"},
		"not JSON":             {`{"token_id":`, nil, 422, ""},
		"an array":             {`[` + good + `]`, nil, 422, ""},
		"no body":              {``, nil, 422, ""},
		"as long as it may":    {good + strings.Repeat(" ", httpapi.MaxBodyBytes-len(good)), nil, 202, ""},
		"too long":             {good + strings.Repeat(" ", httpapi.MaxBodyBytes-len(good)+1), nil, 413, ""},
		"busy":                 {good, ingest.ErrBusy, 429, ""},
		"closed":               {good, ingest.ErrClosed, 503, ""},
		"log is away":          {good, &ingest.NotAcknowledgedError{Cause: errors.New("no responders")}, 503, ""},
		"unknown":              {good, errors.New("bug"), 500, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Producer = &fakes.Producer{Err: c.err} })
			resp, body := gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", c.body)
			if resp.StatusCode != c.status {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
			if c.status == 202 {
				if got := strings.TrimSpace(string(body)); got != `{"status":"accepted","position":1}` {
					t.Fatal(got)
				}
				return
			}
			p := gatewaytest.ProblemOf(t, resp, body)
			if c.field == "" != (len(p.Errors) == 0) || c.field != "" && p.Errors[0].Location != c.field {
				t.Errorf("problem %s", body)
			}
			if retry := resp.Header.Get("Retry-After"); (retry != "") != (c.status == 429 || c.status == 503) {
				t.Errorf("Retry-After %q", retry)
			}
		})
	}
}

func TestPostHoldReachesTheLog(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, gatewaytest.RealLog(t))
	resp, body := gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", `{"token_id":"t","holder_id":"h","start":5,"weight_exact":"0.000000000000000001"}`)
	if resp.StatusCode != 202 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	events := gatewaytest.ReadLog(t, w.Cfg.Log.(*ingest.Log))
	if len(events) != 1 || !bytes.Contains(events[0], []byte("0.000000000000000001")) {
		t.Fatalf("%q", events)
	}
}

func TestGetStats(t *testing.T) {
	t.Parallel()
	if got := gatewaytest.Get(t, gatewaytest.NewWorld(t), "/stats", 200); string(got) != "[]\n" {
		t.Fatalf("empty: %q", got)
	}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = fakes.ReadySnapshots(gatewaytest.TestStats()...) })
	want := `[{"holder_id":"alice","weighted_score":25,"total_seconds":10,"score_exact":"25","held_exact":"10","live_score":"4250000012.5","live_score_double":4250000012.5,"live_held":"0","live_base":"25","live_rate":"2.5","live_held_base":"0","live_held_rate":0,"since":"1970-01-01T00:00:05Z","as_of":"2023-11-14T22:13:20Z","updated_at":"1970-01-01T00:00:05Z","applied_through":"1970-01-01T00:00:05Z","position":7,"waiting":0},` +
		`{"holder_id":"a/b","weighted_score":1,"total_seconds":1,"score_exact":"1","held_exact":"0","live_score":"0","live_score_double":0,"live_held":"0","live_base":"0","live_rate":"0","live_held_base":"0","live_held_rate":0,"as_of":"2023-11-14T22:13:20Z","position":0,"waiting":0}]` + "\n"
	if got := gatewaytest.Get(t, w, "/stats", 200); string(got) != want {
		t.Fatalf("got %s", got)
	}
	w = gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		s := fakes.ReadySnapshots()
		s.Err = errors.New("closed")
		w.Cfg.Snapshots = s
	})
	resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+"/stats", "")
	if gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != 503 {
		t.Fatal(resp.Status)
	}
}

func TestGetHolder(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	const bob = `{"holder_id":"bo/b","weighted_score":0,"total_seconds":0,"score":"1010","held_seconds":"1001","settled_score":"0","settled_held_seconds":"0","score_double":1010,"settled_score_double":0,` +
		`"as_of":"1970-01-01T00:33:21Z","applied_through":"2022-04-15T05:20:00Z","rules":"none","weight":"10","rate":"10","tokens":[{"token_id":"x","score":"1010","held_seconds":"1001","settled_score":"0","settled_held_seconds":"0","score_double":1010,"settled_score_double":0,"weight":"10","rate":"10"}]}`
	for _, asOf := range []string{"2001", "1970-01-01T00:33:21Z", "2001.000000000"} {
		if got := gatewaytest.Get(t, w, "/stats/bo%2Fb?as_of="+asOf, 200); strings.TrimSpace(string(got)) != bob {
			t.Errorf("as of %s: %s", asOf, got)
		}
	}
	var alice httpapi.HolderBody
	if err := json.Unmarshal(gatewaytest.Get(t, w, "/stats/alice", 200), &alice); err != nil {
		t.Fatal(err)
	}
	if alice.WeightedScore != 2800 || alice.TotalSeconds != 1100 || len(alice.Tokens) != 2 || alice.Tokens[1].TokenID != "y" || !alice.AsOf.Equal(time.Unix(0, fakes.TestNow)) {
		t.Errorf("alice: %+v", alice)
	}
	if got := gatewaytest.Get(t, w, "/stats/waits", 200); !bytes.Contains(got, []byte(`"tokens":[{"token_id":"x","score":"0"`)) {
		t.Errorf("waits: %s", got)
	}
	for path, want := range map[string]struct {
		status   int
		location string
	}{
		"/stats/nobody":                   {404, ""},
		"/stats/alice?as_of=tomorrow":     {422, "query.as_of"},
		"/stats/alice?as_of=-1":           {422, "query.as_of"},
		"/stats/alice?as_of=99999999999":  {422, "query.as_of"},
		"/stats/alice?as_of=1.0000000001": {422, "query.as_of"},
		"/stats/alice?after=x":            {422, "query.after"},
		"/stats/alice?asof=5":             {422, "query.asof"},
		"/stats/alice/tokens":             {404, ""},
		"/stats/":                         {404, ""},
		"/nothing":                        {404, ""},
		"/hold":                           {405, ""},
	} {
		resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+path, "")
		p := gatewaytest.ProblemOf(t, resp, body)
		if resp.StatusCode != want.status || want.location != "" && (len(p.Errors) == 0 || p.Errors[0].Location != want.location) {
			t.Errorf("GET %s: %d %s", path, resp.StatusCode, body)
		}
	}
}

func TestGetHolderOfAStoreThatStaysBehind(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Freshness = time.Millisecond
		w.Cfg.Log = &fakes.Log{Size: 1, Ends: map[int]uint64{0: 5}}
		w.Cfg.WaitApplied = func(ctx context.Context, _ int, _ uint64) error { <-ctx.Done(); return ctx.Err() }
	})
	resp, body := gatewaytest.Do(t, http.MethodGet, w.Url+"/stats/alice?after=900", "")
	if p := gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != 504 || !strings.Contains(p.Detail, "position 900") || !strings.Contains(p.Detail, "hint") {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
}

// A single event without quota is refused after a bounded wait, by both APIs.
func TestNoQuotaIsRefusedInTime(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.RecordWait = time.Millisecond
		w.Cfg.Producer = &fakes.Producer{Full: true}
	})
	resp, body := gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", `{"token_id":"t","holder_id":"h","start":5}`)
	if gatewaytest.ProblemOf(t, resp, body); resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if _, err := w.Metrics().Record(t.Context(), gatewaytest.GoodEvent(1)); status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", `{"token_id":"t","holder_id":"h","start":5}`)
	gatewaytest.Do(t, http.MethodPost, w.Url+"/hold", `{"token_id":"t","holder_id":"h","start":5,"made-up":1}`)
	gatewaytest.Do(t, http.MethodGet, w.Url+"/made-up", "")
	w.Metrics().Record(t.Context(), gatewaytest.GoodEvent(1))
	w.Metrics().Record(t.Context(), &holdpb.HoldMsg{TokenId: "t"})
	if err := testutil.GatherAndCompare(w.Registry, strings.NewReader(`
# HELP holdmetrics_gateway_requests_total Requests answered, by API, method and code.
# TYPE holdmetrics_gateway_requests_total counter
holdmetrics_gateway_requests_total{api="http",code="202",method="POST /hold"} 1
holdmetrics_gateway_requests_total{api="http",code="404",method="none"} 1
holdmetrics_gateway_requests_total{api="http",code="422",method="POST /hold"} 1
holdmetrics_gateway_requests_total{api="grpc",code="InvalidArgument",method="/poh.HoldMetrics/Record"} 1
holdmetrics_gateway_requests_total{api="grpc",code="OK",method="/poh.HoldMetrics/Record"} 1
`), "holdmetrics_gateway_requests_total"); err != nil {
		t.Error(err)
	}
	page := string(gatewaytest.Get(t, w, "/metrics", 200))
	for _, want := range []string{
		`holdmetrics_gateway_events_accepted_total{endpoint="http_hold"} 1`,
		`holdmetrics_gateway_events_refused_total{endpoint="http_hold",reason="malformed"} 1`,
		`holdmetrics_gateway_events_refused_total{endpoint="record",reason="required"} 1`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("missing %s", want)
		}
	}
}

// counted is how many requests of the HTTP server had an answer.
func counted(t *testing.T, w *gatewaytest.World, pattern, code string) float64 {
	t.Helper()
	return w.Metric(t, "holdmetrics_gateway_requests_total", map[string]string{"api": "http", "method": pattern, "code": code})
}

// A client that reads nothing is cut off by the deadline of a piece; the deadline
// is lifted before the connection's next request.
func TestStatsOnAKeptConnection(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = fakes.ReadySnapshots(gatewaytest.TestStats()...) })
	c, err := net.Dial("tcp", strings.TrimPrefix(w.Url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range 3 {
		if _, err := io.WriteString(c, "GET /stats HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	if _, err := gateway.New(gateway.Config{}); !errors.Is(err, gateway.ErrConfig) {
		t.Fatal(err)
	}
}
