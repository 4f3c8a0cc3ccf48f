// Package meters measures what a process of holdmetrics is and has, beside what it does
// with events: its build, its connection to NATS, the log and its replicas, frames on
// their way to the log, disk, memory, certificates and backups.
//
// What costs next to nothing is measured when metrics are gathered. What asks the NATS
// servers is measured by [Watch], so that a broker that is away delays no scrape.
package meters

import (
	"runtime"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"holdmetrics/ingest"
)

const namespace = "holdmetrics"

// Meters registers what is measured. Its methods are called at the start of a process,
// each once.
type Meters struct{ reg prometheus.Registerer }

// New returns meters that register at reg, with the build of the process, and the metrics
// of its runtime.
func New(reg prometheus.Registerer, role, version string) *Meters {
	m := &Meters{reg}
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("build_info", "1, with the version of the program, that of Go, and what the process runs as: serve, gateway or worker.", "version", "goversion", "role").
		WithLabelValues(version, runtime.Version(), role).Set(1)
	return m
}

func opts(name, help string) prometheus.Opts {
	return prometheus.Opts{Namespace: namespace, Name: name, Help: help}
}

func (m *Meters) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), labels)
	m.reg.MustRegister(g)
	return g
}

func (m *Meters) counter(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), labels)
	m.reg.MustRegister(c)
	return c
}

func (m *Meters) gaugeFunc(name, help string, value func() float64) {
	m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), value))
}

func (m *Meters) counterFunc(name, help string, value func() float64) {
	m.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts(name, help)), value))
}

func (m *Meters) histogram(name, help string, buckets []float64) prometheus.Histogram {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	m.reg.MustRegister(h)
	return h
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Connection measures the connection to NATS.
func (m *Meters) Connection(c *nats.Conn) {
	m.gaugeFunc("nats_connected", "1 while there is a connection to NATS.", func() float64 { return oneIf(c.IsConnected()) })
	m.counterFunc("nats_reconnects_total", "Connections to NATS that were lost and made again.", func() float64 { return float64(c.Stats().Reconnects) })
	m.counterFunc("nats_received_bytes_total", "Bytes of messages from NATS.", func() float64 { return float64(c.Stats().InBytes) })
	m.counterFunc("nats_sent_bytes_total", "Bytes of messages to NATS.", func() float64 { return float64(c.Stats().OutBytes) })
}

// ConnectionErrors counts the errors that a connection to NATS reports.
func (m *Meters) ConnectionErrors() (failed func()) {
	return m.counter("nats_errors_total", "Errors that the connection to NATS has reported, such as slow readers and refused permissions.").WithLabelValues().Inc
}

// Frames measures the frames on their way to the log. The function is one of
// [ingest.ProducerOptions].
func (m *Meters) Frames() func(ingest.FrameResult) {
	seconds := prometheus.ExponentialBuckets(0.0005, 2, 16)
	events := m.histogram("frame_events", "Events of a frame.", prometheus.ExponentialBuckets(1, 2, 10))
	bytes := m.histogram("frame_size_bytes", "Size of a frame.", prometheus.ExponentialBuckets(64, 4, 7))
	waited := m.histogram("frame_wait_duration_seconds", "Time from the first event of a frame to its publish.", seconds)
	took := m.histogram("log_publish_duration_seconds", "Time from the publish of a frame to its acknowledgement by the log.", seconds)
	failed := m.counter("log_errors_total", "Frames that the log has not acknowledged, for all tries.").WithLabelValues()
	return func(r ingest.FrameResult) {
		events.Observe(float64(r.Events))
		bytes.Observe(float64(r.Bytes))
		waited.Observe(r.Waited.Seconds())
		if r.Err != nil {
			failed.Inc()
			return
		}
		took.Observe(r.Took.Seconds())
	}
}

// Pending measures the events that wait for the log. most is the bound of their bytes.
func (m *Meters) Pending(taken func() (events, bytes int), most int) {
	m.gaugeFunc("pending_events", "Accepted events that wait for the log.", func() float64 { events, _ := taken(); return float64(events) })
	m.gaugeFunc("pending_bytes", "Size of the accepted events that wait for the log.", func() float64 { _, bytes := taken(); return float64(bytes) })
	m.gaugeFunc("pending_limit_bytes", "Bound of pending_bytes; callers wait at it.", func() float64 { return float64(most) })
}

// Writable measures whether events are taken. refused returns why not, or nil.
func (m *Meters) Writable(refused func() error) {
	m.gaugeFunc("log_writable", "1 while events are taken; 0 if the disk, the brokers or the log keep them out.", func() float64 { return oneIf(refused() == nil) })
}

// Memory measures the limit that caches, buffers and the collector go by.
func (m *Meters) Memory(limit int64) {
	m.gaugeFunc("memory_limit_bytes", "Memory that the process may use, by which caches and the collector go; 0 if nothing limits it.", func() float64 { return float64(limit) })
}

// Disk measures the disk of the data directory. room returns what is free, what must be
// for events to be taken, and the size of the disk.
func (m *Meters) Disk(room func() (free, least, total uint64, err error)) {
	d := &disk{room: room}
	for _, f := range []struct {
		to         **prometheus.Desc
		name, help string
	}{
		{&d.free, "disk_free_bytes", "Free space on the disk of the data directory."},
		{&d.least, "disk_reserve_bytes", "Space that must be free for events to be taken."},
		{&d.total, "disk_size_bytes", "Size of the disk of the data directory."},
	} {
		*f.to = prometheus.NewDesc(prometheus.BuildFQName(namespace, "", f.name), f.help, nil, nil)
	}
	m.reg.MustRegister(d)
}

// disk asks the file system once for all its metrics.
type disk struct {
	room               func() (free, least, total uint64, err error)
	free, least, total *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (d *disk) Describe(to chan<- *prometheus.Desc) { to <- d.free; to <- d.least; to <- d.total }

// Collect implements prometheus.Collector. A disk that does not answer has no metrics.
func (d *disk) Collect(to chan<- prometheus.Metric) {
	free, least, total, err := d.room()
	if err != nil {
		return
	}
	to <- prometheus.MustNewConstMetric(d.free, prometheus.GaugeValue, float64(free))
	to <- prometheus.MustNewConstMetric(d.least, prometheus.GaugeValue, float64(least))
	to <- prometheus.MustNewConstMetric(d.total, prometheus.GaugeValue, float64(total))
}

// Certificate is a certificate that runs out.
type Certificate struct {
	Name    string // of the servers or the connection that it is for
	Expires time.Time
	Err     error // the files as they are now cannot be used
}

// Certificates measures when certificates run out. There are as many as the process has
// files for.
func (m *Meters) Certificates(all func() []Certificate) {
	m.reg.MustRegister(&certificates{
		all:     all,
		expires: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "certificate_expiry_timestamp_seconds"), "Time at which a certificate of the chain runs out.", []string{"certificate"}, nil),
		failed:  prometheus.NewDesc(prometheus.BuildFQName(namespace, "", "certificate_reload_failed"), "1 if the files of the certificate have changed and cannot be used; the former ones stay in force.", []string{"certificate"}, nil),
	})
}

type certificates struct {
	all             func() []Certificate
	expires, failed *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *certificates) Describe(to chan<- *prometheus.Desc) { to <- c.expires; to <- c.failed }

// Collect implements prometheus.Collector.
func (c *certificates) Collect(to chan<- prometheus.Metric) {
	for _, cert := range c.all() {
		if !cert.Expires.IsZero() {
			to <- prometheus.MustNewConstMetric(c.expires, prometheus.GaugeValue, float64(cert.Expires.Unix()), cert.Name)
		}
		to <- prometheus.MustNewConstMetric(c.failed, prometheus.GaugeValue, oneIf(cert.Err != nil), cert.Name)
	}
}
