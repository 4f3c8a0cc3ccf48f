// Package immutest runs immudb servers within tests.
package immutest

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/codenotary/immudb/pkg/logger"
	"github.com/codenotary/immudb/pkg/server"

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
	s := &Server{Dir: dir, ended: make(chan error, 1)}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	s.Address = listener.Addr().String()
	options := server.DefaultOptions().WithDir(dir).WithListener(listener).WithAdminPassword(Password).
		WithMetricsServer(false).WithWebServer(false).WithPgsqlServer(false).WithNoHistograms(true).WithSynced(false)
	s.immu = server.DefaultServer().WithOptions(options).WithLogger(logger.NewMemoryLoggerWithLevel(logger.LogError)).(*server.ImmuServer)
	if err := s.immu.Initialize(); err != nil {
		tb.Fatal(err)
	}
	go func() { s.ended <- s.immu.GrpcServer.Serve(listener) }() // ImmuServer.Start ends the process on an error
	tb.Cleanup(s.Stop)
	return s
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
