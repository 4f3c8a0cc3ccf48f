package gateway

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/intake"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// metrics are the gateway's own. Labels have few values, none of them the
// client's choice, but for tokens, which are bounded.
type metrics struct {
	requests  *prometheus.CounterVec   // by API, method, code
	durations *prometheus.HistogramVec // of requests, by API, method
	open      *prometheus.GaugeVec     // streams, by method

	refusals map[intake.Endpoint]map[string]prometheus.Counter // events, by reason
	failures map[intake.Endpoint]map[string]prometheus.Counter // events, by reason
	taken    map[intake.Endpoint]prometheus.Counter
	acks     map[intake.Endpoint]prometheus.Observer // seconds
	ignored  *prometheus.CounterVec                  // fields, by endpoint
	events   prometheus.Counter                      // accepted; nil: they are counted by token
	tokens   *tokenCounter                           // nil: events are not counted by token

	watchers *prometheus.GaugeVec   // by API
	updates  *prometheus.CounterVec // that watchers were sent, by API
	stalled  *prometheus.CounterVec // watchers, by API

	generation *prometheus.GaugeVec // 1, of the generation that is served
	switches   prometheus.Counter   // of generations

	trace func(context.Context) string // nil: there are no traces
}

const metricsNamespace, metricsSubsystem = "holdmetrics", "gateway"

// The APIs, as labels name them.
const apiGRPC, apiHTTP = "grpc", "http"

// failureReasons are why events are not taken that nothing is wrong with.
var failureReasons = []struct {
	err    error
	reason string
}{
	{ingest.ErrBusy, "busy"},
	{ingest.ErrNotWritable, "not_writable"},
	{ingest.ErrClosed, "stopping"},
	{ingest.ErrUnfinishedImport, "import"},
	{context.Canceled, "client_gone"},
	{intake.ErrSlow, "not_acknowledged"},
	{ingest.ErrNotAcknowledged, "not_acknowledged"},
}

const otherFailure = "other"

func failureReason(err error) string {
	for _, f := range failureReasons {
		if errors.Is(err, f.err) {
			return f.reason
		}
	}
	return otherFailure
}

func newMetrics(cfg *Config) (*metrics, error) {
	var all []prometheus.Collector
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		c := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		c := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: metricsNamespace, Subsystem: metricsSubsystem, Name: name, Help: help,
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
		}, labels)
		all = append(all, c)
		return c
	}
	m := &metrics{
		requests:   counter("requests_total", "Requests answered, by API, method and code.", "api", "method", "code"),
		durations:  histogram("request_duration_seconds", "Time from a request to the end of its answer; watches and gRPC streams are left out.", "api", "method"),
		open:       gauge("streams_open", "Open gRPC streams.", "method"),
		ignored:    counter("fields_ignored_total", "Fields of JSON events that no event has and that were ignored.", "endpoint"),
		updates:    counter("watch_updates_total", "Snapshots and changes sent to watchers.", "api"),
		stalled:    counter("watchers_stalled_total", "Watchers that were disconnected because they did not read.", "api"),
		watchers:   gauge("watchers", "Clients that watch.", "api"),
		generation: gauge("generation_info", "1 for the generation that is read, with the version of its rules.", "generation", "rules"),
		switches:   counter("generation_switches_total", "Switches from one generation to another since the start.").WithLabelValues(),
		refusals:   map[intake.Endpoint]map[string]prometheus.Counter{},
		failures:   map[intake.Endpoint]map[string]prometheus.Counter{},
		taken:      map[intake.Endpoint]prometheus.Counter{},
		acks:       map[intake.Endpoint]prometheus.Observer{},
		trace:      cfg.TraceID,
	}
	accepted := counter("events_accepted_total", "Events that the log has acknowledged.", "endpoint")
	refused := counter("events_refused_total", "Events refused for their content.", "endpoint", "reason")
	failed := counter("events_failed_total", "Valid events that were not taken, or not acknowledged by the log.", "endpoint", "reason")
	acks := histogram("acknowledgement_duration_seconds", "Time from an event or a batch to its acknowledgement; of a single-event stream, one event at a time.", "endpoint")
	// All labels are there from the start: a counter that begins with 1 has no increase.
	for _, e := range intake.Endpoints {
		at := string(e)
		m.taken[e], m.acks[e] = accepted.WithLabelValues(at), acks.WithLabelValues(at)
		m.refusals[e], m.failures[e] = map[string]prometheus.Counter{}, map[string]prometheus.Counter{otherFailure: failed.WithLabelValues(at, otherFailure)}
		for _, reason := range ingest.Reasons() {
			m.refusals[e][reason] = refused.WithLabelValues(at, reason)
		}
		for _, f := range failureReasons {
			m.failures[e][f.reason] = failed.WithLabelValues(at, f.reason)
		}
	}
	for _, e := range []intake.Endpoint{intake.PostHold, intake.PostHolds} {
		m.ignored.WithLabelValues(string(e))
	}
	for _, api := range []string{apiGRPC, apiHTTP} {
		m.updates.WithLabelValues(api)
		m.stalled.WithLabelValues(api)
		m.watchers.WithLabelValues(api)
	}
	// The name is that of the original service.
	const help = "Events that the log has acknowledged, however often they were sent."
	if cfg.TokenLabels.any() {
		by := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hold_events_total", Help: help}, []string{"token"})
		m.tokens = newTokenCounter(by, cfg.TokenLabels)
		all = append(all, by)
	} else {
		m.events = prometheus.NewCounter(prometheus.CounterOpts{Name: "hold_events_total", Help: help})
		all = append(all, m.events)
	}
	if cfg.Registerer == nil {
		return m, nil
	}
	for _, c := range all {
		if err := cfg.Registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// byToken returns what counts events by token, or nil if nothing does.
func (m *metrics) byToken() intake.Tokens {
	if m.tokens == nil {
		return nil
	}
	return m.tokens
}

// serves records the generation that is served. One call at a time.
func (m *metrics) serves(b *query.Backend) {
	m.generation.Reset()
	m.generation.WithLabelValues(b.Generation, b.RulesVersion).Set(1)
}

// Accepted counts n events that the log has.
func (m *metrics) Accepted(e intake.Endpoint, n int) {
	m.taken[e].Add(float64(n))
	if m.events != nil {
		m.events.Add(float64(n))
	}
}

// Event counts one event by its outcome.
func (m *metrics) Event(e intake.Endpoint, err error) {
	switch {
	case err == nil:
		m.Accepted(e, 1)
	case errors.As(err, new(*auth.RefusedError)): // counted as a refusal of its caller
	case errors.As(err, new(*hold.FieldError)) || errors.Is(err, ingest.ErrMalformed):
		m.refusals[e][ingest.ReasonOf(err)].Inc()
	default:
		m.failures[e][failureReason(err)].Inc()
	}
}

// Acknowledged implements [intake.Observer].
func (m *metrics) Acknowledged(ctx context.Context, e intake.Endpoint, took time.Duration) {
	m.observe(ctx, m.acks[e], took)
}

// Took counts how long a request took.
func (m *metrics) Took(ctx context.Context, api, method string, took time.Duration) {
	m.observe(ctx, m.durations.WithLabelValues(api, method), took)
}

// observe adds a duration to a histogram, with the trace of the call as its example.
func (m *metrics) observe(ctx context.Context, to prometheus.Observer, took time.Duration) {
	if m.trace != nil {
		if id := m.trace(ctx); id != "" {
			to.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": id})
			return
		}
	}
	to.Observe(took.Seconds())
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
