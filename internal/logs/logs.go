// Package logs keeps the log short where much happens: what repeats is counted
// ([Tally]), what fails again and again has a line at its begin and one at its end
// ([Outages], [Lag]). It also has the fields that every line about a request carries.
package logs

import (
	"context"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"holdmetrics/internal/reqid"
)

// Request returns the fields of a line about a request: its id, and the trace and the
// span that it belongs to. What is not known is left out.
func Request(ctx context.Context) []zap.Field {
	fields := make([]zap.Field, 0, 4)
	if id := reqid.Of(ctx); id != "" {
		fields = append(fields, zap.String("request_id", id))
	}
	if s := trace.SpanContextFromContext(ctx); s.IsValid() {
		fields = append(fields, zap.Stringer("trace_id", s.TraceID()), zap.Stringer("span_id", s.SpanID()),
			// Not written, but read by the core that sends lines to a collector.
			zap.Field{Type: zapcore.SkipType, Interface: ctx})
	}
	return fields
}
