package load

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Addresses are where a server listens, and how its gRPC server is called.
type Addresses struct {
	NATS, GRPC, HTTP string
	CA               []byte // PEM of the authority that it is known by over TLS; nil: no TLS
	Key              string // sent with every call; empty: none
}

// DialNATS connects to a broker in another process.
func DialNATS(url string, o ...jetstream.JetStreamOpt) (*nats.Conn, jetstream.JetStream, error) {
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
