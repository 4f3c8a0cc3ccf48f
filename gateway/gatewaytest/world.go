// Package gatewaytest helps tests of the gateway: a gateway over fakes, and clients of
// both APIs.
package gatewaytest

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"holdmetrics/gateway"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// World is a gateway with what it stands on; a test may exchange each part.
type World struct {
	Cfg      gateway.Config
	Store    *storetest.Faulty
	Registry *prometheus.Registry

	Gateway *gateway.Gateway
	Conn    *grpc.ClientConn
	Url     string // of the HTTP server
	Close   func() // closes both servers, and waits for their work in flight
}

// Owners say the same every time.
type Owners struct {
	Owned  []query.PartitionStatus
	Others []query.WorkerStatus
	Err    error
}

// Workers returns Others and Err.
func (o *Owners) Workers(context.Context) ([]query.WorkerStatus, error) { return o.Others, o.Err }

// Partitions returns Owned and Err.
func (o *Owners) Partitions(context.Context) ([]query.PartitionStatus, error) {
	return o.Owned, o.Err
}

// NewWorld makes a gateway over fakes; change exchanges some of them first.
func NewWorld(t testing.TB, change ...func(*World)) *World {
	t.Helper()
	w := &World{Store: storetest.NewFaulty(storetest.NewMemory()), Registry: prometheus.NewRegistry()}
	w.Cfg = gateway.Config{
		Producer: &fakes.Producer{},
		Log:      &fakes.Log{Size: 4},
		Backend: query.Backend{
			Reader:      w.Store,
			Snapshots:   fakes.ReadySnapshots(),
			WaitApplied: func(context.Context, int, uint64) error { return nil },
			Ready:       func(context.Context) error { return nil },
			Owners:      &Owners{},
		},
		Now:        func() int64 { return fakes.TestNow },
		Freshness:  time.Minute,
		Registerer: w.Registry,
		Gatherer:   w.Registry,
	}
	for _, c := range change {
		c(w)
	}
	g, err := gateway.New(w.Cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Gateway = g
	w.serve(t)
	return w
}

// serve starts both servers.
func (w *World) serve(t testing.TB) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	s := grpc.NewServer(w.Gateway.ServerOptions()...)
	w.Gateway.RegisterGRPC(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	w.Conn = conn
	web := httptest.NewUnstartedServer(nil)
	web.Config = w.Gateway.HTTPServer()
	web.Start()
	w.Url = web.URL
	w.Close = sync.OnceFunc(func() {
		conn.Close()
		s.Stop()
		// A test that is over at once stops the server before it has begun to serve.
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.Gateway.Close(ctx); err != nil {
			t.Error(err)
		}
		web.CloseClientConnections()
		web.Close()
	})
	t.Cleanup(w.Close)
}

// Metrics returns a client that sends events and watches.
func (w *World) Metrics() holdpb.HoldMetricsClient { return holdpb.NewHoldMetricsClient(w.Conn) }

// Query returns a client that reads.
func (w *World) Query() holdpb.HoldMetricsQueryClient {
	return holdpb.NewHoldMetricsQueryClient(w.Conn)
}

// Partition is where a holder of this world lives.
func (w *World) Partition(holder string) int {
	return ingest.Partition(holder, w.Cfg.Log.Partitions())
}

// Apply writes events to the store as a processor would, at the clock of the
// tests; the checkpoints then name position and log time.
func (w *World) Apply(t *testing.T, position uint64, logTime int64, drafts ...hold.Draft) {
	t.Helper()
	fakes.ApplyTo(t, w.Store, w.Cfg.Log.Partitions(), w.Cfg.Rules, position, logTime, drafts...)
}

// OpenLog runs an embedded server with a log in a directory of the test. The test
// meets it behind a broker that lies about what is pending and delivers late, seeded
// by the name of the test.
func OpenLog(t *testing.T) (*ingest.Log, jetstream.JetStream) {
	t.Helper()
	js := natstest.JetStream(t, natstest.Mild(t, natstest.Start(t)))
	var l *ingest.Log
	testwait.Poll(t, "the log opens", func() (err error) { // a busy machine takes longer than a request may
		l, err = ingest.OpenLog(t.Context(), js, ingest.LogConfig{})
		return err
	})
	return l, js
}

// RealLog exchanges the fakes for a log and a producer.
func RealLog(t *testing.T) func(*World) {
	l, _ := OpenLog(t)
	p := ingest.NewProducer(l, ingest.ProducerOptions{Now: func() int64 { return fakes.TestNow }})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close producer: %v", err)
		}
	})
	return func(w *World) { w.Cfg.Producer, w.Cfg.Log = p, l }
}

// Metric is the value of a counter of the gateway; 0 if there is none with these labels.
func (w *World) Metric(t testing.TB, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := w.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			match := true
			for _, l := range m.GetLabel() {
				match = match && labels[l.GetName()] == l.GetValue()
			}
			if match {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
