package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/internal/otlptest"
	"holdmetrics/internal/testwait"
	holdpb "holdmetrics/proto"
)

// A request with a traceparent gives one trace from the server to the store and the
// snapshots, by each protocol, and metrics and lines of the log reach the collector too.
func TestTelemetry(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{"grpc", "http/protobuf"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			to := otlptest.Start(t)
			endpoint := to.GRPC
			if protocol != "grpc" {
				endpoint = to.HTTP
			}
			env := map[string]string{
				"OTLP_ENDPOINT": "http://" + endpoint, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
				"OTEL_EXPORTER_OTLP_HEADERS": "x-token=s3cret%2Dtoken", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
				"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test", "OTEL_SERVICE_NAME": "holds", "COLLECT_INTERVAL": "1",
				"OTEL_TRACES_SAMPLER": "parentbased_always_off", "LOG_LEVEL": "debug", "LOG_FORMAT": "json",
			}
			s := startServe(t, env)
			trace, parent := "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
			ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "00-"+trace+"-"+parent+"-01", "x-request-id", "from-the-test")
			event := &holdpb.HoldMsg{TokenId: "pool", HolderId: "alice", Start: timestamppb.New(time.Unix(1_600_000_000, 0)), Weight: 2}
			if _, err := s.metrics.Record(ctx, event); err != nil {
				t.Fatal(err)
			}
			// Of a request that is not sampled there is no span.
			if _, err := s.metrics.Record(t.Context(), &holdpb.HoldMsg{TokenId: "pool", HolderId: "bob", Start: event.Start}); err != nil {
				t.Fatal(err)
			}
			got := awaitSpans(t, to, trace, "poh.HoldMetrics/Record", "publish hold.log", "apply hold.log", "flush", "publish snapshots")
			for child, of := range map[string]string{"publish hold.log": "poh.HoldMetrics/Record", "apply hold.log": "publish hold.log", "flush": "apply hold.log", "publish snapshots": "apply hold.log"} {
				if !bytes.Equal(got[child].ParentSpanId, got[of].SpanId) {
					t.Errorf("the parent of %q is not %q", child, of)
				}
			}
			server := got["poh.HoldMetrics/Record"]
			if hex.EncodeToString(server.ParentSpanId) != parent || otlptest.Text(server.Attributes, "rpc.system.name") != "grpc" || otlptest.Text(server.Attributes, "rpc.response.status_code") != "OK" ||
				otlptest.Text(server.Attributes, "holdmetrics.request_id") != "from-the-test" || server.Kind != tracepb.Span_SPAN_KIND_SERVER {
				t.Errorf("the server's span: %v", server)
			}
			if p := got["publish hold.log"]; otlptest.Text(p.Attributes, "messaging.system") != "nats" || otlptest.Number(p.Attributes, "messaging.batch.message_count") != 1 || p.Kind != tracepb.Span_SPAN_KIND_PRODUCER {
				t.Errorf("the span of the publish: %v", p)
			}
			if f := got["flush"]; otlptest.Text(f.Attributes, "db.system.name") != "pebble" || otlptest.Text(f.Attributes, "db.operation.name") != "flush" {
				t.Errorf("the span of the flush: %v", f)
			}

			// By HTTP, with events of one body in several frames.
			trace = "1af7651916cd43dd8448eb211c80319c"
			body := ""
			for i := range 8 {
				body += fmt.Sprintf(`{"token_id":"pool","holder_id":"holder-%d","start":"2021-01-01T00:00:00Z"}`+"\n", i)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.http+"/holds", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/x-ndjson")
			req.Header.Set("traceparent", "00-"+trace+"-"+parent+"-01")
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			got = awaitSpans(t, to, trace, "POST /holds", "publish hold.log", "apply hold.log", "flush", "publish snapshots")
			if web := got["POST /holds"]; otlptest.Text(web.Attributes, "http.route") != "/holds" || otlptest.Number(web.Attributes, "http.response.status_code") != int64(resp.StatusCode) {
				t.Errorf("the server's span: %v", web)
			}

			if out := s.stop(); strings.Contains(out, "s3cret") || !strings.Contains(out, `"msg":"starting"`) {
				t.Errorf("the log:\n%s", out)
			}
			for _, span := range to.Spans() {
				if id := hex.EncodeToString(span.TraceId); !strings.HasSuffix(id, "af7651916cd43dd8448eb211c80319c") {
					t.Errorf("a span of trace %s: %s", id, span.Name)
				}
			}
			if to.Metric("go_goroutines") == nil || to.Resource("service.name") != "holds" || to.Resource("deployment.environment") != "test" {
				t.Errorf("metric %v, service %q", to.Metric("go_goroutines"), to.Resource("service.name"))
			}
			name := "X-Token"
			if protocol == "grpc" {
				name = "x-token"
			}
			if to.Header(name) != "s3cret-token" {
				t.Errorf("header %q", to.Header(name))
			}
			lines := map[string]bool{}
			for _, l := range to.Lines() {
				lines[l.Body.GetStringValue()] = true
				if otlptest.Text(l.Attributes, "request_id") == "from-the-test" && (!bytes.Equal(l.TraceId, server.TraceId) || !bytes.Equal(l.SpanId, server.SpanId)) {
					t.Errorf("a line about the request is of trace %x, span %x", l.TraceId, l.SpanId)
				}
			}
			for _, want := range []string{"starting", "started", "gRPC request", "stopping"} {
				if !lines[want] {
					t.Errorf("no line %q among %v", want, lines)
				}
			}
		})
	}
}

// A collector that is away, or takes no bytes, delays neither a request nor the end.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	silent := listener.Addr().String()
	for name, endpoint := range map[string]string{"away": "http://127.0.0.1:9", "silent by gRPC": "http://" + silent, "silent by HTTP": "http://" + silent} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			protocol := "http/protobuf"
			if strings.HasSuffix(name, "gRPC") {
				protocol = "grpc"
			}
			s := startServe(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_BSP_SCHEDULE_DELAY": "10", "COLLECT_INTERVAL": "1"})
			for i := range 200 {
				if _, err := s.metrics.Record(t.Context(), &holdpb.HoldMsg{TokenId: "pool", HolderId: fmt.Sprint(i), Start: timestamppb.New(time.Unix(1_600_000_000, 0))}); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			out := s.stop()
			if took := time.Since(began); took > 25*time.Second {
				t.Errorf("the stop took %v:\n%s", took, out)
			}
			if !strings.Contains(out, "stopped") {
				t.Errorf("the log:\n%s", out)
			}
		})
	}
}

// The level of the log is read and changed at the HTTP server.
func TestLogLevel(t *testing.T) {
	t.Parallel()
	s := startServe(t, map[string]string{"LOG_LEVEL": "warn"})
	ask := func(method, body string) string {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.http+"/log/level", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(got))
	}
	if got := ask(http.MethodGet, ""); got != `{"level":"warn"}` {
		t.Error(got)
	}
	if got := ask(http.MethodPut, `{"level":"debug"}`); got != `{"level":"debug"}` {
		t.Error(got)
	}
	ask(http.MethodGet, "")
	out := s.stop()
	for _, want := range []string{"log level changed", "HTTP request", "stopped"} {
		if !strings.Contains(out, want) {
			t.Errorf("no line %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "starting") {
		t.Errorf("a line below the level:\n%s", out)
	}
}

// served is a server that a test runs.
type served struct {
	http    string
	metrics holdpb.HoldMetricsClient
	stop    func() string // returns what it wrote
}

var addresses = regexp.MustCompile(`gRPC +(\S+)\s+HTTP +http://(\S+)`)

// startServe runs serve with an environment.
func startServe(t *testing.T, env map[string]string) *served {
	t.Helper()
	var out, errs lockedBuffer
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--data-dir", t.TempDir(), "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0"},
			streams{in: strings.NewReader(""), out: &out, err: &errs, getenv: func(name string) string { return env[name] }})
	}()
	var found []string
	testwait.Poll(t, "the server", func() error {
		if found = addresses.FindStringSubmatch(out.String()); found == nil {
			return fmt.Errorf("it says %s%s", out.String(), errs.String())
		}
		return nil
	})
	conn, err := grpc.NewClient(found[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	s := &served{http: found[2], metrics: holdpb.NewHoldMetricsClient(conn)}
	s.stop = func() string {
		if !stopped {
			stopped = true
			_ = conn.Close()
			cancel()
			if code := <-ended; code != exitOK {
				t.Errorf("serve ended with %d: %s", code, errs.String())
			}
		}
		return errs.String()
	}
	t.Cleanup(func() { s.stop() })
	return s
}

// awaitSpans waits for spans of a trace, and returns one of each name.
func awaitSpans(t *testing.T, to *otlptest.Receiver, trace string, names ...string) map[string]*tracepb.Span {
	t.Helper()
	got := map[string]*tracepb.Span{}
	testwait.Poll(t, "spans", func() error {
		for _, s := range to.Spans() {
			if hex.EncodeToString(s.TraceId) == trace {
				got[s.Name] = s
			}
		}
		for _, name := range names {
			if got[name] == nil {
				return fmt.Errorf("no %q among %d spans of the trace", name, len(got))
			}
		}
		return nil
	})
	return got
}
