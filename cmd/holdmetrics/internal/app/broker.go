package app

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"holdmetrics/cmd/holdmetrics/internal/natsaccess"
	"holdmetrics/cmd/holdmetrics/internal/ports"
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

const (
	// brokerWrite is how long a client of the embedded NATS server may leave what it is
	// sent untaken.
	brokerWrite = 10 * time.Second
	// brokerHandshake is how long a client may take for the handshake of TLS.
	brokerHandshake = 5 * time.Second
	// maxSubs is how many subscriptions a connection to it may have.
	maxSubs = 10_000
)

// BrokerName is what the embedded NATS server calls itself.
const BrokerName = "holdmetrics"

// Broker is the embedded NATS server, and our own connection to it, which goes
// through memory and not through a port. The server can be started again from its files
// (see reopen); connections, ours and those of clients, are then made again.
type Broker struct {
	Conn *nats.Conn

	opts     *server.Options
	newGate  func() *natsaccess.Gate // of each server; nil: nobody else connects
	log      *zap.Logger
	current  atomic.Pointer[brokerLife]
	reopened atomic.Uint64 // how often it was started again

	generations atomic.Pointer[[]string] // whose snapshots readers may read; nil: none yet
}

// brokerLife is one server, from its start to its end.
type brokerLife struct {
	server        *server.Server
	gate          *natsaccess.Gate // nil: nobody else connects
	failedToWrite *atomic.Bool     // it has logged so
}

// startBroker starts a NATS server that keeps its streams in dir, synced to disk
// before every acknowledgement, and listens for outside clients on address.
func startBroker(dir, address string, clients int, n *process) (*Broker, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, usage.Errorf("--%s: the port of %q is not a number up to 65535", settings.KeyNATS, address)
	}
	// The server says no more than that it could not start; asking first gives a clear error.
	probe, err := ports.Listen(settings.KeyNATS, address)
	if err != nil {
		return nil, err
	}
	at := probe.Addr()
	if err := probe.Close(); err != nil {
		return nil, err
	}
	local := natsaccess.IsLoopback(at)
	if security := &n.settings.Security; !local && !security.HasTLS() {
		// Clients prove who they are also without TLS, but what they send can be read and changed.
		if !security.Insecure {
			return nil, usage.Errorf("%s: other machines can reach %s, and there is no TLS: give --%s and --%s, or listen on 127.0.0.1, or say --%s",
				settings.Describe(settings.KeyNATS), address, settings.KeyTLSCert, settings.KeyTLSKey, settings.KeyInsecure)
		}
		n.log.Warn("insecure: other machines can reach the NATS server, and what its clients send can be read and changed on the way", zap.Stringer("address", at), zap.String("lacks", "TLS"))
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
		// The server keeps nothing of ours in memory, so this is for operators.
		JetStreamMaxMemory: n.settings.Bounds.NATSMemoryBytes,
		WriteDeadline:      brokerWrite,
		MaxSubs:            maxSubs,
	}
	if most := n.settings.Bounds.NATSConnections; most > 0 { // 0: settings that nobody has read
		opts.MaxConn = most + 1 // and our own
	}
	if clients > 0 {
		opts.MaxConn = min(cmp.Or(opts.MaxConn, clients+1), clients+1)
	}
	if port == 0 {
		opts.Port = server.RANDOM_PORT
	}
	users := natsaccess.UsersOf(n.settings.DataDir)
	if err := users.EnsureOperator(); err != nil {
		return nil, err
	}
	opts.AlwaysEnableNonce = true
	if !local && n.certificate != nil {
		opts.TLSConfig, opts.TLSTimeout = n.certificate.Server(), brokerHandshake.Seconds()
	}
	anonymous := local && n.settings.Anonymous && !n.settings.Security.Auth
	return runBroker(&Broker{opts: opts, log: n.log, newGate: func() *natsaccess.Gate {
		return natsaccess.NewGate(users, anonymous, n.log)
	}})
}

// StartPrivateBroker starts a NATS server that only this process can reach. It
// syncs when it stops, not before.
func StartPrivateBroker(dir string, log *zap.Logger) (*Broker, error) {
	return runBroker(&Broker{log: log, opts: &server.Options{
		ServerName:        BrokerName,
		DontListen:        true,
		NoSigs:            true,
		JetStream:         true,
		StoreDir:          dir,
		JetStreamMaxStore: maxStore,
	}})
}

// runBroker starts the NATS server of a broker and connects to it.
func runBroker(b *Broker) (*Broker, error) {
	if err := b.launch(); err != nil {
		return nil, err
	}
	var err error
	b.Conn, err = nats.Connect("", nats.InProcessServer(b), nats.Name("holdmetrics serve"),
		nats.MaxReconnects(-1), nats.ReconnectWait(ownReconnect), nats.ReconnectJitter(0, 0))
	if err != nil {
		stopServer(b.current.Load().server)
		return nil, fmt.Errorf("connecting to the embedded NATS server: %w", err)
	}
	return b, nil
}

// ownReconnect is the pause between tries of our own connection to a server that is
// started again.
const ownReconnect = 50 * time.Millisecond

// launch starts a server, which becomes the current one.
func (b *Broker) launch() error {
	opts, life := b.opts.Clone(), &brokerLife{failedToWrite: new(atomic.Bool)} // the server changes them
	if b.newGate != nil {
		life.gate = b.newGate()
		opts.CustomClientAuthentication = life.gate
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("the embedded NATS server does not start: %w", err)
	}
	life.server = s
	fatal := new(atomic.Pointer[string])
	s.SetLoggerV2(&brokerLog{SugaredLogger: b.log.Named("nats").Sugar(), fatal: fatal, failedToWrite: life.failedToWrite}, b.log.Core().Enabled(zap.DebugLevel), false, false)
	if err := giveBack(b.opts.StoreDir); err != nil { // of a start that was killed
		return fmt.Errorf("the files of the embedded NATS server: %w", err)
	}
	if err := keepStreams(b.opts.StoreDir); err != nil {
		b.log.Warn("the files of the streams cannot be linked before the NATS server starts: it deletes a stream that it cannot read", zap.Error(err))
	}
	damaged, err := dropIndexes(b.opts.StoreDir)
	if err != nil {
		b.log.Warn("a snapshot bucket cannot be checked before the NATS server starts", zap.Error(err))
	}
	for _, dir := range damaged {
		b.log.Error("a snapshot bucket is damaged: its index is dropped, and what is lost is published again from the store", zap.String("directory", dir))
	}
	s.Start()
	ready := s.ReadyForConnections(brokerStart)
	if err := giveBack(b.opts.StoreDir); err != nil {
		stopServer(s)
		return fmt.Errorf("the files of the embedded NATS server: %w", err)
	}
	if !ready {
		err := errors.New("it was not ready in time")
		if text := fatal.Load(); text != nil {
			err = errors.New(*text)
		}
		stopServer(s)
		return fmt.Errorf("the embedded NATS server does not start: %w", err)
	}
	if life.gate != nil {
		if err := life.gate.Attach(s); err != nil {
			stopServer(s)
			return fmt.Errorf("the users of the embedded NATS server: %w", err)
		}
		if names := b.generations.Load(); names != nil {
			if err := life.gate.SetGenerations(*names); err != nil {
				stopServer(s)
				return fmt.Errorf("the users of the embedded NATS server: %w", err)
			}
		}
	}
	b.current.Store(life)
	return nil
}

// setGenerations sets the generations whose snapshots readers may read.
func (b *Broker) setGenerations(names []string) error {
	b.generations.Store(&names)
	return b.current.Load().gate.SetGenerations(names)
}

// lookAtUsers reads the users of the data directory again.
func (b *Broker) lookAtUsers() { b.current.Load().gate.Look() }

// InProcessConn connects to the current server.
func (b *Broker) InProcessConn() (net.Conn, error) { return b.current.Load().server.InProcessConn() }

// Address returns where outside clients connect to.
func (b *Broker) Address() net.Addr { return b.current.Load().server.Addr() }

// failedToWrite reports whether the server has refused a write that it could not store.
// From then on it refuses all writes of that stream.
func (b *Broker) failedToWrite() bool { return b.current.Load().failedToWrite.Load() }

// full returns why the server refuses connections, or nil.
func (b *Broker) full() error {
	if most := b.opts.MaxConn; most > 0 && b.current.Load().server.NumClients() >= most {
		return fmt.Errorf("the NATS server has all the %d connections that it takes, and refuses more: close some, or raise the limit (--nats-connections and ulimit -n)", most-1)
	}
	return nil
}

// reopen stops the server and starts another one from its files, at the same address.
// If that fails, there is none until the next call.
func (b *Broker) reopen() error {
	old := b.current.Load().server
	if at, ok := old.Addr().(*net.TCPAddr); ok {
		b.opts.Port = at.Port // the one that was given where any would do
	}
	stopServer(old)
	if err := b.launch(); err != nil {
		return err
	}
	b.reopened.Add(1)
	return nil
}

// Close closes the connection and stops the server.
func (b *Broker) Close() {
	b.Conn.Close()
	stopServer(b.current.Load().server)
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
	refusals      refusals
}

// Errorf notes what says that a stream keeps an error of a write, and refuses all others.
func (l *brokerLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if isRefusal(text) {
		l.refusal(text)
		return
	}
	for _, sign := range []string{"failed to store a msg", "critical write error", "will be DISABLED"} {
		if strings.Contains(text, sign) {
			l.failedToWrite.Store(true)
		}
	}
	l.SugaredLogger.Errorf("%s", text)
}

func (l *brokerLog) Noticef(format string, v ...any) { l.Debugf(format, v...) }
func (l *brokerLog) Tracef(format string, v ...any)  { l.Debugf(format, v...) }

// isRefusal reports whether the server says that a client may not do something.
func isRefusal(text string) bool {
	return strings.Contains(text, " Violation - ") || strings.Contains(text, "authentication error") || strings.Contains(text, "authorization violation")
}

// refusalsLogged is how many refusals of clients are logged in a second: clients can
// cause any number.
const refusalsLogged = 5

// refusals counts the refusals of a second.
type refusals struct {
	mu     sync.Mutex
	second int64
	n      int
}

// next counts one more, and returns how many of the second before were not logged.
func (r *refusals) next(now time.Time) (log bool, unlogged int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := now.Unix(); s != r.second {
		unlogged = max(r.n-refusalsLogged, 0)
		r.second, r.n = s, 0
	}
	r.n++
	return r.n <= refusalsLogged, unlogged
}

// refusal logs that a client was refused something.
func (l *brokerLog) refusal(text string) {
	log, unlogged := l.refusals.next(time.Now())
	if unlogged > 0 {
		l.Warnf("%d more refusals of clients", unlogged)
	}
	if log {
		l.Warnf("%s", text)
	}
}

// Fatalf does not end the process: the server shuts itself down, and startBroker says why.
func (l *brokerLog) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.fatal.CompareAndSwap(nil, &text)
	l.Errorf("%s", text)
}
