// Package telemetry sends traces, metrics and lines of the log to an OpenTelemetry
// collector.
//
// Nothing waits for the collector. What it does not take in time is dropped: each signal
// has a bounded queue, each request a time limit, and so has the end.
package telemetry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/contrib/bridges/otelzap"
	prometheusbridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/attribute"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/internal/tracing"
)

// StopLimit is how long the end may take: what was not sent by then is dropped.
const StopLimit = 3 * time.Second

// Identity says who sends.
type Identity struct {
	Role     string // serve, gateway or worker
	Version  string
	Instance string // distinguishes the process from others of its role
	Host     string
}

// Telemetry sends what a process tells of itself. A nil one sends nothing.
type Telemetry struct {
	cfg      settings.Telemetry
	resource *resource.Resource
	tracer   *tracing.Tracer
	core     zapcore.Core
	traces   *sdktrace.TracerProvider
	lines    *sdklog.LoggerProvider

	senders [3]*sender
}

// New returns what sends to the collectors of the settings, or nil if they name none. No
// collector need be there. hide are the texts that no line may have.
func New(ctx context.Context, cfg *settings.Telemetry, who Identity, hide settings.Secrets) (*Telemetry, error) {
	if !cfg.On() {
		return nil, nil
	}
	t := &Telemetry{cfg: *cfg, senders: [3]*sender{{signal: "traces"}, {signal: "logs"}, {signal: "metrics"}}}
	attributes := []attribute.KeyValue{
		attribute.String("service.name", cfg.Service), attribute.String("service.version", who.Version),
		attribute.String("service.instance.id", who.Instance), attribute.String("host.name", who.Host),
		attribute.String("holdmetrics.role", who.Role),
	}
	own := map[string]bool{"service.name": true}
	for name, value := range cfg.Attributes {
		if !own[name] { // the service is named by a variable of its own
			attributes = append(attributes, attribute.String(name, value)) // of several the last one counts
		}
	}
	t.resource = resource.NewWithAttributes(tracing.Schema, attributes...)
	if cfg.Traces.URL != nil {
		exporter, err := newTraces(ctx, &cfg.Traces)
		if err != nil {
			return nil, errors.Join(err, t.Shutdown(ctx))
		}
		t.traces = sdktrace.NewTracerProvider(
			sdktrace.WithResource(t.resource), sdktrace.WithSampler(samplerOf(cfg)),
			sdktrace.WithBatcher(watchedTraces{exporter, t.senders[0]}, sdktrace.WithExportTimeout(cfg.Traces.Timeout)),
		)
		t.tracer = tracing.New(t.traces)
	}
	if cfg.Logs.URL != nil {
		exporter, err := newLogs(ctx, &cfg.Logs)
		if err != nil {
			return nil, errors.Join(err, t.Shutdown(ctx))
		}
		t.lines = sdklog.NewLoggerProvider(
			sdklog.WithResource(t.resource), sdklog.WithProcessor(hiding{hide}),
			sdklog.WithProcessor(sdklog.NewBatchProcessor(watchedLogs{exporter, t.senders[1]}, sdklog.WithExportTimeout(cfg.Logs.Timeout))),
		)
		t.core = otelzap.NewCore(tracing.Scope, otelzap.WithLoggerProvider(t.lines))
	}
	return t, nil
}

// Tracer returns what makes spans, or nil if no traces are sent.
func (t *Telemetry) Tracer() *tracing.Tracer {
	if t == nil {
		return nil
	}
	return t.tracer
}

// Cores returns what takes the lines of the log: one core, or none.
func (t *Telemetry) Cores() []zapcore.Core {
	if t == nil || t.core == nil {
		return nil
	}
	return []zapcore.Core{t.core}
}

// Report has a log say when the collector cannot be reached, and when it can again.
func (t *Telemetry) Report(log *zap.Logger) {
	if t == nil {
		return
	}
	for _, s := range t.senders {
		s.log.Store(log)
	}
}

// Push begins to push what g gathers in the interval of the settings. The function that
// it returns pushes once more and ends it.
func (t *Telemetry) Push(ctx context.Context, g prometheus.Gatherer) (stop func(context.Context) error, err error) {
	if t == nil || t.cfg.Metrics.URL == nil {
		return func(context.Context) error { return nil }, nil
	}
	exporter, err := newMetrics(ctx, &t.cfg.Metrics)
	if err != nil {
		return nil, err
	}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithResource(t.resource), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(
		watchedMetrics{exporter, t.senders[2]}, sdkmetric.WithInterval(t.cfg.Interval), sdkmetric.WithTimeout(min(t.cfg.Interval, t.cfg.Metrics.Timeout)),
		sdkmetric.WithProducer(prometheusbridge.NewMetricProducer(prometheusbridge.WithGatherer(g))),
	)))
	return func(ctx context.Context) error {
		t.senders[2].stop()
		within, cancel := context.WithTimeout(ctx, StopLimit)
		defer cancel()
		_ = provider.Shutdown(within) // a collector that is away is no failure of ours
		return nil
	}, nil
}

// Shutdown sends what waits, for [StopLimit] at most. A collector that is away is no
// error.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	within, cancel := context.WithTimeout(ctx, StopLimit)
	defer cancel()
	var ending sync.WaitGroup
	if t.traces != nil {
		t.senders[0].stop()
		ending.Go(func() { _ = t.traces.Shutdown(within) })
	}
	if t.lines != nil {
		t.senders[1].stop()
		ending.Go(func() { _ = t.lines.Shutdown(within) })
	}
	ending.Wait()
	return nil
}

// samplerOf is the sampler that the settings name.
func samplerOf(cfg *settings.Telemetry) sdktrace.Sampler {
	switch cfg.Sampler {
	case "always_on":
		return sdktrace.AlwaysSample()
	case "always_off":
		return sdktrace.NeverSample()
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(cfg.Ratio)
	case "parentbased_always_off":
		return sdktrace.ParentBased(sdktrace.NeverSample())
	case "parentbased_traceidratio":
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.Ratio))
	}
	return sdktrace.ParentBased(sdktrace.AlwaysSample())
}
