package ports

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// probesBeyond is how many connections the HTTP server takes beyond its limit, for
	// health checks alone.
	probesBeyond = 8
	// A client that is refused may send its request first, so that it reads the answer as
	// one; so many clients are waited for at once, and each for so long.
	refusalsAtOnce = 8
	refusalWait    = time.Second
	refusedRequest = 4 << 10 // bytes that are read of it
)

// limitedListener is a listener that takes a number of connections at once. It answers
// and closes what is more, so that clients need not wait for what does not come.
type limitedListener struct {
	net.Listener
	name   string // of the server
	most   int64  // 0: no limit
	beyond int64  // connections beyond, which are marked
	refuse []byte // what a client that is too much reads; nil: nothing

	open atomic.Int64

	mu       sync.Mutex
	refusing []*net.TCPConn // that are waited for, the longest first
	closed   bool
	refusals sync.WaitGroup
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		n := l.open.Add(1)
		tcp, ok := c.(*net.TCPConn)
		if l.most == 0 || !ok || n <= l.most+l.beyond {
			if !ok {
				return &otherConn{Conn: c, leave: l.leave()}, nil
			}
			return &limitedConn{TCPConn: tcp, isBeyond: l.most > 0 && n > l.most, leave: l.leave()}, nil
		}
		if !l.awaitRequest(tcp) {
			l.answer(tcp)
		}
	}
}

// awaitRequest answers a client that is too much once it has sent something: a client of
// HTTP takes an answer that comes before its request for a fault. Beyond refusalsAtOnce
// the client that has been silent for longest is waited for no more, and beyond twice as
// many, or if the listener is closed, it returns false and does nothing.
func (l *limitedListener) awaitRequest(c *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.refusing) >= 2*refusalsAtOnce {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(refusalWait))
	l.refusing = append(l.refusing, c)
	if longest := len(l.refusing) - 1 - refusalsAtOnce; longest >= 0 {
		_ = l.refusing[longest].SetReadDeadline(time.Unix(1, 0))
	}
	l.refusals.Go(func() {
		_, _ = c.Read(make([]byte, refusedRequest))
		l.answer(c)
		l.mu.Lock()
		defer l.mu.Unlock()
		i := slices.Index(l.refusing, c)
		l.refusing = slices.Delete(l.refusing, i, i+1)
	})
	return true
}

// answer tells a client that it is too much, and closes its connection.
func (l *limitedListener) answer(c *net.TCPConn) {
	_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if len(l.refuse) > 0 {
		_, _ = c.Write(l.refuse)
	}
	_ = c.CloseWrite()
	_ = c.Close()
	l.open.Add(-1)
}

// Close implements net.Listener. It waits for the refusals under way, refusalWait at most.
func (l *limitedListener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.refusals.Wait()
	return err
}

func (l *limitedListener) leave() func() { return sync.OnceFunc(func() { l.open.Add(-1) }) }

// err returns why the server refuses connections, or nil if it does not.
func (l *limitedListener) err() error {
	if l.most == 0 || l.open.Load() < l.most {
		return nil
	}
	return fmt.Errorf("the %s server has all the %d connections that it takes, and refuses more: close some, or raise the limit (--max-connections, ulimit -n and --memory-limit)", l.name, l.most)
}

// limitedConn is a connection that counts. It has all that a TCP connection has, so that
// servers write to it as they would to that.
type limitedConn struct {
	*net.TCPConn
	isBeyond bool // for health checks alone
	leave    func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}

// otherConn is limitedConn for what is no TCP connection.
type otherConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *otherConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// limitGRPC returns a listener of a gRPC server. A client that is refused reads the
// reason in the frame that ends a connection of HTTP/2.
func limitGRPC(l net.Listener, most int) *limitedListener {
	const settings, goAway, enhanceYourCalm = 4, 7, 11
	reason := "too many connections: the server has as many as it takes"
	frame := append([]byte{0, 0, 0, settings, 0, 0, 0, 0, 0}, 0, 0, byte(8+len(reason)), goAway, 0, 0, 0, 0, 0)
	frame = binary.BigEndian.AppendUint32(frame, 0)
	frame = binary.BigEndian.AppendUint32(frame, enhanceYourCalm)
	return &limitedListener{Listener: l, name: "gRPC", most: int64(most), refuse: append(frame, reason...)}
}

// tooMany is the answer of the HTTP server to a client that is refused.
const tooMany = `{"title":"Service Unavailable","status":503,"detail":"too many connections: the server has as many as it takes"}`

// limitHTTP returns a listener of an HTTP server that was prepared by probesBeyondLimit.
func limitHTTP(l net.Listener, most int) *limitedListener {
	return &limitedListener{
		Listener: l, name: "HTTP", most: int64(most), beyond: probesBeyond,
		refuse: fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(tooMany), tooMany),
	}
}

// probesBeyondLimit has an HTTP server answer health checks alone on the few connections
// that its listener takes beyond the limit.
func probesBeyondLimit(web *http.Server) {
	served, ofConn := web.Handler, web.ConnContext
	web.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if ofConn != nil {
			ctx = ofConn(ctx, c)
		}
		if over, ok := c.(*tls.Conn); ok {
			c = over.NetConn()
		}
		if c, ok := c.(*limitedConn); ok && c.isBeyond {
			ctx = context.WithValue(ctx, beyondKey{}, true)
		}
		return ctx
	}
	web.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Context().Value(beyondKey{}) == nil {
			served.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close")
		switch r.URL.Path {
		case "/healthz", "/readyz", "/metrics":
			served.ServeHTTP(w, r)
		default:
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(tooMany))
		}
	})
}

// beyondKey marks the context of a connection beyond the limit.
type beyondKey struct{}

// Limit returns a listener of an HTTP server that takes a number of connections at once,
// and answers those beyond with 503.
func Limit(l net.Listener, most int) net.Listener { return limitHTTP(l, most) }
