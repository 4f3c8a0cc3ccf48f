package ingest

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/internal/natstest"
)

// restartable stands for a server's address: whichever server runs there now.
type restartable struct {
	mu sync.Mutex
	s  *server.Server
}

func (r *restartable) InProcessConn() (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s == nil {
		return nil, fmt.Errorf("the server is down")
	}
	return r.s.InProcessConn()
}

func (r *restartable) set(s *server.Server) {
	r.mu.Lock()
	r.s = s
	r.mu.Unlock()
}

// TestServerRestart stops the server under load and starts it again. Whatever was
// acknowledged is in the log, and nobody waits for ever.
func TestServerRestart(t *testing.T) {
	t.Parallel()
	dir := natstest.Dir(t)
	at := func(o *server.Options) { o.StoreDir, o.SyncAlways = dir, true }
	first := natstest.Start(t, at)
	address := &restartable{s: first}
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(address), nats.MaxReconnects(-1), nats.ReconnectWait(time.Millisecond),
		nats.ReconnectJitter(0, 0), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog(t.Context(), js, LogConfig{Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	p := newTestProducer(t, l, ProducerOptions{AttemptTimeout: 500 * time.Millisecond, RetryWait: time.Millisecond})

	const n = 800
	acked, restarted := make(chan hold.Draft, n), make(chan struct{})
	go func() {
		defer close(restarted)
		for range n / 10 {
			<-acked
		}
		address.set(nil)
		first.Shutdown()
		first.WaitForShutdown()
		address.set(natstest.Start(t, at))
	}()
	var all sync.WaitGroup
	for s := range 4 {
		all.Go(func() {
			for i := range n / 4 {
				d := open("gold", fmt.Sprint("holder", s), int64(1+i))
				if _, err := p.Record(t.Context(), &d); err != nil {
					t.Errorf("%v", err)
				}
				acked <- d
			}
		})
	}
	all.Wait()
	<-restarted
	if got := len(eventsOf(t, l)); got != n {
		t.Errorf("%d events in the log, want %d", got, n)
	}
}
