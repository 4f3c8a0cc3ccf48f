package faultynats

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// Broker is a NATS server as an unlucky client sees it. It is safe for concurrent
// use.
type Broker struct {
	dial     func() (net.Conn, error)
	listener net.Listener
	counts   [kinds]atomic.Int64

	mu        sync.Mutex
	faults    Faults
	delivered map[string]uint64 // how often each message was delivered
	links     map[*link]struct{}
	closed    bool
	running   sync.WaitGroup
}

// Server is what a [Broker] stands before; *server.Server of nats-server is one.
type Server interface {
	InProcessConn() (net.Conn, error)
}

// Start starts a broker before a server.
func Start(s Server, f Faults) (*Broker, error) { return StartDialing(s.InProcessConn, f) }

// StartDialing starts a broker before the server that dial connects to. It is for
// servers that are restarted, or run in another process.
func StartDialing(dial func() (net.Conn, error), f Faults) (*Broker, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultynats: listen on loopback: %w", err)
	}
	b := &Broker{
		dial: dial, listener: listener, faults: f,
		delivered: map[string]uint64{}, links: map[*link]struct{}{},
	}
	b.running.Go(b.accept)
	return b, nil
}

func (b *Broker) accept() {
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		if b.connect(client) != nil {
			_ = client.Close()
		}
	}
}

// URL is the address for clients.
func (b *Broker) URL() string { return "nats://" + b.listener.Addr().String() }

// InProcessConn is a connection for nats.InProcessServer.
func (b *Broker) InProcessConn() (net.Conn, error) {
	return net.Dial("tcp", b.listener.Addr().String())
}

func (b *Broker) connect(client net.Conn) error {
	server, err := b.dial()
	if err != nil {
		return err
	}
	l := newLink(b, client, server)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		_ = server.Close()
		return errors.New("faultynats: broker is closed")
	}
	b.links[l] = struct{}{}
	b.running.Go(func() {
		l.run()
		b.mu.Lock()
		delete(b.links, l)
		b.mu.Unlock()
	})
	return nil
}

// Set changes the faults from now on. Subscriptions that have fallen silent stay so.
func (b *Broker) Set(f Faults) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = f
}

// Counts is how many faults were caused since the start.
func (b *Broker) Counts() Counts {
	at := func(k kind) int64 { return b.counts[k].Load() }
	return Counts{
		Pending: at(pendingHigh) + at(pendingLow), Twice: at(twice), Lost: at(lost), Late: at(late),
		Silent: at(silent) + at(mute), LostAcks: at(lostAck), LostReplies: at(lostReply),
	}
}

// Stall makes the connections that exist now stand still, in both directions,
// without closing. Later connections work. Resume ends it.
func (b *Broker) Stall() { b.each(func(l *link) { l.gate.set(true) }) }

// Resume lets stalled connections go on where they stopped.
func (b *Broker) Resume() { b.each(func(l *link) { l.gate.set(false) }) }

// Cut closes the connections that exist now.
func (b *Broker) Cut() { b.each((*link).close) }

func (b *Broker) each(f func(*link)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.links {
		f(l)
	}
}

// Close closes all connections and returns when nothing of the broker runs any more.
func (b *Broker) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	err := b.listener.Close()
	b.Cut()
	b.running.Wait()
	return err
}

// decide returns the decisions about the next delivery of a message.
func (b *Broker) decide(what string) *decider {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.delivered[what]++
	return b.faults.decide(&b.counts, what, b.delivered[what])
}
