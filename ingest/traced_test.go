package ingest

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"holdmetrics/hold"
	"holdmetrics/internal/tracing"
)

// keptLog keeps what is published.
type keptLog struct {
	mu      sync.Mutex
	data    [][]byte
	headers []nats.Header
}

func (k *keptLog) publish(_ context.Context, _ string, data []byte, header nats.Header) (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.data, k.headers = append(k.data, bytes.Clone(data)), append(k.headers, header)
	return uint64(len(k.data)), nil
}

func tracedDraft() *hold.Draft {
	return &hold.Draft{Token: "pool", Holder: "alice", Start: hold.StampOf(1_600_000_000e9), Weight: 2}
}

func sampledContext(t *testing.T, n byte, flags trace.TraceFlags) context.Context {
	return trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{n}, SpanID: trace.SpanID{n}, TraceFlags: flags}))
}

// A message has headers only if its trace is sampled, and its data is always the same.
func TestTracedFrames(t *testing.T) {
	t.Parallel()
	seen := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen))
	var logs [2]keptLog
	for i, tracer := range []*tracing.Tracer{nil, tracing.New(provider)} {
		p := startProducer(&logs[i], 1, MaxFrameBytes, ProducerOptions{Tracer: tracer})
		for _, ctx := range []context.Context{t.Context(), sampledContext(t, 1, 0), sampledContext(t, 2, trace.FlagsSampled)} {
			if _, err := p.Record(ctx, tracedDraft()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := p.RecordBatch(sampledContext(t, 3, trace.FlagsSampled), []hold.Draft{*tracedDraft(), *tracedDraft()}); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range logs[0].data {
		if !bytes.Equal(logs[0].data[i], logs[1].data[i]) {
			t.Errorf("message %d differs: %x and %x", i, logs[0].data[i], logs[1].data[i])
		}
		if logs[0].headers[i] != nil {
			t.Errorf("message %d has headers without a tracer: %v", i, logs[0].headers[i])
		}
	}
	spans := seen.Ended()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	tracer := tracing.New(provider)
	for i, header := range logs[1].headers {
		named := tracer.Extract(header)
		switch {
		case i < 2 && header != nil:
			t.Errorf("message %d has headers and is not sampled: %v", i, header)
		case i >= 2 && (named == nil || named.SpanID() != spans[i-2].SpanContext().SpanID() || named.TraceID() != (trace.TraceID{byte(i)})):
			t.Errorf("message %d names %v in %v", i, named, header)
		}
	}
}

// A message that has no space for headers has none.
func TestTracedFrameWithoutSpace(t *testing.T) {
	t.Parallel()
	var log keptLog
	p := startProducer(&log, 1, MaxFrameBytes, ProducerOptions{Tracer: tracing.New(sdktrace.NewTracerProvider())})
	p.payload = 100
	if _, err := p.Record(sampledContext(t, 1, trace.FlagsSampled), tracedDraft()); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log.headers[0] != nil {
		t.Errorf("headers %v", log.headers[0])
	}
}

// noLog answers at once and keeps nothing.
type noLog struct{}

func (noLog) publish(context.Context, string, []byte, nats.Header) (uint64, error) { return 1, nil }

// Without a tracer a traced request costs no allocation more than another. It counts
// allocations, so it is not parallel.
func TestNoTracerAllocatesNothing(t *testing.T) {
	p := startProducer(noLog{}, 1, MaxFrameBytes, ProducerOptions{})
	d, plain, sampled := tracedDraft(), t.Context(), sampledContext(t, 1, trace.FlagsSampled)
	count := func(ctx context.Context) float64 {
		return testing.AllocsPerRun(2000, func() {
			if _, err := p.Record(ctx, d); err != nil {
				t.Error(err)
			}
		})
	}
	count(plain)                                         // fills the pools
	if a, b := count(plain), count(sampled); b > a+0.5 { // the pools are emptied now and then
		t.Errorf("%v allocations, and %v of a sampled request", a, b)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkRecordTraced shows what a tracer costs: none, one that samples nothing, and one
// that samples all.
func BenchmarkRecordTraced(b *testing.B) {
	for _, c := range []struct {
		name   string
		tracer *tracing.Tracer
		flags  trace.TraceFlags
	}{
		{"off", nil, trace.FlagsSampled},
		{"not sampled", tracing.New(sdktrace.NewTracerProvider()), 0},
		{"sampled", tracing.New(sdktrace.NewTracerProvider()), trace.FlagsSampled},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := startProducer(noLog{}, 1, MaxFrameBytes, ProducerOptions{Tracer: c.tracer})
			ctx := trace.ContextWithSpanContext(b.Context(), trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: c.flags}))
			d := tracedDraft()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Record(ctx, d); err != nil {
					b.Fatal(err)
				}
			}
			if err := p.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
