package cluster

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Broker is a NATS server as `holdmetrics serve` runs it, with or without the
// fsync before each acknowledgement.
type Broker struct {
	server    *server.Server
	Conn      *nats.Conn // through memory, not through a port
	JetStream jetstream.JetStream
}

// StartBroker starts a broker that keeps its streams in dir. With sync it syncs each
// message before it acknowledges it.
func StartBroker(dir string, sync bool) (*Broker, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: "bench", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: sync, JetStreamMaxStore: 1 << 60,
	})
	if err != nil {
		return nil, fmt.Errorf("the NATS server does not start: %w", err)
	}
	s.Start()
	b := &Broker{server: s}
	if !s.ReadyForConnections(time.Minute) {
		b.Close()
		return nil, errors.New("the NATS server was not ready in time")
	}
	if b.Conn, err = nats.Connect("", nats.InProcessServer(s)); err == nil {
		b.JetStream, err = jetstream.New(b.Conn)
	}
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Close closes the connection and waits until the server has stopped.
func (b *Broker) Close() {
	if b.Conn != nil {
		b.Conn.Close()
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}
