package processor

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// metrics are those of a worker. What a partition has is by partition; how long things
// take and what fails is not, since there may be a thousand partitions.
type metrics struct {
	applied    *prometheus.CounterVec
	duplicates *prometheus.CounterVec
	excluded   *prometheus.CounterVec
	published  *prometheus.CounterVec
	replaced   *prometheus.CounterVec

	rejected     map[string]prometheus.Counter // by reason
	retries      map[string]prometheus.Counter // failures that are tried again, by what failed
	leases       map[string]prometheus.Counter // by change
	fenced       prometheus.Counter
	apply        prometheus.Histogram
	load         prometheus.Histogram
	flushSeconds prometheus.Histogram
	flushBytes   prometheus.Histogram
	publishTime  prometheus.Histogram
	growth       prometheus.Histogram
	decreases    prometheus.Counter
}

const metricsNamespace = "holdmetrics"

// What fails and is tried again, as the label target names it.
const (
	targetStore     = "store"
	targetLog       = "log"
	targetSnapshots = "snapshots"
	targetLeases    = "leases"
)

// targets maps what is tried to what it needs. What is not here needs the store.
var targets = map[string]string{
	"read the log":                          targetLog,
	"read the end of the log":               targetLog,
	"compare the log with what was applied": targetLog,
	"read the log's horizons":               targetLog,
	"publish a dead letter":                 targetLog,
	"publish snapshots":                     targetSnapshots,
	"read the bucket's position":            targetSnapshots,
	"note the backlog in the bucket":        targetSnapshots,
	"put up the fence":                      targetSnapshots,
	"confirm the lease":                     targetLeases,
	"join the other workers":                targetLeases,
}

// The changes of leases.
const (
	leaseAcquired = "acquired"
	leaseReleased = "released"
	leaseLost     = "lost"
)

// newMetrics makes the metrics and registers them, where there is where.
func newMetrics(r prometheus.Registerer, partitions *gauges) (*metrics, error) {
	all := []prometheus.Collector{partitions}
	m := &metrics{rejected: map[string]prometheus.Counter{}, retries: map[string]prometheus.Counter{}, leases: map[string]prometheus.Counter{}}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: metricsNamespace, Name: name, Help: help}, labels)
		all = append(all, c)
		return c
	}
	histogram := func(namespace, name, help string, buckets []float64) prometheus.Histogram {
		h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
		all = append(all, h)
		return h
	}
	seconds := prometheus.ExponentialBuckets(0.001, 2, 14)
	m.applied = counter("events_applied_total", "Events applied, duplicates included.", "partition")
	m.duplicates = counter("events_duplicate_total", "Events applied whose fact was there already.", "partition")
	m.excluded = counter("events_excluded_total", "Events accepted of holders whom the rules exclude; they change nothing.", "partition")
	m.published = counter("snapshots_published_total", "Snapshots acknowledged by the bucket.", "partition")
	m.replaced = counter("snapshots_replaced_total", "Snapshots that differed from the store and were published again.", "partition")
	m.apply = histogram(metricsNamespace, "apply_duration_seconds", "Time to apply one batch of messages, with what it loads.", seconds)
	m.load = histogram(metricsNamespace, "load_duration_seconds", "Time to load the pairs and holders of one batch that are not in memory.", seconds)
	m.flushSeconds = histogram(metricsNamespace, "flush_duration_seconds", "Time of a flush, with the dead letters that it waits for.", seconds)
	m.flushBytes = histogram(metricsNamespace, "flush_size_bytes", "Estimated size of a flush.", prometheus.ExponentialBuckets(1<<10, 4, 9))
	m.publishTime = histogram(metricsNamespace, "publish_duration_seconds", "Time of a publish of snapshots, with their encoding.", seconds)
	// The name is that of the original service. A day is 86400.
	m.growth = histogram("", "hold_score_seconds", "Growth of a holder's live score, in weight-seconds, between two of its snapshots that events changed.",
		[]float64{0, 1, 10, 60, 600, 3600, 21600, 86400, 604800, 2592000, 31536000, 315360000, 3153600000, 31536000000})
	m.decreases = counter("score_decreases_total", "Snapshots whose live score is below the one before: corrections and retracts.").WithLabelValues()

	rejected := counter("events_rejected_total", "Events of the log that were refused; each is a dead letter.", "reason")
	for _, reason := range ingest.Reasons() {
		m.rejected[reason] = rejected.WithLabelValues(reason)
	}
	failures := counter("retries_total", "Failures that were tried again, by what failed.", "target")
	for _, target := range []string{targetStore, targetLog, targetSnapshots, targetLeases} {
		m.retries[target] = failures.WithLabelValues(target)
	}
	leases := counter("lease_changes_total", "Partitions that this process acquired, released, or lost to another owner.", "change")
	for _, change := range []string{leaseAcquired, leaseReleased, leaseLost} {
		m.leases[change] = leases.WithLabelValues(change)
	}
	m.fenced = counter("fences_total", "Writes that were refused because the partition has a newer owner.").WithLabelValues()
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range all {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

// partitionMetrics are one partition's, looked up once. They are counted once a
// batch, a flush or a publish, never once an event.
type partitionMetrics struct {
	all                           *metrics
	applied, duplicates, excluded prometheus.Counter
	published, replaced           prometheus.Counter
}

func (m *metrics) partition(id int) *partitionMetrics {
	label := strconv.Itoa(id)
	return &partitionMetrics{
		all:        m,
		applied:    m.applied.WithLabelValues(label),
		duplicates: m.duplicates.WithLabelValues(label),
		excluded:   m.excluded.WithLabelValues(label),
		published:  m.published.WithLabelValues(label),
		replaced:   m.replaced.WithLabelValues(label),
	}
}

// failedTry counts an error of something that may be tried again.
func (m *metrics) failedTry(what string, err error) {
	switch {
	case errors.Is(err, context.Canceled):
	case errors.Is(err, projection.ErrFenced):
		m.fenced.Inc()
	default:
		target, known := targets[what]
		if !known {
			target = targetStore
		}
		m.retries[target].Inc()
	}
}

func (m *partitionMetrics) batch(b *batch, duplicates int, took time.Duration) {
	m.applied.Add(float64(len(b.items) - b.refused))
	m.duplicates.Add(float64(duplicates))
	m.excluded.Add(float64(b.excluded))
	for reason, n := range b.rejected {
		m.all.rejected[reason].Add(float64(n))
	}
	m.all.apply.Observe(took.Seconds())
}

func (m *partitionMetrics) flush(d flushDone) {
	m.all.flushSeconds.Observe(d.took.Seconds())
	m.all.flushBytes.Observe(float64(d.job.bytes))
}

func (m *partitionMetrics) publish(d publishDone) {
	m.published.Add(float64(d.job.count))
	m.all.publishTime.Observe(d.took.Seconds())
}

// snapshot counts the growth of a holder's live score since its last snapshot.
func (m *partitionMetrics) snapshot(h *holder, r *projection.HolderRecord) {
	score := r.Figures.Line.Base.Score.Approx()
	switch grown := score - h.score; {
	case grown >= 0:
		m.all.growth.Observe(grown)
	default:
		m.all.decreases.Inc()
	}
	h.score = score
}

// gauges show how the partitions of this process do when they are looked at, which costs
// nothing in between, and is true also while a partition is stuck.
type gauges struct {
	status func() []PartitionStatus
	now    func() time.Time
	all    []partitionGauge
}

// partitionGauge is one figure of a partition.
type partitionGauge struct {
	desc  *prometheus.Desc
	value func(s *PartitionStatus, now time.Time) float64
}

func newGauges(status func() []PartitionStatus, now func() time.Time) *gauges {
	g := &gauges{status: status, now: now}
	add := func(name, help string, value func(s *PartitionStatus, now time.Time) float64) {
		g.all = append(g.all, partitionGauge{prometheus.NewDesc(prometheus.BuildFQName(metricsNamespace, "", name), help, []string{"partition"}, nil), value})
	}
	plain := func(name, help string, value func(s *PartitionStatus) float64) {
		add(name, help, func(s *PartitionStatus, _ time.Time) float64 { return value(s) })
	}
	plain("lag_messages", "Messages of the partition that are not applied: those that are read, and those behind them as last heard.", func(s *PartitionStatus) float64 { return float64(s.Pending) })
	plain("lag_events", "Events of the partition that are not applied: those that are read are counted, the others estimated.", func(s *PartitionStatus) float64 {
		events, _ := s.lagEvents()
		return float64(events)
	})
	plain("lag_events_estimated", "How many of lag_events are an estimate; 0 if all are counted.", func(s *PartitionStatus) float64 {
		_, estimated := s.lagEvents()
		return float64(estimated)
	})
	add("lag_seconds", "How far log time is behind the clock while messages wait; 0 while none do.", lagSeconds)
	plain("applied_position", "Position of the log that is applied in memory.", func(s *PartitionStatus) float64 { return float64(s.Position) })
	plain("stored_position", "Position of the log that is durable in the store.", func(s *PartitionStatus) float64 { return float64(s.Checkpoint) })
	plain("published_position", "Position of the log up to which snapshots are published.", func(s *PartitionStatus) float64 { return float64(s.Published) })
	plain("partition_epoch", "Epoch under which the partition is written; each owner has a greater one.", func(s *PartitionStatus) float64 { return float64(s.Epoch) })
	plain("cache_bytes", "Estimated bytes of pairs and holders in memory.", func(s *PartitionStatus) float64 { return float64(s.CacheBytes) })
	plain("dirty_bytes", "Estimated bytes that are applied and not yet durable in the store.", func(s *PartitionStatus) float64 { return float64(s.DirtyBytes) })
	plain("partition_owned", "1 while this process works on the partition.", func(*PartitionStatus) float64 { return 1 })
	plain("partition_failed", "1 if the partition has stopped for good.", func(s *PartitionStatus) float64 { return oneIf(s.State == Failed) })
	plain("partition_retrying", "1 while the partition tries something again that fails.", func(s *PartitionStatus) float64 { return oneIf(s.LastError != nil && s.State != Failed) })
	add("partition_stuck", "1 if the partition has been at one piece of work for longer than 10 seconds.", func(s *PartitionStatus, now time.Time) float64 { return oneIf(s.Stuck(now, stuckAfter) != nil) })
	return g
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, gauge := range g.all {
		to <- gauge.desc
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	now := g.now()
	for _, s := range g.status() {
		partition := strconv.Itoa(s.Partition)
		for _, gauge := range g.all {
			to <- prometheus.MustNewConstMetric(gauge.desc, prometheus.GaugeValue, gauge.value(&s, now), partition)
		}
	}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// lagEvents is how many events are not applied, and how many of them are estimated. What
// is known of the log's end is the last message read and those behind it.
func (s *PartitionStatus) lagEvents() (events, estimated uint64) {
	return s.Ahead.Lag(s.Position, s.Ahead.Position+s.Ahead.Behind)
}

func lagSeconds(s *PartitionStatus, now time.Time) float64 {
	if s.Pending == 0 {
		return 0
	}
	since := s.LogTime
	if since == 0 { // nothing was applied: all that is read waits
		since = s.first
	}
	return max(0, now.Sub(time.Unix(0, since)).Seconds())
}
