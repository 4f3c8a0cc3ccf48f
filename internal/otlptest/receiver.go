// Package otlptest is a receiver of OTLP for tests. It takes traces, metrics and lines of
// a log by gRPC and by HTTP, as a collector of OpenTelemetry does.
package otlptest

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"

	collectorlogs "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
)

// Receiver keeps what it was sent. It is safe for concurrent use.
type Receiver struct {
	GRPC, HTTP string // addresses

	t        testing.TB
	mu       sync.Mutex
	spans    []*tracepb.Span
	metrics  map[string]*metricspb.Metric
	lines    []*logspb.LogRecord
	resource []*commonpb.KeyValue
	headers  map[string][]string // of the last request
}

// Start starts a receiver that ends with the test.
func Start(t testing.TB) *Receiver {
	t.Helper()
	r := &Receiver{t: t, metrics: map[string]*metricspb.Metric{}}
	rpc := grpc.NewServer()
	collectortrace.RegisterTraceServiceServer(rpc, traces{r: r})
	collectormetrics.RegisterMetricsServiceServer(rpc, metrics{r: r})
	collectorlogs.RegisterLogsServiceServer(rpc, lines{r: r})
	g, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.GRPC, r.HTTP = g.Addr().String(), h.Addr().String()
	web := &http.Server{Handler: r.handler()}
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := rpc.Serve(g); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve OTLP by gRPC: %v", err)
		}
	})
	serving.Go(func() {
		if err := web.Serve(h); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("serve OTLP by HTTP: %v", err)
		}
	})
	t.Cleanup(func() {
		rpc.Stop()
		_ = web.Close()
		serving.Wait()
	})
	return r
}

// Spans returns the spans so far.
func (r *Receiver) Spans() []*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// Lines returns the lines of the log so far.
func (r *Receiver) Lines() []*logspb.LogRecord {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// Metric returns the last state of a metric, or nil.
func (r *Receiver) Metric(name string) *metricspb.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.metrics[name]
}

// Resource returns an attribute of the one who sent last, or "".
func (r *Receiver) Resource(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return Text(r.resource, name)
}

// Header returns a header of the last request, or "".
func (r *Receiver) Header(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if values := r.headers[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Text returns an attribute that is a text, or "".
func Text(attributes []*commonpb.KeyValue, name string) string {
	for _, a := range attributes {
		if a.Key == name {
			return a.Value.GetStringValue()
		}
	}
	return ""
}

// Number returns an attribute that is a whole number, or 0.
func Number(attributes []*commonpb.KeyValue, name string) int64 {
	for _, a := range attributes {
		if a.Key == name {
			return a.Value.GetIntValue()
		}
	}
	return 0
}

func (r *Receiver) takeTraces(headers map[string][]string, req *collectortrace.ExportTraceServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = headers
	for _, of := range req.ResourceSpans {
		r.resource = of.GetResource().GetAttributes()
		for _, scope := range of.ScopeSpans {
			r.spans = append(r.spans, scope.Spans...)
		}
	}
}

func (r *Receiver) takeMetrics(headers map[string][]string, req *collectormetrics.ExportMetricsServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = headers
	for _, of := range req.ResourceMetrics {
		r.resource = of.GetResource().GetAttributes()
		for _, scope := range of.ScopeMetrics {
			for _, m := range scope.Metrics {
				r.checkExemplars(m)
				r.metrics[m.Name] = m
			}
		}
	}
}

// checkExemplars fails the test if a collector would refuse a metric, and all that came with
// it, for the trace or the span of an exemplar.
func (r *Receiver) checkExemplars(m *metricspb.Metric) {
	var all []*metricspb.Exemplar
	for _, p := range m.GetHistogram().GetDataPoints() {
		all = append(all, p.Exemplars...)
	}
	for _, p := range m.GetSum().GetDataPoints() {
		all = append(all, p.Exemplars...)
	}
	for _, e := range all {
		if trace, span := len(e.TraceId), len(e.SpanId); trace != 0 && trace != 16 || span != 0 && span != 8 {
			r.t.Errorf("%s has an exemplar with a trace of %d bytes and a span of %d", m.Name, trace, span)
		}
	}
}

func (r *Receiver) takeLines(headers map[string][]string, req *collectorlogs.ExportLogsServiceRequest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = headers
	for _, of := range req.ResourceLogs {
		r.resource = of.GetResource().GetAttributes()
		for _, scope := range of.ScopeLogs {
			r.lines = append(r.lines, scope.LogRecords...)
		}
	}
}

// The services of gRPC.

type traces struct {
	collectortrace.UnimplementedTraceServiceServer
	r *Receiver
}

func (s traces) Export(ctx context.Context, req *collectortrace.ExportTraceServiceRequest) (*collectortrace.ExportTraceServiceResponse, error) {
	s.r.takeTraces(headersOf(ctx), req)
	return &collectortrace.ExportTraceServiceResponse{}, nil
}

type metrics struct {
	collectormetrics.UnimplementedMetricsServiceServer
	r *Receiver
}

func (s metrics) Export(ctx context.Context, req *collectormetrics.ExportMetricsServiceRequest) (*collectormetrics.ExportMetricsServiceResponse, error) {
	s.r.takeMetrics(headersOf(ctx), req)
	return &collectormetrics.ExportMetricsServiceResponse{}, nil
}

type lines struct {
	collectorlogs.UnimplementedLogsServiceServer
	r *Receiver
}

func (s lines) Export(ctx context.Context, req *collectorlogs.ExportLogsServiceRequest) (*collectorlogs.ExportLogsServiceResponse, error) {
	s.r.takeLines(headersOf(ctx), req)
	return &collectorlogs.ExportLogsServiceResponse{}, nil
}

func headersOf(ctx context.Context) map[string][]string {
	md, _ := metadata.FromIncomingContext(ctx)
	return md
}

// handler answers the same by HTTP.
func (r *Receiver) handler() http.Handler {
	mux := http.NewServeMux()
	handle(mux, "POST /v1/traces", r.takeTraces, func() *collectortrace.ExportTraceServiceRequest { return &collectortrace.ExportTraceServiceRequest{} })
	handle(mux, "POST /v1/metrics", r.takeMetrics, func() *collectormetrics.ExportMetricsServiceRequest {
		return &collectormetrics.ExportMetricsServiceRequest{}
	})
	handle(mux, "POST /v1/logs", r.takeLines, func() *collectorlogs.ExportLogsServiceRequest { return &collectorlogs.ExportLogsServiceRequest{} })
	return mux
}

func handle[M proto.Message](mux *http.ServeMux, pattern string, take func(map[string][]string, M), fresh func() M) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
		var body io.Reader = req.Body
		if req.Header.Get("Content-Encoding") == "gzip" {
			unpacked, err := gzip.NewReader(body)
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			body = unpacked
		}
		data, err := io.ReadAll(body)
		m := fresh()
		if err == nil {
			err = proto.Unmarshal(data, m)
		}
		if err != nil || req.Header.Get("Content-Type") != "application/x-protobuf" {
			http.Error(w, "not a request of OTLP", http.StatusBadRequest)
			return
		}
		headers := map[string][]string{}
		for name, values := range req.Header {
			headers[http.CanonicalHeaderKey(name)] = values
		}
		take(headers, m)
		w.Header().Set("Content-Type", "application/x-protobuf")
	})
}
