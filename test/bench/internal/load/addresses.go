package load

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Addresses are where a server listens, and how its gRPC server is called.
type Addresses struct {
	NATS       Broker
	GRPC, HTTP string
	CA         []byte // PEM of the authority that it is known by over TLS; nil: no TLS
	Key        string // sent with every call; empty: none
}

// Broker is a NATS server in another process, and who connects to it.
type Broker struct {
	URL  string
	Seed string // file of the private key of a user; empty: anybody may connect
}

// DialNATS connects to a broker.
func DialNATS(at Broker, o ...jetstream.JetStreamOpt) (*nats.Conn, jetstream.JetStream, error) {
	var user []nats.Option
	if at.Seed != "" {
		key, err := nats.NkeyOptionFromSeed(at.Seed)
		if err != nil {
			return nil, nil, err
		}
		user = append(user, key)
	}
	conn, err := nats.Connect(at.URL, user...)
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
