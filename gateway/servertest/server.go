// Package servertest runs a whole holdmetrics server within a Go program, for tests of
// code that uses holdmetrics: the event log, the processor, an embedded store and a
// gateway. It needs no other process and opens no port.
//
//	func TestRewards(t *testing.T) {
//		s := servertest.Start(t)
//		ack, err := s.Metrics().Record(ctx, &holdpb.HoldMsg{...})
//		...
//	}
//
// It is a real server: events are durable, refused by the same rules, and scored
// exactly. Only authentication, several processes and generations are left out.
package servertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"holdmetrics/gateway"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/service"
	"holdmetrics/processor"
	"holdmetrics/projection"
	"holdmetrics/projection/embedded"
	holdpb "holdmetrics/proto"
)

const (
	startLimit = time.Minute
	pipeBytes  = 1 << 20 // of the connection within the process
	cacheBytes = 16 << 20
)

// Server is a running server. It is safe for concurrent use.
type Server struct {
	// Conn is a gRPC connection to the server. Close closes it.
	Conn *grpc.ClientConn
	// Handler answers the HTTP API, for example behind httptest.NewServer.
	Handler http.Handler
	// NATS is a connection to the embedded NATS server, for raw producers.
	NATS *nats.Conn

	group *service.Group
}

// Start runs a server until the end of a test. It fails the test if the server does
// not start or stop.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Open runs a server that keeps its data in a directory, which must be empty or that
// of a server that was closed. ctx bounds the start only. Close must be called.
func Open(ctx context.Context, dir string) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	s := &Server{group: service.New()}
	if err := s.start(ctx, dir); err != nil {
		return nil, errors.Join(fmt.Errorf("servertest: %w", err), s.group.Stop())
	}
	return s, nil
}

// Close stops the server and waits for its last writes. Later calls return the same.
func (s *Server) Close() error { return s.group.Stop() }

// Metrics returns a client that sends events and reads snapshots.
func (s *Server) Metrics() holdpb.HoldMetricsClient { return holdpb.NewHoldMetricsClient(s.Conn) }

// Query returns a client that reads scores, explanations, histories and rankings.
func (s *Server) Query() holdpb.HoldMetricsQueryClient {
	return holdpb.NewHoldMetricsQueryClient(s.Conn)
}

// start starts the parts from the log outwards; the group stops them in reverse.
func (s *Server) start(ctx context.Context, dir string) error {
	js, err := s.startNATS(ctx, filepath.Join(dir, "nats"))
	if err != nil {
		return err
	}
	events, err := ingest.OpenLog(ctx, js, ingest.LogConfig{})
	if err != nil {
		return err
	}
	backend, err := s.startProcessor(ctx, js, events, filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	producer := ingest.NewProducer(events, ingest.ProducerOptions{})
	s.group.Add("the producer", producer.Close)
	gate, err := gateway.New(gateway.Config{Producer: producer, Log: events, Backend: backend})
	if err != nil {
		return err
	}
	return s.startGateway(gate)
}

func (s *Server) startNATS(ctx context.Context, dir string) (jetstream.JetStream, error) {
	broker, err := server.NewServer(&server.Options{JetStream: true, StoreDir: dir, DontListen: true, NoSigs: true, NoLog: true, SyncAlways: true})
	if err != nil {
		return nil, err
	}
	broker.Start()
	s.group.Add("the NATS server", service.Do(func() { broker.Shutdown(); broker.WaitForShutdown() }))
	closed := make(chan struct{})
	s.NATS, err = nats.Connect("", nats.InProcessServer(broker), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		return nil, err
	}
	s.group.Add("the NATS connection", func(ctx context.Context) error {
		s.NATS.Close()
		select {
		case <-closed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return jetstream.New(s.NATS)
}

func (s *Server) startProcessor(ctx context.Context, js jetstream.JetStream, events *ingest.Log, dir string) (query.Backend, error) {
	const generation = "1"
	store, err := embedded.Open(dir, embedded.Options{CacheBytes: cacheBytes})
	if err != nil {
		return query.Backend{}, err
	}
	s.group.Add("the store", service.Close(store))
	snapshots, err := projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: generation, Async: true})
	if err != nil {
		return query.Backend{}, err
	}
	s.group.Add("the snapshots", service.Do(snapshots.Close))
	worker, err := processor.New(processor.Config{Log: events, Store: store, Snapshots: snapshots})
	if err != nil {
		return query.Backend{}, err
	}
	s.group.Go("the processor", worker.Run)
	view, err := snapshots.WatchFed(ctx)
	if err != nil {
		return query.Backend{}, err
	}
	// The gateway closes the view.
	return query.Backend{
		Generation: generation, RulesVersion: hold.NoRulesVersion,
		Reader: store, Snapshots: view, WaitApplied: worker.WaitApplied,
		Ready: func(context.Context) error { return nil },
	}, view.Wait(ctx)
}

func (s *Server) startGateway(gate *gateway.Gateway) error {
	s.group.Add("the gateway", gate.Close)
	s.Handler = gate.Handler()
	listener := bufconn.Listen(pipeBytes)
	rpc := grpc.NewServer(gate.ServerOptions()...)
	gate.RegisterGRPC(rpc)
	served := make(chan error, 1)
	go func() { served <- rpc.Serve(listener) }()
	s.group.Add("the gRPC server", service.Func(func() error {
		gate.Drain()
		rpc.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil
	}))
	conn, err := grpc.NewClient("passthrough:///servertest",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	s.Conn = conn
	s.group.Add("the gRPC connection", service.Close(conn))
	return nil
}
