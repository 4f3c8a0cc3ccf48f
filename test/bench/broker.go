package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// broker is a NATS server as `holdmetrics serve` runs it, with or without the
// fsync before each acknowledgement.
type broker struct {
	server *server.Server
	conn   *nats.Conn // through memory, not through a port
	js     jetstream.JetStream
}

func startBroker(dir string, sync bool) (*broker, error) {
	s, err := server.NewServer(&server.Options{
		ServerName: "bench", Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: dir, SyncAlways: sync, JetStreamMaxStore: 1 << 60,
	})
	if err != nil {
		return nil, fmt.Errorf("the NATS server does not start: %w", err)
	}
	s.Start()
	b := &broker{server: s}
	if !s.ReadyForConnections(time.Minute) {
		b.close()
		return nil, errors.New("the NATS server was not ready in time")
	}
	if b.conn, err = nats.Connect("", nats.InProcessServer(s)); err == nil {
		b.js, err = jetstream.New(b.conn)
	}
	if err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *broker) close() {
	if b.conn != nil {
		b.conn.Close()
	}
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// dialNATS connects to a broker in another process.
func dialNATS(url string, o ...jetstream.JetStreamOpt) (*nats.Conn, jetstream.JetStream, error) {
	conn, err := nats.Connect(url)
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(conn, o...)
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	return conn, js, nil
}
