package gateway_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/timestamppb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
	holdpb "holdmetrics/proto"
)

// unreadWorld is a gateway with more to say than a connection takes that nobody reads.
// What it logs goes to the observer.
func unreadWorld(t *testing.T) (*gatewaytest.World, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.WarnLevel)
	var stats []*holdpb.HoldStat
	for i := range 500 {
		s := gatewaytest.StatOf(fmt.Sprint("h", i), "1", "0")
		s.Rules = strings.Repeat("r", 1000)
		stats = append(stats, s)
	}
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Snapshots = fakes.ReadySnapshots(stats...)
		w.Cfg.SendStall = 50 * time.Millisecond
		w.Cfg.Logger = zap.New(core)
	})
	var drafts []hold.Draft
	long := strings.Repeat("x", 200)
	for i := range 1000 {
		drafts = append(drafts, fakes.Held("u", fmt.Sprint(long, i), int64(1+i), int64(2+i), 1))
	}
	for i := range 3000 {
		d := fakes.Held("t", long, int64(1+2*i), int64(2+2*i), 0)
		d.WeightExact = strings.Repeat("9", 37) + "." + strings.Repeat("9", 18)
		drafts = append(drafts, d)
	}
	w.Apply(t, 5, 5e9, drafts...)
	return w, logs
}

// A stream whose client does not read what it is sent ends soon, with words, whatever
// the method.
func TestStreamsThatNobodyReadsEnd(t *testing.T) {
	t.Parallel()
	w, _ := unreadWorld(t)
	listener := bufconn.Listen(4 << 10)
	s := grpc.NewServer(w.Gateway.ServerOptions()...)
	w.Gateway.RegisterGRPC(s)
	var serving sync.WaitGroup
	serving.Go(func() { _ = s.Serve(listener) })
	t.Cleanup(func() {
		s.Stop()
		serving.Wait()
	})
	conn, err := grpc.NewClient("passthrough:///bufconn", grpc.WithInitialWindowSize(64<<10), // or the client would take ever more
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	metrics, query := holdpb.NewHoldMetricsClient(conn), holdpb.NewHoldMetricsQueryClient(conn)
	holder := strings.Repeat("x", 200)
	to := &timestamppb.Timestamp{Seconds: 1_000_000}
	// A client that does not read learns nothing of the end: its Send waits until it reads.
	var sending sync.WaitGroup
	t.Cleanup(sending.Wait)
	for name, open := range map[string]func(ctx context.Context) (grpc.ClientStream, error){
		"Stats": func(ctx context.Context) (grpc.ClientStream, error) {
			return metrics.Stats(ctx, &holdpb.StatsRequest{})
		},
		"GetSnapshot": func(ctx context.Context) (grpc.ClientStream, error) {
			return query.GetSnapshot(ctx, &holdpb.StatsRequest{AsOf: to})
		},
		"Scores": func(ctx context.Context) (grpc.ClientStream, error) {
			return query.Scores(ctx, &holdpb.ScoresRequest{ByToken: true})
		},
		"Explain": func(ctx context.Context) (grpc.ClientStream, error) {
			return query.Explain(ctx, &holdpb.ExplainRequest{HolderId: holder})
		},
		"History": func(ctx context.Context) (grpc.ClientStream, error) {
			return query.History(ctx, &holdpb.HistoryRequest{HolderId: holder, To: to, Points: 1000})
		},
		"Broadcast": func(ctx context.Context) (grpc.ClientStream, error) {
			stream, err := metrics.Broadcast(ctx)
			sending.Go(func() {
				for i, err := 0, err; err == nil; i++ {
					err = stream.Send(gatewaytest.GoodEvent(i))
				}
			})
			return stream, err
		},
		"BroadcastBatch": func(ctx context.Context) (grpc.ClientStream, error) {
			stream, err := metrics.BroadcastBatch(ctx)
			bad := &holdpb.HoldBatch{Events: make([]*holdpb.HoldMsg, 100)}
			for i := range bad.Events {
				bad.Events[i] = &holdpb.HoldMsg{TokenId: "pool"}
			}
			sending.Go(func() {
				for err := err; err == nil; {
					err = stream.Send(bad)
				}
			})
			return stream, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream, err := open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			// It reads only after the server has counted the call.
			service := "/poh.HoldMetricsQuery/"
			if slices.ContainsFunc(holdpb.HoldMetrics_ServiceDesc.Streams, func(s grpc.StreamDesc) bool { return s.StreamName == name }) {
				service = "/poh.HoldMetrics/"
			}
			testwait.Poll(t, "the server ends the stream", func() error {
				if w.Metric(t, "holdmetrics_gateway_requests_total", map[string]string{"api": "grpc", "method": service + name, "code": codes.Canceled.String()}) == 0 {
					return errors.New("it goes on")
				}
				return nil
			})
			sent := 0
			for err == nil {
				if err = stream.RecvMsg(&holdpb.Empty{}); err == nil {
					sent++
				}
			}
			if status.Code(err) != codes.Canceled || !strings.Contains(err.Error(), "its client did not read it for 50ms, after ") {
				t.Errorf("%v, after %d messages", err, sent)
			}
		})
	}
}

// serveNarrow serves HTTP on a listener whose connections hold a KiB that nobody reads.
func serveNarrow(t *testing.T, w *gatewaytest.World) *bufconn.Listener {
	t.Helper()
	listener := bufconn.Listen(1 << 10)
	web := w.Gateway.HTTPServer()
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(listener) })
	t.Cleanup(func() {
		web.Close()
		serving.Wait()
	})
	return listener
}

// An answer of HTTP whose client does not read it ends soon, and the log says so.
func TestAnswersThatNobodyReadsEnd(t *testing.T) {
	t.Parallel()
	w, logs := unreadWorld(t)
	listener := serveNarrow(t, w)
	for _, path := range []string{
		"/stats", "/stats?format=csv", "/stats/watch", "/scores?by_token=true&format=ndjson", "/openapi.json", "/docs",
	} {
		t.Run(path[:min(len(path), 20)], func(t *testing.T) {
			t.Parallel()
			c, err := listener.DialContext(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
				t.Fatal(err)
			}
			name, _, _ := strings.Cut(path, "?")
			testwait.Poll(t, "the answer is cut off", func() error {
				for _, entry := range logs.FilterMessage("answer cut off").All() {
					fields := entry.ContextMap()
					if fields["path"] == name && strings.Contains(fmt.Sprint(fields["error"]), "its client did not read it for 50ms, after ") {
						return nil
					}
				}
				return fmt.Errorf("logged %v", logs.All())
			})
		})
	}
}

// An answer that is smaller than what the server keeps before it writes is cut off too.
func TestASmallAnswerThatNobodyReadsEnds(t *testing.T) {
	t.Parallel()
	w, _ := unreadWorld(t)
	listener := bufconn.Listen(1 << 10)
	web := w.Gateway.HTTPServer()
	closed, states := make(chan struct{}), web.ConnState
	web.ConnState = func(c net.Conn, state http.ConnState) {
		states(c, state)
		if state == http.StateClosed {
			close(closed)
		}
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(listener) })
	t.Cleanup(func() {
		web.Close()
		serving.Wait()
	})
	c, err := listener.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-closed:
	case <-time.After(testwait.PollLimit):
		t.Fatal("the connection stays")
	}
}

// deadlines is a listener whose connections report the time limits that writes get.
type deadlines struct {
	net.Listener
	set chan time.Time
}

func (d *deadlines) Accept() (net.Conn, error) {
	c, err := d.Listener.Accept()
	return &limitedConn{c, d.set}, err
}

type limitedConn struct {
	net.Conn
	set chan time.Time
}

func (c *limitedConn) SetWriteDeadline(t time.Time) error {
	c.set <- t
	return c.Conn.SetWriteDeadline(t)
}

// The time limit of an answer ends with it, so that the next thing which is said on the
// connection has a whole one, however long the client has waited.
func TestAnAnswersLimitEndsWithIt(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	listener := &deadlines{bufconn.Listen(64 << 10), make(chan time.Time, 100)}
	web := w.Gateway.HTTPServer()
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(listener) })
	t.Cleanup(func() {
		web.Close()
		serving.Wait()
	})
	c, err := listener.Listener.(*bufconn.Listener).DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReader(c)
	for range 2 {
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
			t.Fatal(answer.Status, err)
		}
		answer.Body.Close()
		limits := 0
		for at := range listener.set {
			if at.IsZero() && limits > 0 {
				break
			}
			if !at.IsZero() {
				limits++
			}
		}
	}
}
