// Package tracing follows sampled requests on their way through the log, by spans of
// OpenTelemetry.
//
//	server ──▶ publish of a frame ──▶ apply ──▶ flush
//	                                    └─────▶ publish of snapshots
//
// What follows a step is its child. Where several requests share a step, as the events of
// a frame do, the step is a child of the first one and is linked to the others.
//
// A nil [Tracer] traces nothing and allocates nothing, so callers need not ask whether
// traces are wanted.
package tracing

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the name of the instrumentation, and Schema that of the attributes.
const (
	Scope  = "holdmetrics"
	Schema = "https://opentelemetry.io/schemas/1.43.0"
)

// MostLinks bounds the requests that one step is linked to. The others have no step
// there; the attribute [LinksDropped] counts them.
const MostLinks = 64

// Tracer starts spans. A nil one starts none.
type Tracer struct{ of trace.Tracer }

// New returns a tracer whose spans go to a provider.
func New(p trace.TracerProvider) *Tracer {
	return &Tracer{p.Tracer(Scope, trace.WithSchemaURL(Schema))}
}

// Server starts the span of a request, as a child of what its headers name. The context
// has the span. It must not be called on a nil tracer.
func (t *Tracer) Server(ctx context.Context, name string, headers propagation.TextMapCarrier, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	ctx = propagation.TraceContext{}.Extract(ctx, headers)
	return t.of.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(attributes...))
}

// Sampled returns the span that a context has, or nil if it has none that is sampled.
func (t *Tracer) Sampled(ctx context.Context) *trace.SpanContext {
	if t == nil {
		return nil
	}
	if s := trace.SpanContextFromContext(ctx); s.IsSampled() {
		return &s
	}
	return nil
}

// TraceID returns the id of the sampled trace that a context belongs to, or "". An
// exemplar of a histogram has it as its label trace_id.
func (t *Tracer) TraceID(ctx context.Context) string {
	if t == nil {
		return ""
	}
	if s := trace.SpanContextFromContext(ctx); s.IsSampled() {
		return s.TraceID().String()
	}
	return ""
}

// Step is one that a span is started for.
type Step struct {
	Name       string
	Kind       trace.SpanKind
	Began      time.Time // zero: now
	Attributes []attribute.KeyValue
}

// Start starts the span of a step that continues the spans of a trail: a child of the
// first, linked to the others. It returns nil if the tracer is nil or the trail is empty.
func (t *Tracer) Start(from *Trail, s Step) *Span {
	if t == nil || len(from.spans) == 0 {
		return nil
	}
	options := make([]trace.SpanStartOption, 0, 4)
	options = append(options, trace.WithSpanKind(s.Kind))
	if !s.Began.IsZero() {
		options = append(options, trace.WithTimestamp(s.Began))
	}
	if links := from.spans[1:]; len(links) > 0 {
		all := make([]trace.Link, len(links))
		for i, l := range links {
			all[i].SpanContext = l
		}
		options = append(options, trace.WithLinks(all...))
	}
	if from.dropped > 0 {
		s.Attributes = append(slices.Clip(s.Attributes), LinksDropped.Int(from.dropped))
	}
	options = append(options, trace.WithAttributes(s.Attributes...))
	_, span := t.of.Start(trace.ContextWithSpanContext(context.Background(), from.spans[0]), s.Name, options...)
	return &Span{span}
}

// Span is one that was started. All methods may be called on nil.
type Span struct{ of trace.Span }

// Context returns what a later step continues, or nil.
func (s *Span) Context() *trace.SpanContext {
	if s == nil {
		return nil
	}
	c := s.of.SpanContext()
	return &c
}

// Set sets attributes.
func (s *Span) Set(attributes ...attribute.KeyValue) {
	if s != nil {
		s.of.SetAttributes(attributes...)
	}
}

// End ends the span; err is why the step failed, or nil.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.of.SetStatus(codes.Error, err.Error())
	}
	s.of.End()
}

// Trail is the spans that a step continues. The zero value is empty.
type Trail struct {
	spans   []trace.SpanContext
	dropped int
}

// Of returns a trail of one span, or of none.
func Of(span *trace.SpanContext) Trail {
	if span == nil {
		return Trail{}
	}
	return Trail{spans: []trace.SpanContext{*span}}
}

// Add adds a span, unless it is nil or there already.
func (t *Trail) Add(span *trace.SpanContext) {
	switch {
	case span == nil:
	case len(t.spans) > 0 && t.spans[len(t.spans)-1].Equal(*span):
	case len(t.spans) > MostLinks:
		t.dropped++
	case slices.ContainsFunc(t.spans, span.Equal):
	default:
		t.spans = append(t.spans, *span)
	}
}

// Empty reports whether there is no span.
func (t *Trail) Empty() bool { return len(t.spans) == 0 }

// First returns the span that a step is a child of, or nil.
func (t *Trail) First() *trace.SpanContext {
	if len(t.spans) == 0 {
		return nil
	}
	return &t.spans[0]
}

// Reset empties the trail.
func (t *Trail) Reset() { t.spans, t.dropped = nil, 0 }

// Waiting is spans that wait for a position of the log to be passed, by ascending
// position. The zero value is empty.
type Waiting struct {
	spans   []waitingSpan
	dropped int
}

// mostWaiting bounds the spans that wait.
const mostWaiting = 1024

type waitingSpan struct {
	position uint64
	span     trace.SpanContext
}

// Add adds the span of a position, unless it is nil.
func (w *Waiting) Add(position uint64, span *trace.SpanContext) {
	switch {
	case span == nil:
	case len(w.spans) == mostWaiting:
		w.dropped++
	default:
		w.spans = append(w.spans, waitingSpan{position, *span})
	}
}

// Take takes out the spans up to a position.
func (w *Waiting) Take(position uint64) (t Trail) {
	n := 0
	for ; n < len(w.spans) && w.spans[n].position <= position; n++ {
		t.Add(&w.spans[n].span)
	}
	if n == 0 {
		return t
	}
	t.dropped += w.dropped
	w.dropped = 0
	if w.spans = w.spans[n:]; len(w.spans) == 0 {
		w.spans = nil
	}
	return t
}
