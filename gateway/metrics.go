package gateway

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// door is where an event came in, as the metrics name it.
type door string

const (
	doorRecord    door = "record"
	doorBroadcast door = "broadcast"
	doorBatch     door = "broadcast_batch"
	doorHTTP      door = "http_hold"
	doorHolds     door = "http_holds"
)

// metrics are the gateway's own. Labels have few values, none of them the
// client's choice.
type metrics struct {
	requests *prometheus.CounterVec // by door, method, code
	open     *prometheus.GaugeVec   // streams, by method
	refusals *prometheus.CounterVec // events, by door, field
	failures *prometheus.CounterVec // events, by door
	taken    map[door]prometheus.Counter

	watchers *prometheus.GaugeVec   // by door
	updates  *prometheus.CounterVec // that watchers were sent, by door
	stalled  *prometheus.CounterVec // watchers, by door

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
		requests: counter("requests_total", "Requests answered, by door (grpc or http), method and code.", "door", "method", "code"),
		refusals: counter("events_refused_total", "Events refused for what they say, by door and field (none: no single field).", "door", "field"),
		failures: counter("events_failed_total", "Events that the log did not take or acknowledge, by door.", "door"),
		taken:    map[door]prometheus.Counter{},
		updates:  counter("watch_updates_total", "Snapshots and changes sent to watchers, by door.", "door"),
		stalled:  counter("watchers_stalled_total", "Watchers that were closed because they did not take what they were sent, by door.", "door"),
		watchers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "holdmetrics", Subsystem: "gateway", Name: "watchers", Help: "Clients that watch, by door.",
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
	accepted := counter("events_accepted_total", "Events that the log has acknowledged, by door.", "door")
	for _, d := range []door{doorRecord, doorBroadcast, doorBatch, doorHTTP, doorHolds} {
		m.taken[d] = accepted.WithLabelValues(string(d))
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.open, m.refusals, m.failures, accepted, m.watchers, m.updates, m.stalled, m.generation, m.switches} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// serves says which generation is served. One call at a time.
func (m *metrics) serves(b *Backend) {
	m.generation.Reset()
	m.generation.WithLabelValues(b.Generation, b.RulesVersion).Set(1)
}

// accepted counts n events.
func (m *metrics) accepted(d door, n int) { m.taken[d].Add(float64(n)) }

// event counts one event by what became of it.
func (m *metrics) event(d door, err error) {
	var field *hold.FieldError
	switch {
	case err == nil:
		m.taken[d].Inc()
	case errors.As(err, &field):
		m.refusals.WithLabelValues(string(d), fieldLabel(field.Field)).Inc()
	case errors.Is(err, ingest.ErrMalformed):
		m.refusals.WithLabelValues(string(d), "none").Inc()
	default:
		m.failures.WithLabelValues(string(d)).Inc()
	}
}

// fieldLabel keeps names that a client made up out of the labels.
func fieldLabel(field string) string {
	switch field {
	case "token_id", "holder_id", "hold_id", "start", "end", "weight", "weight_exact", "revision", "retract":
		return field
	}
	return "unknown"
}

func (g *Gateway) observeUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	answer, err := handle(ctx, req)
	g.observed(info.FullMethod, err)
	return answer, err
}

func (g *Gateway) observeStream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	open := g.metrics.open.WithLabelValues(info.FullMethod)
	open.Inc()
	defer open.Dec()
	err := handle(srv, stream)
	g.observed(info.FullMethod, err)
	return err
}

// observed counts a gRPC request and logs it: what only a programmer can mend as
// an error, the rest for whoever debugs.
func (g *Gateway) observed(method string, err error) {
	code := status.Code(err)
	g.metrics.requests.WithLabelValues("grpc", method, code.String()).Inc()
	switch {
	case code == codes.Internal || code == codes.Unknown:
		g.log.Error("gRPC request failed", zap.String("method", method), zap.Error(err))
	case g.log.Core().Enabled(zap.DebugLevel):
		g.log.Debug("gRPC request", zap.String("method", method), zap.Stringer("code", code), zap.Error(err))
	}
}
