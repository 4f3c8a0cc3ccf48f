package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/internal/reqid"
	"holdmetrics/internal/testwait"
	holdpb "holdmetrics/proto"
)

// Each answer names its request, and so does each line of the log about it.
func TestRequestIDs(t *testing.T) {
	t.Parallel()
	core, seen := observer.New(zapcore.DebugLevel)
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Logger = zap.New(core) })

	ask := func(path, given string) (*http.Response, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.Url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if given != "" {
			req.Header.Set(reqid.Header, given)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var problem struct {
			RequestID string `json:"request_id"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&problem)
		return resp, problem.RequestID
	}
	for _, c := range []struct {
		path, given string
		status      int
	}{
		{"/healthz", "mine-1", 200},
		{"/healthz", "", 200},
		{"/stats?limit=none", "mine-2", 422}, // huma's own check
		{"/nowhere", "mine-3", 404},
		{"/stats", strings.Repeat("x", 200), 200},
		{"/stats", "a b", 200},
	} {
		resp, inBody := ask(c.path, c.given)
		got := resp.Header.Get(reqid.Header)
		if resp.StatusCode != c.status || !reqid.Valid(got) || reqid.Valid(c.given) != (got == c.given) {
			t.Errorf("%s, %q: %d, id %q", c.path, c.given, resp.StatusCode, got)
		}
		if c.status >= 400 && inBody != got {
			t.Errorf("%s: the problem names %q, the header %q", c.path, inBody, got)
		}
		awaitLine(t, seen, got)
	}

	ctx := metadata.AppendToOutgoingContext(t.Context(), reqid.Metadata, "mine-4")
	var header metadata.MD
	if _, err := w.Metrics().Record(ctx, &holdpb.HoldMsg{}, grpc.Header(&header)); err == nil || len(header[reqid.Metadata]) != 1 || header[reqid.Metadata][0] != "mine-4" {
		t.Errorf("%v, %v", header, err)
	}
	stream, err := w.Query().GetSnapshot(t.Context(), &holdpb.StatsRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if header, err = stream.Header(); err != nil || len(header[reqid.Metadata]) != 1 || !reqid.Valid(header[reqid.Metadata][0]) {
		t.Errorf("%v, %v", header, err)
	}
	for _, err := stream.Recv(); err == nil; _, err = stream.Recv() {
	}
	for _, id := range []string{"mine-4", header[reqid.Metadata][0]} {
		awaitLine(t, seen, id)
	}
}

// awaitLine waits for the one line about a request, which comes after its answer.
func awaitLine(t *testing.T, seen *observer.ObservedLogs, id string) {
	t.Helper()
	testwait.Poll(t, "the line about "+id, func() error {
		if n := len(seen.FilterLevelExact(zapcore.DebugLevel).FilterField(zap.String("request_id", id)).All()); n != 1 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
}

// Events that are refused have one line for each kind, with their number.
func TestRefusalsAreLogged(t *testing.T) {
	t.Parallel()
	core, seen := observer.New(zapcore.InfoLevel)
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Logger = zap.New(core) })
	for range 3 {
		if _, err := w.Metrics().Record(t.Context(), &holdpb.HoldMsg{}); err == nil {
			t.Error("an empty event was accepted")
		}
	}
	resp, _ := gatewaytest.Do(t, http.MethodPost, w.Url+"/holds", "{}\n{\n{}\n")
	id := resp.Header.Get(reqid.Header)
	w.Close()
	counts := map[string]int64{}
	for _, e := range seen.FilterMessage("events refused").All() {
		fields := e.ContextMap()
		counts[fmt.Sprint(fields["endpoint"], " ", fields["field"])] += fields["count"].(int64)
		if fields["endpoint"] == "http_holds" && fields["request_id"] != id {
			t.Errorf("the line names request %v, the answer %q", fields["request_id"], id)
		}
	}
	if counts["record token_id"] != 3 || counts["http_holds token_id"] != 2 || counts["http_holds malformed"] != 1 || len(counts) != 3 {
		t.Errorf("counts %v", counts)
	}
}
