package tracing

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// The attributes of spans, as the semantic conventions of [Schema] name them. Those that
// begin with holdmetrics are our own.
const (
	RPCSystem      = attribute.Key("rpc.system.name")
	RPCMethod      = attribute.Key("rpc.method")
	RPCStatus      = attribute.Key("rpc.response.status_code")
	HTTPMethod     = attribute.Key("http.request.method")
	HTTPRoute      = attribute.Key("http.route")
	HTTPStatus     = attribute.Key("http.response.status_code")
	URLPath        = attribute.Key("url.path")
	URLScheme      = attribute.Key("url.scheme")
	ClientAddress  = attribute.Key("client.address")
	ErrorType      = attribute.Key("error.type")
	System         = attribute.Key("messaging.system")
	Destination    = attribute.Key("messaging.destination.name")
	PartitionID    = attribute.Key("messaging.destination.partition.id")
	OperationName  = attribute.Key("messaging.operation.name")
	OperationType  = attribute.Key("messaging.operation.type")
	MessageCount   = attribute.Key("messaging.batch.message_count")
	MessageID      = attribute.Key("messaging.message.id")
	BodySize       = attribute.Key("messaging.message.body.size")
	DBSystem       = attribute.Key("db.system.name")
	DBNamespace    = attribute.Key("db.namespace")
	DBOperation    = attribute.Key("db.operation.name")
	DBBatchSize    = attribute.Key("db.operation.batch.size")
	RequestID      = attribute.Key("holdmetrics.request_id")
	Generation     = attribute.Key("holdmetrics.generation")
	Position       = attribute.Key("holdmetrics.position")
	Events         = attribute.Key("holdmetrics.events")
	Attempts       = attribute.Key("holdmetrics.attempts")
	LinksDropped   = attribute.Key("holdmetrics.links_dropped")
	NATS           = "nats"  // of System
	OperationSend  = "send"  // of OperationType
	OperationApply = "apply" // of OperationName
	TypeProcess    = "process"
)

// traceparent and tracestate are the headers of the W3C, as messages of NATS have them.
const (
	traceparent = "traceparent"
	tracestate  = "tracestate"
)

// MostHeaderBytes is how many bytes [Inject] adds to a message at most.
const MostHeaderBytes = 700

// Inject returns the headers of a message that make a span the parent of what follows the
// message, or nil if there is no span.
func Inject(span *trace.SpanContext) map[string][]string {
	if span == nil {
		return nil
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpanContext(context.Background(), *span), carrier)
	headers := map[string][]string{traceparent: {carrier[traceparent]}}
	if state := carrier[tracestate]; state != "" && len(state) <= 512 {
		headers[tracestate] = []string{state}
	}
	return headers
}

// Extract returns the sampled span that the headers of a message name, or nil. A message
// may be anybody's: what is not well-formed is no span.
func (t *Tracer) Extract(headers map[string][]string) *trace.SpanContext {
	if t == nil || len(headers) == 0 {
		return nil
	}
	carrier := messageHeaders(headers)
	if carrier.Get(traceparent) == "" {
		return nil
	}
	s := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
	if !s.IsSampled() {
		return nil
	}
	return &s
}

// messageHeaders are the headers of a message. NATS keeps the case of their names, so
// clients of HTTP habits send Traceparent.
type messageHeaders map[string][]string

// Get returns the value of a header that is there once, or "".
func (h messageHeaders) Get(name string) string {
	for _, name := range []string{name, http.CanonicalHeaderKey(name)} {
		if values := h[name]; len(values) == 1 {
			return values[0]
		}
	}
	return ""
}

// Set does nothing: headers are read through it alone.
func (h messageHeaders) Set(string, string) {}

// Keys returns the names of the headers.
func (h messageHeaders) Keys() []string { return nil }
