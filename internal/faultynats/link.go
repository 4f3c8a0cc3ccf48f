package faultynats

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// link is one connection of a client, and the one to the server that belongs to it.
type link struct {
	broker         *Broker
	client, server net.Conn
	gate           gate
	closing        sync.Once

	mu     sync.Mutex // of what is written to the client
	out    *bufio.Writer
	held   map[string]*held // by subscription
	silent map[string]kind  // subscriptions that have fallen silent
	closed bool
	timers sync.WaitGroup
}

// held are the messages of a subscription that are held back, in order.
type held struct {
	messages [][]byte
	timer    *time.Timer
}

func newLink(b *Broker, client, server net.Conn) *link {
	l := &link{
		broker: b, client: client, server: server,
		out: bufio.NewWriter(client), held: map[string]*held{}, silent: map[string]kind{},
	}
	l.gate.init()
	return l
}

// run passes on both directions until one of them ends.
func (l *link) run() {
	var both sync.WaitGroup
	both.Go(func() {
		defer l.close()
		_ = l.upstream()
	})
	both.Go(func() {
		defer l.close()
		_ = l.downstream()
	})
	both.Wait()
	l.mu.Lock()
	l.closed = true
	for _, h := range l.held {
		if h.timer.Stop() {
			l.timers.Done()
		}
	}
	l.mu.Unlock()
	l.timers.Wait()
}

func (l *link) close() {
	l.closing.Do(func() {
		l.gate.end()
		_ = l.client.Close()
		_ = l.server.Close()
	})
}

// upstream passes on what the client sends, as it is.
func (l *link) upstream() error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := l.client.Read(buffer)
		if !l.gate.pass() {
			return net.ErrClosed
		}
		if n > 0 {
			if _, err := l.server.Write(buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// downstream passes on what the server sends, one unit of the protocol after the other.
func (l *link) downstream() error {
	in := bufio.NewReaderSize(l.server, 64<<10)
	for {
		unit, err := readUnit(in)
		if err != nil {
			return err
		}
		if !l.gate.pass() {
			return net.ErrClosed
		}
		l.mu.Lock()
		if unit.message {
			err = l.message(unit)
		} else {
			_, err = l.out.Write(unit.encode())
		}
		if err == nil && in.Buffered() == 0 {
			err = l.out.Flush()
		}
		l.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// message decides what becomes of a message. l.mu is held.
func (l *link) message(u *unit) error {
	d := u.delivery()
	if as, ok := l.silent[u.sid]; ok && (d != nil || as == silent) {
		return nil
	}
	var decided *decider
	switch {
	case d != nil:
		decided = l.broker.decide(d.stream + " " + d.sequence)
		if only := decided.faults.Only; only != "" && only != d.stream {
			decided.faults = Faults{Seed: decided.faults.Seed}
		}
	case u.isAck():
		if decided = l.broker.decide("ack"); decided.happens(lostAck) {
			return nil
		}
	case u.isReply():
		if decided = l.broker.decide("reply"); decided.happens(lostReply) {
			return nil
		}
	default:
		return l.send(u.sid, u.encode(), 0)
	}
	times := 1
	if d != nil {
		if decided.happens(pendingHigh) {
			u.setPending(d.pending + 1 + decided.random.Uint64N(100))
		} else if decided.happens(pendingLow) {
			u.setPending(0)
		}
		for _, k := range []kind{silent, mute} {
			if decided.happens(k) {
				l.silent[u.sid] = k
				return nil
			}
		}
		if decided.happens(lost) {
			return nil
		}
		if decided.happens(twice) {
			times = 2
		}
	}
	var delay time.Duration
	if decided.happens(late) {
		delay = decided.delay()
	}
	for range times {
		if err := l.send(u.sid, u.encode(), delay); err != nil {
			return err
		}
	}
	return nil
}

// send writes a message, after those of the same subscription that are held back.
// l.mu is held.
func (l *link) send(sid string, message []byte, delay time.Duration) error {
	h := l.held[sid]
	switch {
	case h != nil:
		h.messages = append(h.messages, message)
	case delay > 0:
		h = &held{messages: [][]byte{message}}
		l.held[sid] = h
		l.timers.Add(1)
		h.timer = time.AfterFunc(delay, func() {
			defer l.timers.Done()
			l.release(sid)
		})
	default:
		_, err := l.out.Write(message)
		return err
	}
	return nil
}

// release sends what was held back of a subscription.
func (l *link) release(sid string) {
	if !l.gate.pass() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	h := l.held[sid]
	delete(l.held, sid)
	for _, message := range h.messages {
		_, _ = l.out.Write(message) // an error stays, and ends the link at the next flush
	}
	_ = l.out.Flush()
}

// unit is one unit of the client protocol: a line, and the payload of a message.
type unit struct {
	message      bool
	op           string // of a message: MSG or HMSG
	subject, sid string
	reply        string
	headerSize   int // of a HMSG
	payload      []byte
	line         []byte // of what is no message, with its end
}

var errProtocol = errors.New("faultynats: the server sent something that is not the NATS protocol")

func readUnit(in *bufio.Reader) (*unit, error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	fields := strings.Fields(string(line))
	if len(fields) == 0 || fields[0] != "MSG" && fields[0] != "HMSG" {
		return &unit{line: line}, nil
	}
	u := &unit{message: true, op: fields[0]}
	sizes := 1
	if u.op == "HMSG" {
		sizes = 2
	}
	if len(fields) < 3+sizes || len(fields) > 4+sizes {
		return nil, fmt.Errorf("%w: %q", errProtocol, line)
	}
	u.subject, u.sid = fields[1], fields[2]
	if len(fields) == 4+sizes {
		u.reply = fields[3]
	}
	if u.op == "HMSG" {
		if u.headerSize, err = strconv.Atoi(fields[len(fields)-2]); err != nil {
			return nil, fmt.Errorf("%w: %q", errProtocol, line)
		}
	}
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil || size < 0 {
		return nil, fmt.Errorf("%w: %q", errProtocol, line)
	}
	u.payload = make([]byte, size+2)
	_, err = io.ReadFull(in, u.payload)
	return u, err
}

func (u *unit) encode() []byte {
	if !u.message {
		return u.line
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s %s", u.op, u.subject, u.sid)
	if u.reply != "" {
		b.WriteByte(' ')
		b.WriteString(u.reply)
	}
	if u.op == "HMSG" {
		fmt.Fprintf(&b, " %d", u.headerSize)
	}
	fmt.Fprintf(&b, " %d\r\n", len(u.payload)-2)
	b.Write(u.payload)
	return b.Bytes()
}

// delivery is what the reply subject of a message from a consumer says.
type delivery struct {
	stream, sequence string
	pending          uint64
}

// delivery returns nil if the message is not from a consumer.
//
//	$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>
//	$JS.ACK.<domain>.<account>.<stream>. ... <pending>[.<random>]
func (u *unit) delivery() *delivery {
	fields, first, last := u.ackFields()
	if fields == nil {
		return nil
	}
	pending, err := strconv.ParseUint(fields[last], 10, 64)
	if err != nil {
		return nil
	}
	return &delivery{stream: fields[first], sequence: fields[first+3], pending: pending}
}

func (u *unit) ackFields() (fields []string, stream, pending int) {
	if !strings.HasPrefix(u.reply, "$JS.ACK.") {
		return nil, 0, 0
	}
	switch fields = strings.Split(u.reply, "."); {
	case len(fields) == 9:
		return fields, 2, 8
	case len(fields) >= 11:
		return fields, 4, 10
	}
	return nil, 0, 0
}

func (u *unit) setPending(n uint64) {
	fields, _, pending := u.ackFields()
	fields[pending] = strconv.FormatUint(n, 10)
	u.reply = strings.Join(fields, ".")
}

// isAck reports whether the message acknowledges a published one.
func (u *unit) isAck() bool {
	return u.reply == "" && bytes.HasPrefix(u.payload, []byte(`{"stream":`)) && bytes.Contains(u.payload, []byte(`"seq":`))
}

// isReply reports whether the message answers a request to JetStream.
func (u *unit) isReply() bool {
	return u.reply == "" && bytes.HasPrefix(u.payload, []byte(`{"type":"io.nats.jetstream.`))
}

// gate is where a connection that stands still waits.
type gate struct {
	mu           sync.Mutex
	moved        sync.Cond
	shut, closed bool
}

func (g *gate) init() { g.moved.L = &g.mu }

// pass waits until the gate is open, and reports whether the link still exists.
func (g *gate) pass() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.shut && !g.closed {
		g.moved.Wait()
	}
	return !g.closed
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	g.shut = shut
	g.mu.Unlock()
	g.moved.Broadcast()
}

func (g *gate) end() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.moved.Broadcast()
}
