package meters

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"holdmetrics/ingest"
	"holdmetrics/ingest/backup"
	"holdmetrics/processor/generation"
)

const (
	// LookEvery is how often the NATS servers are asked.
	LookEvery = 10 * time.Second
	// lookWithin bounds one look.
	lookWithin = 5 * time.Second
)

// watchedStreams are those whose loss would lose data, or stop everything.
var watchedStreams = []string{ingest.StreamName, ingest.DeadLetterStream, "KV_" + generation.Bucket}

// Watched is what a [Watch] looks at.
type Watched struct {
	Log   *ingest.Log
	Ready func(context.Context) error // nil: that is not measured
}

// Watch measures what the NATS servers have to be asked for: the log, its replicas, dead
// letters, the last backup; and whether the process is ready.
type Watch struct {
	of Watched

	answers    prometheus.Gauge
	ready      prometheus.Gauge
	end        prometheus.Gauge
	bytes      prometheus.Gauge
	damaged    prometheus.Gauge
	partitions prometheus.Gauge
	replicas   *prometheus.GaugeVec // by stream and state
	configured *prometheus.GaugeVec // by stream
	backup     prometheus.Gauge

	dead, deadBytes, deadLimit prometheus.Gauge
}

// The states of a replica.
const (
	replicaCurrent = "current"
	replicaBehind  = "behind"
	replicaOffline = "offline"
)

// Watch returns what measures the log. Its Run must be called.
func (m *Meters) Watch(of Watched) *Watch {
	gauge := func(name, help string) prometheus.Gauge { return m.gauge(name, help).WithLabelValues() }
	w := &Watch{
		of:         of,
		answers:    gauge("log_reachable", "1 if the NATS servers answered for the log when they were asked last, and it had a leader; they are asked every 10 seconds."),
		end:        gauge("log_end_position", "Last position of the log."),
		bytes:      gauge("log_size_bytes", "Size of the log on the disk of one NATS server."),
		damaged:    gauge("log_damaged", "1 if messages of the log are known to be missing or unreadable."),
		partitions: gauge("log_partitions", "Partitions of the log."),
		replicas:   m.gauge("stream_replicas", "Replicas of a stream that are current, behind their leader, or offline.", "stream", "state"),
		configured: m.gauge("stream_replicas_configured", "Replicas that a stream should have.", "stream"),
		dead:       gauge("dead_letters", "Messages of dead letters that are kept, resolved ones included."),

		deadBytes: gauge("dead_letters_size_bytes", "Size of the dead letters that are kept."),
		deadLimit: gauge("dead_letters_limit_bytes", "Bound of dead_letters_size_bytes; beyond it the oldest go."),

		backup: gauge("backup_last_timestamp_seconds", "Time at which the last backup of the running system was complete; 0 if none is known."),
	}
	if of.Ready != nil {
		w.ready = gauge("ready", "1 if the process was ready when it was asked last, as /readyz says.")
	}
	w.partitions.Set(float64(of.Log.Partitions()))
	return w
}

// Run looks until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	ticker := time.NewTicker(LookEvery)
	defer ticker.Stop()
	for {
		w.Look(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Look looks once.
func (w *Watch) Look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	js := w.of.Log.JetStream()
	answered := false
	for _, name := range watchedStreams {
		stream, err := js.Stream(ctx, name)
		if err != nil {
			continue
		}
		info := stream.CachedInfo()
		w.lookAtReplicas(info)
		if name == ingest.StreamName {
			answered = led(info)
			w.end.Set(float64(info.State.LastSeq))
			w.bytes.Set(float64(info.State.Bytes))
		}
	}
	w.answers.Set(oneIf(answered))
	w.damaged.Set(oneIf(w.of.Log.Damage() != nil))
	if usage, err := w.of.Log.DeadLetters().Usage(ctx); err == nil {
		w.dead.Set(float64(usage.Messages))
		w.deadBytes.Set(float64(usage.Bytes))
		w.deadLimit.Set(float64(usage.MaxBytes))
	}
	if at, err := backup.Last(ctx, js, generation.Bucket); err == nil && !at.IsZero() {
		w.backup.Set(float64(at.Unix()))
	}
	if w.ready != nil {
		w.ready.Set(oneIf(w.of.Ready(ctx) == nil))
	}
}

// led reports whether a stream has a leader. Where the majority of its servers is gone, those
// that are left answer for it, and it takes and gives nothing.
func led(info *jetstream.StreamInfo) bool { return info.Cluster == nil || info.Cluster.Leader != "" }

// lookAtReplicas counts the replicas of a stream. The leader is current; without a leader
// none is.
func (w *Watch) lookAtReplicas(info *jetstream.StreamInfo) {
	count := map[string]int{replicaCurrent: 0, replicaBehind: 0, replicaOffline: 0}
	switch c := info.Cluster; {
	case c == nil:
		count[replicaCurrent] = 1
	default:
		if c.Leader != "" {
			count[replicaCurrent]++
		}
		for _, r := range c.Replicas {
			switch {
			case r.Offline:
				count[replicaOffline]++
			case !r.Current:
				count[replicaBehind]++
			default:
				count[replicaCurrent]++
			}
		}
	}
	for state, n := range count {
		w.replicas.WithLabelValues(info.Config.Name, state).Set(float64(n))
	}
	w.configured.WithLabelValues(info.Config.Name).Set(float64(info.Config.Replicas))
}
