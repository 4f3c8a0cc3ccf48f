package crash

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

	holdpb "holdmetrics/proto"
)

// batchSize is how many events a producer sends at once.
const batchSize = 25

// producer sends batch after batch to one of the gateways, each until it is
// acknowledged. It keeps what was.
type producer struct {
	t        *testing.T
	crowd    *crowd
	gateways []holdpb.HoldMetricsClient

	acked []*holdpb.HoldMsg // the producer's goroutine's, until run has returned
	again int               // batches that had to be sent once more
}

// trickle is how long a producer waits before it sends a batch that nobody asked for.
// Something is under way whatever is disturbed, but not too much of it: to read a pair
// takes the database of the tests a look at every fact that there is.
const trickle = time.Second

// load is the producers of a test.
type load struct {
	producers []*producer
	events    atomic.Int64 // acknowledged
	moved     chan struct{}
	wanted    chan struct{} // closed when more is asked for
	upTo      int64         // how many events are asked for
	mu        sync.Mutex    // for wanted and upTo
	stop      context.CancelFunc
	done      sync.WaitGroup
}

// ask has the producers send up to so many events as fast as they can.
func (l *load) ask(events int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if events > l.upTo {
		l.upTo = events
		close(l.wanted)
		l.wanted = make(chan struct{})
	}
}

// next waits until it is time for a further batch; false: ctx ended.
func (l *load) next(ctx context.Context) bool {
	l.mu.Lock()
	wanted, enough := l.wanted, l.events.Load() >= l.upTo
	l.mu.Unlock()
	if enough {
		select {
		case <-wanted:
		case <-ctx.Done():
		case <-time.After(trickle):
		}
	}
	return ctx.Err() == nil
}

// startLoad starts n producers, which send what is asked for, and a trickle beyond
// it, until finish is called.
func startLoad(t *testing.T, n int, seed uint64, addresses ...string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel, moved: make(chan struct{}, 1), wanted: make(chan struct{})}
	var clients []holdpb.HoldMetricsClient
	for _, address := range addresses {
		clients = append(clients, holdpb.NewHoldMetricsClient(dial(t, address)))
	}
	for i := range n {
		p := &producer{t: t, crowd: newCrowd(string(rune('a'+i)), seed, uint64(i)), gateways: clients}
		l.producers = append(l.producers, p)
		l.done.Go(func() { p.run(ctx, l) })
	}
	t.Cleanup(func() { cancel(); l.done.Wait() })
	return l
}

// dial connects to a gateway that may be away for a while, many times.
func dial(t *testing.T, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1.5, MaxDelay: 300 * time.Millisecond},
			MinConnectTimeout: time.Second,
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// run sends until ctx ends, and then until the last batch is acknowledged.
func (p *producer) run(ctx context.Context, l *load) {
	deadline, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(patience, cancel) })
	defer stop()
	for l.next(ctx) {
		batch := p.crowd.batch(batchSize)
		for !p.send(deadline, batch) {
			if deadline.Err() != nil {
				p.t.Error("a batch was not acknowledged in time")
				return
			}
			p.again++
		}
		p.acked = append(p.acked, batch...)
		l.events.Add(int64(len(batch)))
		select {
		case l.moved <- struct{}{}:
		default:
		}
	}
}

// send sends a batch to one of the gateways and reports whether all of it was acknowledged.
func (p *producer) send(ctx context.Context, batch []*holdpb.HoldMsg) bool {
	// A gateway whose process is paused does not answer at all.
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	gateway := p.gateways[p.crowd.rand.IntN(len(p.gateways))]
	stream, err := gateway.BroadcastBatch(ctx, grpc.WaitForReady(true))
	if err != nil {
		return false
	}
	if err := stream.Send(&holdpb.HoldBatch{Events: batch}); err != nil {
		return false
	}
	ack, err := stream.Recv()
	if err != nil {
		return false
	}
	if len(ack.Refused) > 0 {
		p.t.Errorf("an event was refused: %v: %v", batch[ack.Refused[0].Index], ack.Refused[0])
	}
	_ = stream.CloseSend()
	return true
}

// more waits until n further events are acknowledged, for as long as there are any.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	want := l.events.Load() + n
	l.ask(want)
	for l.events.Load() < want {
		select {
		case <-l.moved:
			late.Reset(patience)
		case <-late.C:
			t.Fatalf("nothing is acknowledged any more, after %d events", l.events.Load())
		}
	}
}

// finish stops the producers when their last batches are acknowledged, and gives
// what they sent.
func (l *load) finish() (acked []*holdpb.HoldMsg, again int) {
	l.stop()
	l.done.Wait()
	for _, p := range l.producers {
		acked = append(acked, p.acked...)
		again += p.again
	}
	return acked, again
}
