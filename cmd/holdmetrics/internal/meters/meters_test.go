package meters

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"holdmetrics/ingest"
	"holdmetrics/ingest/backup"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
	"holdmetrics/processor/generation"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

func compare(t *testing.T, r *prometheus.Registry, want string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

// What is looked at: the log, its dead letters, the last backup, and whether the process
// is ready. A broker that is away is seen, and leaves the rest as it was.
func TestWatch(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t)
	js := natstest.JetStream(t, server)
	log, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := generation.Open(t.Context(), js, 1); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	var ready error
	w := New(registry, "serve", "v1").Watch(Watched{Log: log, Ready: func(context.Context) error { return ready }})
	w.Look(t.Context())
	compare(t, registry, `
# HELP holdmetrics_backup_last_timestamp_seconds Time at which the last backup of the running system was complete; 0 if none is known.
# TYPE holdmetrics_backup_last_timestamp_seconds gauge
holdmetrics_backup_last_timestamp_seconds 0
# HELP holdmetrics_log_partitions Partitions of the log.
# TYPE holdmetrics_log_partitions gauge
holdmetrics_log_partitions 4
# HELP holdmetrics_log_reachable 1 if the NATS servers answered for the log when they were asked last, and it had a leader; they are asked every 10 seconds.
# TYPE holdmetrics_log_reachable gauge
holdmetrics_log_reachable 1
# HELP holdmetrics_ready 1 if the process was ready when it was asked last, as /readyz says.
# TYPE holdmetrics_ready gauge
holdmetrics_ready 1
`, "holdmetrics_backup_last_timestamp_seconds", "holdmetrics_log_partitions", "holdmetrics_log_reachable", "holdmetrics_ready")

	if err := backup.SetLast(t.Context(), js, generation.Bucket, time.Unix(1700000000, 5)); err != nil {
		t.Fatal(err)
	}
	ready = errors.New("not yet")
	w.Look(t.Context())
	if got := testutil.ToFloat64(w.backup); got != 1700000000 {
		t.Errorf("the last backup was at %v", got)
	}
	if testutil.ToFloat64(w.ready) != 0 {
		t.Error("it is ready")
	}
	server.Shutdown()
	server.WaitForShutdown()
	w.Look(t.Context())
	if testutil.ToFloat64(w.answers) != 0 || testutil.ToFloat64(w.backup) != 1700000000 {
		t.Errorf("reachable %v, last backup %v", testutil.ToFloat64(w.answers), testutil.ToFloat64(w.backup))
	}
}

func TestReplicas(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cluster *jetstream.ClusterInfo
		want    string
	}{
		"one server": {nil, "1 0 0"},
		"all":        {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "b", Current: true}, {Name: "c", Current: true}}}, "3 0 0"},
		"no leader":  {&jetstream.ClusterInfo{Replicas: []*jetstream.PeerInfo{{Name: "b", Offline: true, Current: true}, {Name: "c"}}}, "0 1 1"},
		"behind":     {&jetstream.ClusterInfo{Leader: "a", Replicas: []*jetstream.PeerInfo{{Name: "b", Lag: 7}, {Name: "c", Current: true}}}, "2 1 0"},
	} {
		registry := prometheus.NewRegistry()
		m := &Meters{registry}
		w := &Watch{replicas: m.gauge("stream_replicas", "Replicas.", "stream", "state"), configured: m.gauge("stream_replicas_configured", "Replicas.", "stream")}
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "HOLD_EVENTS", Replicas: 3}, Cluster: c.cluster}
		if led(info) != (name != "no leader") {
			t.Errorf("%s: the log can be reached: %t", name, led(info))
		}
		w.lookAtReplicas(info)
		of := func(state string) float64 {
			return testutil.ToFloat64(w.replicas.WithLabelValues("HOLD_EVENTS", state))
		}
		if got := fmt.Sprint(of(replicaCurrent), of(replicaBehind), of(replicaOffline)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestCertificates(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	New(registry, "serve", "v1").Certificates(func() []Certificate {
		return []Certificate{{Name: "servers", Expires: time.Unix(1800000000, 0)}, {Name: "NATS", Err: errors.New("half a pair")}}
	})
	compare(t, registry, `
# HELP holdmetrics_certificate_expiry_timestamp_seconds Time at which a certificate of the chain runs out.
# TYPE holdmetrics_certificate_expiry_timestamp_seconds gauge
holdmetrics_certificate_expiry_timestamp_seconds{certificate="servers"} 1.8e+09
# HELP holdmetrics_certificate_reload_failed 1 if the files of the certificate have changed and cannot be used; the former ones stay in force.
# TYPE holdmetrics_certificate_reload_failed gauge
holdmetrics_certificate_reload_failed{certificate="NATS"} 1
holdmetrics_certificate_reload_failed{certificate="servers"} 0
`, "holdmetrics_certificate_expiry_timestamp_seconds", "holdmetrics_certificate_reload_failed")
}

// A disk that does not answer has no metrics, rather than none that is free.
func TestDisk(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	var gone error
	New(registry, "serve", "v1").Disk(func() (free, least, total uint64, err error) { return 1, 2, 3, gone })
	names := []string{"holdmetrics_disk_free_bytes", "holdmetrics_disk_reserve_bytes", "holdmetrics_disk_size_bytes"}
	if n, err := testutil.GatherAndCount(registry, names...); n != 3 || err != nil {
		t.Error(n, err)
	}
	gone = errors.New("gone")
	if n, err := testutil.GatherAndCount(registry, names...); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// A frame is measured without an allocation.
func BenchmarkFrames(b *testing.B) {
	frame := New(prometheus.NewRegistry(), "serve", "v1").Frames()
	b.ReportAllocs()
	for b.Loop() {
		frame(ingest.FrameResult{Events: 100, Bytes: 8000, Waited: time.Millisecond, Took: time.Millisecond})
	}
}
