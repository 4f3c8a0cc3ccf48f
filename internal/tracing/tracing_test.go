package tracing

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func recorded(t *testing.T) (*Tracer, *tracetest.SpanRecorder) {
	seen := tracetest.NewSpanRecorder()
	p := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen))
	t.Cleanup(func() { _ = p.Shutdown(t.Context()) })
	return New(p), seen
}

func span(n byte) *trace.SpanContext {
	s := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{n}, SpanID: trace.SpanID{n}, TraceFlags: trace.FlagsSampled})
	return &s
}

// A step is a child of the first span, and linked to the others, each once.
func TestStart(t *testing.T) {
	t.Parallel()
	tracer, seen := recorded(t)
	var from Trail
	for _, n := range []byte{1, 1, 2, 1, 3} {
		from.Add(span(n))
	}
	from.Add(nil)
	s := tracer.Start(&from, Step{Name: "a", Kind: trace.SpanKindProducer})
	s.Set(Events.Int(3))
	s.End(errors.New("failed"))
	got := seen.Ended()[0]
	if got.Parent().SpanID() != span(1).SpanID() || got.SpanContext().TraceID() != span(1).TraceID() || got.SpanKind() != trace.SpanKindProducer {
		t.Errorf("parent %v, trace %v", got.Parent(), got.SpanContext())
	}
	var links []trace.SpanID
	for _, l := range got.Links() {
		links = append(links, l.SpanContext.SpanID())
	}
	if !slices.Equal(links, []trace.SpanID{{2}, {3}}) {
		t.Errorf("links %v", links)
	}
	if got.Status().Code != codes.Error || !slices.Contains(got.Attributes(), Events.Int(3)) {
		t.Errorf("status %v, attributes %v", got.Status(), got.Attributes())
	}
}

func TestTrailIsBounded(t *testing.T) {
	t.Parallel()
	tracer, seen := recorded(t)
	var from Trail
	for n := range 200 {
		from.Add(span(byte(n + 1)))
	}
	tracer.Start(&from, Step{Name: "a"}).End(nil)
	got := seen.Ended()[0]
	if len(got.Links()) != MostLinks || !slices.Contains(got.Attributes(), LinksDropped.Int(200-1-MostLinks)) {
		t.Errorf("%d links, %v", len(got.Links()), got.Attributes())
	}
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	var w Waiting
	for n := range 10 {
		w.Add(uint64(10*n), span(byte(n+1)))
	}
	w.Add(100, nil)
	if early := w.Take(0); len(early.spans) != 1 {
		t.Errorf("%d spans", len(early.spans))
	}
	if some := w.Take(45); len(some.spans) != 4 || some.First().SpanID() != span(2).SpanID() {
		t.Errorf("spans %v", some.spans)
	}
	if rest := w.Take(1000); len(rest.spans) != 5 || w.spans != nil {
		t.Errorf("spans %v", rest.spans)
	}
	for n := range uint64(3 * mostWaiting) {
		w.Add(n, span(1))
	}
	if len(w.spans) != mostWaiting {
		t.Errorf("%d spans wait", len(w.spans))
	}
}

// What goes into the headers of a message comes out of them.
func TestHeaders(t *testing.T) {
	t.Parallel()
	tracer, _ := recorded(t)
	state, err := trace.ParseTraceState("a=b,c=d")
	if err != nil {
		t.Fatal(err)
	}
	with := span(7).WithTraceState(state)
	for _, s := range []*trace.SpanContext{span(7), &with} {
		headers := Inject(s)
		size := 0
		for name, values := range headers {
			size += len(name) + len(values[0]) + 4
		}
		back := tracer.Extract(headers)
		if back == nil || !back.Equal(s.WithRemote(true)) || size > MostHeaderBytes {
			t.Errorf("%v became %v of %v", s, back, headers)
		}
	}
	if Inject(nil) != nil {
		t.Error("headers of no span")
	}
	good := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for name, headers := range map[string]map[string][]string{
		"canonical": {"Traceparent": {good}},
		"lower":     {"traceparent": {good}},
	} {
		if tracer.Extract(headers) == nil {
			t.Errorf("%s: no span", name)
		}
	}
	for name, headers := range map[string]map[string][]string{
		"none":        nil,
		"other":       {"x": {"y"}},
		"not sampled": {"traceparent": {strings.TrimSuffix(good, "01") + "00"}},
		"twice":       {"traceparent": {good, good}},
		"short":       {"traceparent": {good[:20]}},
		"zero":        {"traceparent": {"00-00000000000000000000000000000000-b7ad6b7169203331-01"}},
	} {
		if s := tracer.Extract(headers); s != nil {
			t.Errorf("%s: %v", name, s)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b")
	tracer := New(sdktrace.NewTracerProvider())
	f.Fuzz(func(t *testing.T, parent, state string) {
		s := tracer.Extract(map[string][]string{"traceparent": {parent}, "tracestate": {state}})
		if s == nil {
			return
		}
		if again := tracer.Extract(Inject(s)); again == nil || again.TraceID() != s.TraceID() || again.SpanID() != s.SpanID() {
			t.Errorf("%v became %v", s, again)
		}
	})
}

func TestServer(t *testing.T) {
	t.Parallel()
	tracer, seen := recorded(t)
	carrier := propagation.MapCarrier{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	ctx, s := tracer.Server(t.Context(), "a", carrier)
	if sampled := tracer.Sampled(ctx); sampled == nil || sampled.SpanID() != s.SpanContext().SpanID() {
		t.Errorf("sampled %v", sampled)
	}
	s.End()
	if got := seen.Ended()[0]; got.Parent().SpanID().String() != "b7ad6b7169203331" || !got.Parent().IsRemote() {
		t.Errorf("parent %v", got.Parent())
	}
}

// Without a tracer nothing is allocated. It counts allocations, so it is not parallel.
func TestNoTracer(t *testing.T) {
	var none *Tracer
	ctx := trace.ContextWithSpanContext(t.Context(), *span(1))
	headers := map[string][]string{"traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	allocated := testing.AllocsPerRun(100, func() {
		var trail Trail
		var waiting Waiting
		trail.Add(none.Sampled(ctx))
		waiting.Add(1, none.Extract(headers))
		left := waiting.Take(2)
		s := none.Start(&trail, Step{Name: "a"})
		s.Set()
		s.End(nil)
		if s.Context() != nil || !left.Empty() || none.Start(&left, Step{}) != nil {
			t.Error("a span of no tracer")
		}
	})
	if allocated != 0 {
		t.Errorf("%v allocations", allocated)
	}
}
