package telemetry

import (
	"encoding/hex"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	prometheusbridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Exemplars have the bytes of their trace, as collectors want them. With the text of the
// label they refuse the whole push.
func TestExemplarsHaveTheBytesOfTheirTrace(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	registry := prometheus.NewRegistry()
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "took_seconds", Help: "Time.", Buckets: []float64{1, 10}})
	done := prometheus.NewCounter(prometheus.CounterOpts{Name: "done_total", Help: "Things."})
	registry.MustRegister(took, done)
	took.(prometheus.ExemplarObserver).ObserveWithExemplar(2, prometheus.Labels{"trace_id": trace})
	done.(prometheus.ExemplarAdder).AddWithExemplar(1, prometheus.Labels{"trace_id": trace, "span_id": "b7ad6b7169203331"})
	took.(prometheus.ExemplarObserver).ObserveWithExemplar(0.5, prometheus.Labels{"trace_id": "none"})
	scopes, err := prometheusbridge.NewMetricProducer(prometheusbridge.WithGatherer(registry)).Produce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := &metricdata.ResourceMetrics{ScopeMetrics: scopes}
	decodeExemplars(all)
	decodeExemplars(all) // a push that is tried again
	seen := 0
	look := func(name string, e metricdata.Exemplar[float64]) {
		switch at := hex.EncodeToString(e.TraceID); {
		case e.Value == 0.5 && at == "": // it is no trace
		case at != trace:
			t.Errorf("%s at %v: trace %q", name, e.Time.Format(time.TimeOnly), at)
		}
		if len(e.SpanID) != 0 && len(e.SpanID) != 8 {
			t.Errorf("%s: span %q", name, e.SpanID)
		}
		seen++
	}
	for _, m := range scopes[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, e := range data.DataPoints[0].Exemplars {
				look(m.Name, e)
			}
		case metricdata.Sum[float64]:
			for _, e := range data.DataPoints[0].Exemplars {
				look(m.Name, e)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d exemplars were seen, want 3", seen)
	}
}
