package gateway

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"holdmetrics/gateway/intake"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// metrics are the gateway's own. Labels have few values, none of them the
// client's choice.
type metrics struct {
	requests *prometheus.CounterVec // by API, method, code
	open     *prometheus.GaugeVec   // streams, by method
	refusals *prometheus.CounterVec // events, by endpoint, field
	failures *prometheus.CounterVec // events, by endpoint
	taken    map[intake.Endpoint]prometheus.Counter
	ignored  *prometheus.CounterVec // fields, by endpoint

	watchers *prometheus.GaugeVec   // by API
	updates  *prometheus.CounterVec // that watchers were sent, by API
	stalled  *prometheus.CounterVec // watchers, by API

	generation *prometheus.GaugeVec // 1, of the generation that is served
	switches   prometheus.Counter   // of generations
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "holdmetrics", Subsystem: "gateway", Name: name, Help: help,
		}, labels)
	}
	m := &metrics{
		requests: counter("requests_total", "Requests answered, by API (door: grpc or http), method and code.", "door", "method", "code"),
		refusals: counter("events_refused_total", "Events refused for their content, by endpoint (door) and field (none: no single field).", "door", "field"),
		failures: counter("events_failed_total", "Events that the log did not accept or acknowledge, by endpoint (door).", "door"),
		taken:    map[intake.Endpoint]prometheus.Counter{},
		ignored:  counter("fields_ignored_total", "Fields of events in JSON that no event has and that were ignored, by endpoint (door).", "door"),
		updates:  counter("watch_updates_total", "Snapshots and changes sent to watchers, by API (door).", "door"),
		stalled:  counter("watchers_stalled_total", "Watchers that were closed because they did not read, by API (door).", "door"),
		watchers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "holdmetrics", Subsystem: "gateway", Name: "watchers", Help: "Clients that watch, by API (door).",
		}, []string{"door"}),
		open: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "holdmetrics", Subsystem: "gateway", Name: "streams_open", Help: "gRPC streams that are open, by method.",
		}, []string{"method"}),
	}
	m.generation = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "holdmetrics", Subsystem: "gateway", Name: "generation_info", Help: "1, of the generation that is served, by its name and the version of its rules.",
	}, []string{"generation", "rules"})
	m.switches = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "holdmetrics", Subsystem: "gateway", Name: "generation_switches_total", Help: "Switches from one generation to another since the start.",
	})
	accepted := counter("events_accepted_total", "Events that the log has acknowledged, by endpoint (door).", "door")
	for _, d := range intake.Endpoints {
		m.taken[d] = accepted.WithLabelValues(string(d))
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.open, m.refusals, m.failures, accepted, m.ignored, m.watchers, m.updates, m.stalled, m.generation, m.switches} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// serves records the generation that is served. One call at a time.
func (m *metrics) serves(b *query.Backend) {
	m.generation.Reset()
	m.generation.WithLabelValues(b.Generation, b.RulesVersion).Set(1)
}

// Accepted counts n events that the log has.
func (m *metrics) Accepted(e intake.Endpoint, n int) { m.taken[e].Add(float64(n)) }

// Event counts one event by its outcome.
func (m *metrics) Event(e intake.Endpoint, err error) {
	var field *hold.FieldError
	switch {
	case err == nil:
		m.taken[e].Inc()
	case errors.As(err, &field):
		m.refusals.WithLabelValues(string(e), fieldLabel(field.Field)).Inc()
	case errors.Is(err, ingest.ErrMalformed):
		m.refusals.WithLabelValues(string(e), "none").Inc()
	default:
		m.failures.WithLabelValues(string(e)).Inc()
	}
}

// FieldsIgnored counts n fields of events that were ignored.
func (m *metrics) FieldsIgnored(e intake.Endpoint, n int) {
	m.ignored.WithLabelValues(string(e)).Add(float64(n))
}

// Request counts a request that was answered.
func (m *metrics) Request(api, method, code string) {
	m.requests.WithLabelValues(api, method, code).Inc()
}

// StreamOpened counts a stream as open until closed is called.
func (m *metrics) StreamOpened(method string) (closed func()) {
	open := m.open.WithLabelValues(method)
	open.Inc()
	return open.Dec
}

// WatchOpened counts a client that watches until ended is called.
func (m *metrics) WatchOpened(api string) (ended func()) {
	watchers := m.watchers.WithLabelValues(api)
	watchers.Inc()
	return watchers.Dec
}

// WatchStalled counts a watch that was closed because its client did not read.
func (m *metrics) WatchStalled(api string) { m.stalled.WithLabelValues(api).Inc() }

// WatchSent counts what a watcher was sent.
func (m *metrics) WatchSent(api string, n int) { m.updates.WithLabelValues(api).Add(float64(n)) }

// fieldLabel keeps names that a client made up out of the labels.
func fieldLabel(field string) string {
	switch field {
	case "token_id", "holder_id", "hold_id", "start", "end", "weight", "weight_exact", "revision", "retract":
		return field
	}
	return "unknown"
}
