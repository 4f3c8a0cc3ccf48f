package gateway_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
	holdpb "holdmetrics/proto"
)

// stallingLog is a connection to a log whose acknowledgements stop coming.
type stallingLog struct {
	*server.Server
	stalled chan struct{} // closed: no more is read
	freed   chan struct{} // closed: it is again
}

func (s *stallingLog) InProcessConn() (net.Conn, error) {
	c, err := s.Server.InProcessConn()
	return &stallingConn{c, s}, err
}

type stallingConn struct {
	net.Conn
	log *stallingLog
}

func (c *stallingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	select {
	case <-c.log.stalled:
		<-c.log.freed
	default:
	}
	return n, err
}

// stalledLog exchanges the fakes for a real producer, with a small quota, on a log
// that acknowledges nothing.
func stalledLog(t *testing.T, quota int) (func(*gatewaytest.World), *ingest.Producer) {
	t.Helper()
	stall := &stallingLog{Server: natstest.Start(t), stalled: make(chan struct{}), freed: make(chan struct{})}
	js := natstest.JetStream(t, stall)
	l, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := ingest.NewProducer(l, ingest.ProducerOptions{
		Now: func() int64 { return fakes.TestNow }, MaxPending: quota, MaxWait: 10 * time.Millisecond,
	})
	close(stall.stalled)
	t.Cleanup(func() {
		close(stall.freed)
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close producer: %v", err)
		}
	})
	return func(w *gatewaytest.World) {
		w.Cfg.Producer = p
		w.Cfg.RecordWait, w.Cfg.StreamWait = 20*time.Millisecond, 20*time.Millisecond
	}, p
}

// A log that stalls slows its producers down and then refuses their events, at every
// endpoint, both while there is quota for them and when there is none. The events that
// wait never exceed the quota.
func TestAStalledLogRefusesAtEveryEndpoint(t *testing.T) {
	t.Parallel()
	const quota = 500
	exhausted := func(err error) (string, bool) {
		return status.Code(err).String(), status.Code(err) == codes.ResourceExhausted
	}
	tooMany := func(path string, body []byte) func(*testing.T, *gatewaytest.World) (string, bool) {
		return func(t *testing.T, w *gatewaytest.World) (string, bool) {
			resp, answer := gatewaytest.Do(t, http.MethodPost, w.Url+path, string(body))
			gatewaytest.ProblemOf(t, resp, answer)
			return string(answer), resp.StatusCode == http.StatusTooManyRequests && resp.Header.Get("Retry-After") != ""
		}
	}
	var lines bytes.Buffer
	if err := gatewaytest.ManyLines(&lines, 20*quota); err != nil {
		t.Fatal(err)
	}
	for name, send := range map[string]func(*testing.T, *gatewaytest.World) (answer string, refused bool){
		"Record": func(t *testing.T, w *gatewaytest.World) (string, bool) {
			_, err := w.Metrics().Record(t.Context(), gatewaytest.GoodEvent(1))
			return exhausted(err)
		},
		"Broadcast": func(t *testing.T, w *gatewaytest.World) (string, bool) {
			stream, err := w.Metrics().Broadcast(t.Context())
			for i := 0; err == nil && i < 20*quota; i++ {
				err = stream.Send(gatewaytest.GoodEvent(i))
			}
			_, err = stream.Recv()
			return exhausted(err)
		},
		"BroadcastBatch": func(t *testing.T, w *gatewaytest.World) (string, bool) {
			stream, err := w.Metrics().BroadcastBatch(t.Context())
			batch := &holdpb.HoldBatch{}
			for i := range 100 {
				batch.Events = append(batch.Events, gatewaytest.GoodEvent(i))
			}
			for i := 0; err == nil && i < quota/5; i++ {
				err = stream.Send(batch)
			}
			_, err = stream.Recv()
			return exhausted(err)
		},
		"POST hold":  tooMany("/hold", []byte(gatewaytest.GoodLine(1))),
		"POST holds": tooMany("/holds", lines.Bytes()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			withLog, p := stalledLog(t, quota)
			w := gatewaytest.NewWorld(t, withLog)
			for range 3 { // with quota, then without
				var clients sync.WaitGroup
				for range 4 {
					clients.Go(func() {
						if answer, refused := send(t, w); !refused {
							t.Errorf("answered %s", answer)
						}
					})
				}
				clients.Wait()
				if events, _ := p.Pending(); events > quota || events == 0 {
					t.Errorf("%d events wait, the quota is %d", events, quota)
				}
			}
		})
	}
}
