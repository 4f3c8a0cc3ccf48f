package gateway

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// world is a gateway with what it stands on, each part to be exchanged.
type world struct {
	cfg      Config
	store    *storetest.Faulty
	registry *prometheus.Registry

	gateway *Gateway
	conn    *grpc.ClientConn
	url     string // of the HTTP door
	close   func() // both doors, and waits for what goes on behind them
}

// fakeOwners say the same every time.
type fakeOwners struct {
	partitions []PartitionStatus
	workers    []WorkerStatus
	err        error
}

func (o *fakeOwners) Workers(context.Context) ([]WorkerStatus, error) { return o.workers, o.err }

func (o *fakeOwners) Partitions(context.Context) ([]PartitionStatus, error) {
	return o.partitions, o.err
}

// newWorld makes a gateway over fakes; change exchanges some of them first.
func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{store: storetest.NewFaulty(storetest.NewMemory()), registry: prometheus.NewRegistry()}
	w.cfg = Config{
		Producer: &fakeProducer{},
		Log:      &fakeLog{partitions: 4},
		Backend: Backend{
			Reader:      w.store,
			Snapshots:   readySnapshots(),
			WaitApplied: func(context.Context, int, uint64) error { return nil },
			Ready:       func(context.Context) error { return nil },
			Owners:      &fakeOwners{},
		},
		Now:        func() int64 { return testNow },
		Freshness:  time.Minute,
		Registerer: w.registry,
		Gatherer:   w.registry,
	}
	for _, c := range change {
		c(w)
	}
	g, err := New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.gateway = g
	w.serve(t)
	return w
}

// serve opens both doors.
func (w *world) serve(t testing.TB) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	s := grpc.NewServer(w.gateway.ServerOptions()...)
	w.gateway.RegisterGRPC(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	w.conn = conn
	web := httptest.NewUnstartedServer(nil)
	web.Config = w.gateway.HTTPServer()
	web.Start()
	w.url = web.URL
	w.close = sync.OnceFunc(func() {
		conn.Close()
		s.Stop()
		// A test that is over at once stops the server before it has begun to serve.
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
		w.gateway.Close()
		web.CloseClientConnections()
		web.Close()
	})
	t.Cleanup(w.close)
}

func (w *world) metrics() holdpb.HoldMetricsClient { return holdpb.NewHoldMetricsClient(w.conn) }
func (w *world) query() holdpb.HoldMetricsQueryClient {
	return holdpb.NewHoldMetricsQueryClient(w.conn)
}

// partition is where a holder of this world lives.
func (w *world) partition(holder string) int {
	return ingest.Partition(holder, w.cfg.Log.Partitions())
}

// apply writes events to the store as a processor would, at the clock of the
// tests; the checkpoints then name position and log time.
func (w *world) apply(t *testing.T, position uint64, logTime int64, drafts ...hold.Draft) {
	t.Helper()
	applyTo(t, w.store, w.cfg.Log.Partitions(), w.cfg.Rules, position, logTime, drafts...)
}

// openLog runs an embedded server with a log in a directory of the test.
func openLog(t *testing.T) (*ingest.Log, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
		s.Shutdown()
		s.WaitForShutdown()
	})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return l, js
}

// realLog exchanges the fakes for a log and a producer.
func realLog(t *testing.T) func(*world) {
	l, _ := openLog(t)
	p := ingest.NewProducer(l, ingest.ProducerOptions{Now: func() int64 { return testNow }})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close producer: %v", err)
		}
	})
	return func(w *world) { w.cfg.Producer, w.cfg.Log = p, l }
}

// metric is the value of a counter of the gateway; 0 if there is none with these labels.
func (w *world) metric(t testing.TB, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := w.registry.Gather()
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
