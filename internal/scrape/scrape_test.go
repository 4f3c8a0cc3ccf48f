package scrape

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

// broken is a collector that fails.
type broken struct{}

func (broken) Describe(chan<- *prometheus.Desc) {}

func (broken) Collect(to chan<- prometheus.Metric) {
	to <- prometheus.NewInvalidMetric(prometheus.NewDesc("broken", "It is.", nil, nil), errors.New("broken"))
}

// The client's Accept decides on the format, and one collector that fails is left out.
func TestFormats(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	events := prometheus.NewCounter(prometheus.CounterOpts{Name: "events_total", Help: "Events."})
	events.Inc()
	registry.MustRegister(events, broken{})
	for accept, want := range map[string][2]string{
		"":           {"text/plain", "events_total 1\n"},
		"text/plain": {"text/plain", "events_total 1\n"},
		"*/*":        {"text/plain", "events_total 1\n"},
		"application/openmetrics-text; version=1.0.0": {"application/openmetrics-text; version=1.0.0", "events_total 1.0\n# EOF\n"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		Handler(registry, zap.NewNop()).ServeHTTP(w, r)
		if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), want[0]) || !strings.HasSuffix(w.Body.String(), want[1]) {
			t.Errorf("Accept %q: %d %s\n%s", accept, w.Code, w.Header(), w.Body)
		}
	}
}
