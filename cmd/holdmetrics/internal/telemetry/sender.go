package telemetry

import (
	"context"
	"encoding/hex"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

// sender notes how the requests of a signal end. The SDK would write each error to the
// standard error of the process.
type sender struct {
	signal string
	log    atomic.Pointer[zap.Logger]

	mu      sync.Mutex
	failing time.Time // since when; zero: the last request went well
	lost    int       // requests since then
	stopped bool
}

// stop ends the lines about failures: at the end there is nobody to mend one.
func (s *sender) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// ended notes the end of a request. It logs the first failure and the first success.
func (s *sender) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	log := s.log.Load()
	if s.stopped || log == nil {
		return
	}
	switch {
	case err != nil && s.failing.IsZero():
		s.failing, s.lost = time.Now(), 1
		log.Warn("telemetry is not taken by the collector; it is dropped", zap.String("signal", s.signal), zap.Error(err))
	case err != nil:
		s.lost++
	case !s.failing.IsZero():
		log.Info("telemetry is taken by the collector again", zap.String("signal", s.signal), zap.Int("failures", s.lost), zap.Duration("took", time.Since(s.failing).Round(time.Millisecond)))
		s.failing = time.Time{}
	}
}

// What follows passes requests on and keeps their errors.

type watchedTraces struct {
	sdktrace.SpanExporter
	sender *sender
}

// ExportSpans implements sdktrace.SpanExporter.
func (w watchedTraces) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	w.sender.ended(w.SpanExporter.ExportSpans(ctx, spans))
	return nil
}

type watchedLogs struct {
	sdklog.Exporter
	sender *sender
}

// Export implements sdklog.Exporter.
func (w watchedLogs) Export(ctx context.Context, records []sdklog.Record) error {
	w.sender.ended(w.Exporter.Export(ctx, records))
	return nil
}

type watchedMetrics struct {
	sdkmetric.Exporter
	sender *sender
}

// Export implements sdkmetric.Exporter.
func (w watchedMetrics) Export(ctx context.Context, all *metricdata.ResourceMetrics) error {
	decodeExemplars(all)
	w.sender.ended(w.Exporter.Export(ctx, all))
	return nil
}

// decodeExemplars gives exemplars the bytes of their traces and spans. The bridge from
// Prometheus leaves the text of the labels there, for which a collector refuses all that
// is pushed with it.
func decodeExemplars(all *metricdata.ResourceMetrics) {
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					decodeAll(p.Exemplars)
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					decodeAll(p.Exemplars)
				}
			}
		}
	}
}

func decodeAll(exemplars []metricdata.Exemplar[float64]) {
	for i := range exemplars {
		e := &exemplars[i]
		e.TraceID, e.SpanID = decoded(e.TraceID, len(trace.TraceID{})), decoded(e.SpanID, len(trace.SpanID{}))
	}
}

// decoded returns the bytes that a text in hexadecimal stands for, or nothing unless it has
// so many.
func decoded(text []byte, size int) []byte {
	if len(text) == size {
		return text // by a bridge that does so itself
	}
	raw := make([]byte, hex.DecodedLen(len(text)))
	if n, err := hex.Decode(raw, text); err != nil || n != size {
		return nil
	}
	return raw
}

// hiding hides secrets in the lines that are sent, as in those that are written.
type hiding struct{ secrets settings.Secrets }

// Enabled implements sdklog.Processor. The processor that sends decides.
func (h hiding) Enabled(context.Context, sdklog.EnabledParameters) bool { return false }

// OnEmit implements sdklog.Processor.
func (h hiding) OnEmit(_ context.Context, r *sdklog.Record) error {
	if len(h.secrets) == 0 {
		return nil
	}
	r.SetBody(h.value(r.Body()))
	all := make([]attribute.KeyValue, 0, r.AttributesLen())
	r.WalkAttributes(func(a attribute.KeyValue) bool {
		a.Value = h.value(a.Value)
		all = append(all, a)
		return true
	})
	r.SetAttributes(all...)
	return nil
}

// value hides the secrets of a value, which becomes a text if it has some.
func (h hiding) value(v attribute.Value) attribute.Value {
	text := v.String()
	if hidden := h.secrets.Hide(text); hidden != text {
		return attribute.StringValue(hidden)
	}
	return v
}

// Shutdown implements sdklog.Processor.
func (h hiding) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdklog.Processor.
func (h hiding) ForceFlush(context.Context) error { return nil }
