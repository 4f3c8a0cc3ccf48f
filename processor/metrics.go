package processor

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of a worker, by partition.
type metrics struct {
	applied      *prometheus.CounterVec
	duplicates   *prometheus.CounterVec
	rejected     *prometheus.CounterVec // and by reason
	excluded     *prometheus.CounterVec
	flushSeconds *prometheus.HistogramVec
	flushBytes   *prometheus.HistogramVec
	published    *prometheus.CounterVec
	replaced     *prometheus.CounterVec
	publishTime  *prometheus.HistogramVec
	lagMessages  *prometheus.GaugeVec
	lagEvents    *prometheus.GaugeVec
	lagEstimated *prometheus.GaugeVec
	lagSeconds   *prometheus.GaugeVec
	position     *prometheus.GaugeVec
	cacheBytes   *prometheus.GaugeVec
	dirtyBytes   *prometheus.GaugeVec
	failed       *prometheus.GaugeVec
}

const metricsNamespace = "holdmetrics"

// newMetrics makes the metrics and registers them, where there is where.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	labels := []string{"partition"}
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsNamespace, Name: name, Help: help}, append(labels, more...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: metricsNamespace, Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: metricsNamespace, Name: name, Help: help, Buckets: buckets}, labels)
	}
	seconds := prometheus.ExponentialBuckets(0.001, 2, 14)
	m := &metrics{
		applied:      counter("events_applied_total", "Events applied, duplicates included."),
		duplicates:   counter("events_duplicate_total", "Events applied whose fact was there already."),
		rejected:     counter("events_rejected_total", "Events refused, each a dead letter.", "reason"),
		excluded:     counter("events_excluded_total", "Events accepted of holders whom the rules exclude; they change nothing."),
		flushSeconds: histogram("flush_seconds", "How long a flush took, with the dead letters it waited for.", seconds),
		flushBytes:   histogram("flush_bytes", "Estimated size of a flush.", prometheus.ExponentialBuckets(1<<10, 4, 9)),
		published:    counter("snapshots_published_total", "Snapshots acknowledged by the bucket."),
		replaced:     counter("snapshots_replaced_total", "Snapshots that differed from the store and were published again."),
		publishTime:  histogram("publish_seconds", "How long a publish took, its encoding included.", seconds),
		lagMessages:  gauge("lag_messages", "Messages of the partition that are not applied: those that are read, and those behind them as last heard."),
		lagEvents:    gauge("lag_events", "Events of the partition that are not applied: those that are read are counted, the others estimated."),
		lagEstimated: gauge("lag_events_estimated", "How many of lag_events are an estimate; 0 where all are counted."),
		lagSeconds:   gauge("lag_seconds", "How far log time is behind the clock while messages wait; 0 while none do."),
		position:     gauge("applied_position", "Position of the log that is applied in memory."),
		cacheBytes:   gauge("cache_bytes", "Estimated bytes of pairs and holders in memory."),
		dirtyBytes:   gauge("dirty_bytes", "Estimated bytes that are applied and not yet durable in the store."),
		failed:       gauge("partition_failed", "1 where the partition stopped for good."),
	}
	if r == nil {
		return m, nil
	}
	return m, errors.Join(
		r.Register(m.applied), r.Register(m.duplicates), r.Register(m.rejected), r.Register(m.excluded),
		r.Register(m.flushSeconds), r.Register(m.flushBytes), r.Register(m.published), r.Register(m.replaced), r.Register(m.publishTime),
		r.Register(m.lagMessages), r.Register(m.lagEvents), r.Register(m.lagEstimated), r.Register(m.lagSeconds), r.Register(m.position),
		r.Register(m.cacheBytes), r.Register(m.dirtyBytes), r.Register(m.failed),
	)
}

// partitionMetrics are one partition's, looked up once. They are counted once a
// batch, a flush or a publish, never once an event.
type partitionMetrics struct {
	applied, duplicates, excluded                    prometheus.Counter
	published, replaced                              prometheus.Counter
	rejected                                         *prometheus.CounterVec
	flushSeconds, flushBytes, publishTime            prometheus.Observer
	lagMessages, lagEvents, lagEstimated, lagSeconds prometheus.Gauge
	position, cacheBytes, dirtyBytes, failedGauge    prometheus.Gauge
}

func (m *metrics) partition(id int) *partitionMetrics {
	label := strconv.Itoa(id)
	return &partitionMetrics{
		applied:      m.applied.WithLabelValues(label),
		duplicates:   m.duplicates.WithLabelValues(label),
		excluded:     m.excluded.WithLabelValues(label),
		published:    m.published.WithLabelValues(label),
		replaced:     m.replaced.WithLabelValues(label),
		rejected:     m.rejected.MustCurryWith(prometheus.Labels{"partition": label}),
		flushSeconds: m.flushSeconds.WithLabelValues(label),
		flushBytes:   m.flushBytes.WithLabelValues(label),
		publishTime:  m.publishTime.WithLabelValues(label),
		lagMessages:  m.lagMessages.WithLabelValues(label),
		lagEvents:    m.lagEvents.WithLabelValues(label),
		lagEstimated: m.lagEstimated.WithLabelValues(label),
		lagSeconds:   m.lagSeconds.WithLabelValues(label),
		position:     m.position.WithLabelValues(label),
		cacheBytes:   m.cacheBytes.WithLabelValues(label),
		dirtyBytes:   m.dirtyBytes.WithLabelValues(label),
		failedGauge:  m.failed.WithLabelValues(label),
	}
}

// forget takes away what is only true of the partition's owner. Counters stay.
func (m *metrics) forget(id int) {
	label := prometheus.Labels{"partition": strconv.Itoa(id)}
	for _, gauge := range []*prometheus.GaugeVec{m.lagMessages, m.lagEvents, m.lagEstimated, m.lagSeconds, m.position, m.cacheBytes, m.dirtyBytes, m.failed} {
		gauge.Delete(label)
	}
}

func (m *partitionMetrics) batch(b *batch, duplicates int) {
	m.applied.Add(float64(len(b.items) - b.refused))
	m.duplicates.Add(float64(duplicates))
	m.excluded.Add(float64(b.excluded))
	for reason, n := range b.rejected {
		m.rejected.WithLabelValues(reason).Add(float64(n))
	}
}

func (m *partitionMetrics) flush(d flushDone) {
	m.flushSeconds.Observe(d.took.Seconds())
	m.flushBytes.Observe(float64(d.job.bytes))
}

func (m *partitionMetrics) publish(d publishDone) {
	m.published.Add(float64(d.job.count))
	m.publishTime.Observe(d.took.Seconds())
}

func (m *partitionMetrics) note(s *PartitionStatus) {
	m.lagMessages.Set(float64(s.Pending))
	// What is known of the log's end is the last message read and those behind it.
	events, estimated := s.Ahead.Lag(s.Position, s.Ahead.Position+s.Ahead.Behind)
	m.lagEvents.Set(float64(events))
	m.lagEstimated.Set(float64(estimated))
	lag := 0.0
	if s.Pending > 0 {
		since := s.LogTime
		if since == 0 { // nothing was applied: all that is read waits
			since = s.first
		}
		lag = max(0, time.Since(time.Unix(0, since)).Seconds())
	}
	m.lagSeconds.Set(lag)
	m.position.Set(float64(s.Position))
	m.cacheBytes.Set(float64(s.CacheBytes))
	m.dirtyBytes.Set(float64(s.DirtyBytes))
}
