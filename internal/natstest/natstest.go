// Package natstest runs NATS servers for tests, and connects to them. Everything that
// it starts ends with the test.
package natstest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/testwait"
)

// Listening makes a server listen on a free port of the loopback interface, for other
// processes and for clients by URL.
func Listening(o *server.Options) {
	o.DontListen, o.Host, o.Port = false, "127.0.0.1", server.RANDOM_PORT
}

// Dir returns a directory for the streams of a server, which is removed with the test. A
// server may still write a file of an unfinished atomic batch after its shutdown is over,
// beside which a removal fails, so it is repeated; testing.TB.TempDir tries once.
func Dir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "natstest")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		testwait.Poll(tb, "the directory of the NATS server is removed", func() error { return os.RemoveAll(dir) })
	})
	return dir
}

// Start runs a server with JetStream in a directory of the test. It listens on no port
// unless [Listening], or another change of its options, makes it.
func Start(tb testing.TB, change ...func(*server.Options)) *server.Server {
	tb.Helper()
	o := &server.Options{JetStream: true, StoreDir: Dir(tb), DontListen: true, NoSigs: true, NoLog: true}
	for _, c := range change {
		c(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		tb.Fatal("the NATS server did not start")
	}
	return s
}

// Before starts a broker with faults before a server.
func Before(tb testing.TB, s nats.InProcessConnProvider, f faultynats.Faults) *faultynats.Broker {
	tb.Helper()
	b, err := faultynats.Start(s, f)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil && !errors.Is(err, net.ErrClosed) { // else the test has closed it
			tb.Errorf("close the faulty broker: %v", err)
		}
	})
	return b
}

// Mild starts a broker before a server that delivers late and reports wrong numbers of
// pending messages, seeded by the name of the test.
func Mild(tb testing.TB, s nats.InProcessConnProvider) *faultynats.Broker {
	tb.Helper()
	return Before(tb, s, faultynats.Mild(faultynats.SeedOf(tb.Name())))
}

// Connect connects to a server of this process, or to a broker before one. The test
// waits at its end until the connection is closed.
func Connect(tb testing.TB, s nats.InProcessConnProvider, options ...nats.Option) *nats.Conn {
	tb.Helper()
	return dial(tb, "", append(options, nats.InProcessServer(s))...)
}

// connectLimit is the time limit of one attempt to connect.
const connectLimit = time.Minute

func dial(tb testing.TB, url string, options ...nats.Option) *nats.Conn {
	tb.Helper()
	closed := make(chan struct{})
	options = append([]nats.Option{nats.Timeout(connectLimit)}, options...) // the default of 2 s is short for a busy machine
	nc, err := nats.Connect(url, append(options, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		nc.Close()
		<-closed
	})
	return nc
}

// JetStream connects like [Connect] and returns the streams of the server.
func JetStream(tb testing.TB, s nats.InProcessConnProvider, options ...nats.Option) jetstream.JetStream {
	tb.Helper()
	return streams(tb, Connect(tb, s, options...))
}

// JetStreamAt connects to the server at a URL.
func JetStreamAt(tb testing.TB, url string, options ...nats.Option) jetstream.JetStream {
	tb.Helper()
	return streams(tb, dial(tb, url, options...))
}

func streams(tb testing.TB, nc *nats.Conn) jetstream.JetStream {
	tb.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

// Operator returns the option of a connection as the operator of a holdmetrics serve with
// a data directory.
func Operator(dataDir string) nats.Option {
	return func(o *nats.Options) error {
		option, err := nats.NkeyOptionFromSeed(filepath.Join(dataDir, "nats-users", "operator.seed"))
		if err != nil {
			return err
		}
		return option(o)
	}
}
