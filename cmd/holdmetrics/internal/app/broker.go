package app

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/cmd/holdmetrics/internal/usage"
)

// brokerStart is how long the embedded NATS server may take to read its files
// and to listen.
const brokerStart = 2 * time.Minute

// maxStore is the limit of the streams on disk: none. Left open, the server takes three
// quarters of what is free at the start, and after a restart on a fuller disk refuses
// what it already has.
const maxStore = 1 << 60

// BrokerName is what the embedded NATS server calls itself.
const BrokerName = "holdmetrics"

// Broker is the embedded NATS server, and our own connection to it, which goes
// through memory and not through a port.
type Broker struct {
	server *server.Server
	Conn   *nats.Conn

	storeDir      string
	reopened      atomic.Uint64 // how often its streams were opened again
	failedToWrite *atomic.Bool  // it has logged so
}

// startBroker starts a NATS server that keeps its streams in dir, synced to disk
// before every acknowledgement, and listens for outside clients on address.
func startBroker(dir, address string, log *zap.Logger) (*Broker, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, usage.Errorf("--%s: the port of %q is not a number up to 65535", settings.KeyNATS, address)
	}
	// The server says no more than that it could not start; asking first gives a clear error.
	probe, err := listen(settings.KeyNATS, address)
	if err != nil {
		return nil, err
	}
	if err := probe.Close(); err != nil {
		return nil, err
	}
	opts := &server.Options{
		ServerName:        BrokerName,
		Host:              host,
		Port:              int(port),
		NoSigs:            true, // signals are ours
		JetStream:         true,
		StoreDir:          dir,
		SyncAlways:        true,
		JetStreamMaxStore: maxStore,
	}
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	return runBroker(opts, log)
}

// StartPrivateBroker starts a NATS server that only this process can reach. It
// syncs when it stops, not before.
func StartPrivateBroker(dir string, log *zap.Logger) (*Broker, error) {
	return runBroker(&server.Options{
		ServerName:        BrokerName,
		DontListen:        true,
		NoSigs:            true,
		JetStream:         true,
		StoreDir:          dir,
		JetStreamMaxStore: maxStore,
	}, log)
}

// runBroker starts a NATS server and connects to it.
func runBroker(opts *server.Options, log *zap.Logger) (*Broker, error) {
	s, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("the embedded NATS server does not start: %w", err)
	}
	fatal, failedToWrite := new(atomic.Pointer[string]), new(atomic.Bool)
	s.SetLoggerV2(&brokerLog{log.Named("nats").Sugar(), fatal, failedToWrite}, log.Core().Enabled(zap.DebugLevel), false, false)
	s.Start()
	if !s.ReadyForConnections(brokerStart) {
		err := errors.New("it was not ready in time")
		if text := fatal.Load(); text != nil {
			err = errors.New(*text)
		}
		stopServer(s)
		return nil, fmt.Errorf("the embedded NATS server does not start: %w", err)
	}
	b := &Broker{server: s, storeDir: opts.StoreDir, failedToWrite: failedToWrite}
	b.Conn, err = nats.Connect("", nats.InProcessServer(s), nats.Name("holdmetrics serve"), nats.MaxReconnects(-1))
	if err != nil {
		stopServer(s)
		return nil, fmt.Errorf("connecting to the embedded NATS server: %w", err)
	}
	return b, nil
}

// Address returns where outside clients connect to.
func (b *Broker) Address() net.Addr { return b.server.Addr() }

// reopen closes the streams of the server and opens them again from their files.
// Connections stay. Consumers are gone, and are made again by those who had them.
func (b *Broker) reopen() error {
	if err := b.server.ShutdownJetStream(); err != nil {
		return fmt.Errorf("closing the streams: %w", err)
	}
	// The server takes the rest from its options.
	if err := b.server.EnableJetStream(&server.JetStreamConfig{StoreDir: b.storeDir, MaxStore: maxStore}); err != nil {
		return fmt.Errorf("opening the streams again: %w", err)
	}
	b.reopened.Add(1)
	return nil
}

// Close closes the connection and stops the server.
func (b *Broker) Close() {
	b.Conn.Close()
	stopServer(b.server)
}

func stopServer(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

// brokerLog writes the log of the NATS server into ours. Its notices and traces are
// debug lines.
type brokerLog struct {
	*zap.SugaredLogger
	fatal         *atomic.Pointer[string] // what made it give up
	failedToWrite *atomic.Bool
}

// Errorf notes what says that a stream keeps an error of a write, and refuses all others.
func (l *brokerLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	for _, sign := range []string{"failed to store a msg", "critical write error", "will be DISABLED"} {
		if strings.Contains(text, sign) {
			l.failedToWrite.Store(true)
		}
	}
	l.SugaredLogger.Errorf("%s", text)
}

func (l *brokerLog) Noticef(format string, v ...any) { l.Debugf(format, v...) }
func (l *brokerLog) Tracef(format string, v ...any)  { l.Debugf(format, v...) }

// Fatalf does not end the process: the server shuts itself down, and startBroker says why.
func (l *brokerLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
	l.Errorf("%s", text)
}
