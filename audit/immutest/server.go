// Package immutest runs immudb servers within tests.
package immutest

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"

	"github.com/codenotary/immudb/pkg/api/schema"
	"github.com/codenotary/immudb/pkg/logger"
	"github.com/codenotary/immudb/pkg/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"holdmetrics/audit/immu"
)

// The credentials of a new server.
const (
	User     = "immudb"
	Password = "immudb"
)

// Server is a running server.
type Server struct {
	Dir     string
	Address string

	immu  *server.ImmuServer
	ended chan error
}

// Start runs a server on a directory until the end of a test.
func Start(tb testing.TB, dir string) *Server {
	tb.Helper()
	return StartAt(tb, dir, "127.0.0.1:0")
}

// StartAt is Start at an address.
func StartAt(tb testing.TB, dir, address string) *Server {
	tb.Helper()
	return startWith(tb, dir, address, nil)
}

// StartTLS is Start with a server that speaks TLS.
func StartTLS(tb testing.TB, dir string, cfg *tls.Config) *Server {
	tb.Helper()
	return startWith(tb, dir, "127.0.0.1:0", cfg)
}

func startWith(tb testing.TB, dir, address string, cfg *tls.Config) *Server {
	tb.Helper()
	s := &Server{Dir: dir, ended: make(chan error, 1)}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	s.Address = listener.Addr().String()
	if s.immu, err = initialised(options(dir, listener).WithSynced(false).WithTLS(cfg)); err != nil {
		tb.Fatal(err)
	}
	go func() { s.ended <- s.immu.GrpcServer.Serve(listener) }() // ImmuServer.Start ends the process on an error
	tb.Cleanup(s.Stop)
	return s
}

func options(dir string, listener net.Listener) *server.Options {
	return server.DefaultOptions().WithDir(dir).WithListener(listener).WithAdminPassword(Password).
		WithMetricsServer(false).WithWebServer(false).WithPgsqlServer(false).WithNoHistograms(true)
}

func initialised(o *server.Options) (*server.ImmuServer, error) {
	s := server.DefaultServer().WithOptions(o).WithLogger(logger.NewMemoryLoggerWithLevel(logger.LogError)).(*server.ImmuServer)
	return s, s.Initialize()
}

// Serve is a process that is an immudb server, until it is killed. Unlike those within
// tests it answers when what was written is on the disk, as immudb does by default. ready
// is called when it listens.
func Serve(dir, address string, ready func()) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	s, err := initialised(options(dir, listener))
	if err != nil {
		return err
	}
	ready()
	return s.GrpcServer.Serve(listener)
}

// Stop stops the server. Stopping twice does no harm.
func (s *Server) Stop() {
	if s.immu == nil {
		return
	}
	s.immu.GrpcServer.Stop()
	<-s.ended
	_ = s.immu.CloseDatabases()
	s.immu = nil
}

// Config is that of a client of the server.
func (s *Server) Config(tb testing.TB) immu.Config {
	return immu.Config{Address: s.Address, User: User, Password: Password, StateFile: filepath.Join(tb.TempDir(), "state.json")}
}

// Token logs in, and returns a token of a database.
func (s *Server) Token(tb testing.TB, database string, secure credentials.TransportCredentials) string {
	tb.Helper()
	conn, err := grpc.NewClient(s.Address, grpc.WithTransportCredentials(secure))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	service := schema.NewImmuServiceClient(conn)
	//lint:ignore SA1019 immudb still takes tokens, and so does this project
	in, err := service.Login(tb.Context(), &schema.LoginRequest{User: []byte(User), Password: []byte(Password)})
	if err != nil {
		tb.Fatal(err)
	}
	//lint:ignore SA1019 see above
	ctx := metadata.AppendToOutgoingContext(tb.Context(), "authorization", "Bearer "+in.Token)
	of, err := service.UseDatabase(ctx, &schema.Database{DatabaseName: database})
	if err != nil {
		tb.Fatal(err)
	}
	//lint:ignore SA1019 see above
	return of.Token
}

// CreateDatabase makes a database.
func (s *Server) CreateDatabase(tb testing.TB, name string) {
	tb.Helper()
	s.As(tb, func(ctx context.Context, service schema.ImmuServiceClient) error {
		_, err := service.CreateDatabaseV2(ctx, &schema.CreateDatabaseRequest{Name: name})
		return err
	})
}

// As calls immudb's own interface, as somebody does who has the credentials.
func (s *Server) As(tb testing.TB, call func(ctx context.Context, service schema.ImmuServiceClient) error) {
	tb.Helper()
	token := s.Token(tb, immu.DefaultDatabase, insecure.NewCredentials())
	conn, err := grpc.NewClient(s.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(tb.Context(), "authorization", "Bearer "+token)
	if err := call(ctx, schema.NewImmuServiceClient(conn)); err != nil {
		tb.Fatal(err)
	}
}

// Open opens a client until the end of a test.
func Open(tb testing.TB, cfg immu.Config) *immu.Client {
	tb.Helper()
	c, err := immu.Open(context.Background(), cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}
