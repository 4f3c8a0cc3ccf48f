package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// testNow is the clock of the tests: 2023-11-14T22:13:20Z.
const testNow = int64(1_700_000_000) * 1e9

// world is a gateway with what it stands on, each part to be exchanged.
type world struct {
	cfg      Config
	store    *storetest.Faulty
	registry *prometheus.Registry

	gateway *Gateway
	conn    *grpc.ClientConn
	url     string // of the HTTP door
	close   func() // both doors, and waits for what goes on behind them
}

// fakeLog is a log of which only the ends are of interest.
type fakeLog struct {
	partitions int
	ends       map[int]uint64
	err        error
}

func (l *fakeLog) Partitions() int { return l.partitions }
func (l *fakeLog) End(_ context.Context, p int) (uint64, error) {
	return l.ends[p], l.err
}
func (l *fakeLog) LastPosition(context.Context) (last uint64, err error) {
	for _, end := range l.ends {
		last = max(last, end)
	}
	return last, l.err
}

// fakeProducer checks events as the real one does, and is told what happens then.
type fakeProducer struct {
	err  error
	full bool // no room: Record waits for the end of its context
	// failFrom is the first event that meets err; 0: all do.
	failFrom uint64
	onTake   func()       // after each event
	hold     func(func()) // runs or keeps completions; nil: they run at once
	mu       sync.Mutex
	took     uint64
}

func (p *fakeProducer) take(d *hold.Draft) (uint64, error) {
	if _, err := d.Check(testNow, hold.DefaultLimits()); err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took++
	if p.onTake != nil {
		defer p.onTake()
	}
	if p.took < p.failFrom {
		return p.took, nil
	}
	return p.took, p.err
}

func (p *fakeProducer) Record(ctx context.Context, d *hold.Draft) (uint64, error) {
	if p.full {
		<-ctx.Done()
		return 0, fmt.Errorf("%w: %w", ingest.ErrBusy, context.Cause(ctx))
	}
	return p.take(d)
}

func (p *fakeProducer) Send(_ context.Context, d *hold.Draft, done func(uint64, error)) error {
	position, err := p.take(d)
	if err != nil {
		return err
	}
	if p.hold != nil {
		p.hold(func() { done(position, nil) })
		return nil
	}
	done(position, nil)
	return nil
}

func (p *fakeProducer) SendBatch(_ context.Context, drafts []hold.Draft, done func(ingest.BatchResult)) {
	var r ingest.BatchResult
	for i := range drafts {
		position, err := p.take(&drafts[i])
		if err != nil {
			r.Refused = append(r.Refused, ingest.Refusal{Index: i, Err: err})
			continue
		}
		r.Accepted, r.Position = r.Accepted+1, position
	}
	done(r)
}

// fakeOwners say the same every time.
type fakeOwners struct {
	partitions []PartitionStatus
	workers    []WorkerStatus
	err        error
}

func (o *fakeOwners) Workers(context.Context) ([]WorkerStatus, error) { return o.workers, o.err }

func (o *fakeOwners) Partitions(context.Context) ([]PartitionStatus, error) {
	return o.partitions, o.err
}

// newWorld makes a gateway over fakes; change exchanges some of them first.
func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{store: storetest.NewFaulty(storetest.NewMemory()), registry: prometheus.NewRegistry()}
	w.cfg = Config{
		Producer: &fakeProducer{},
		Log:      &fakeLog{partitions: 4},
		Backend: Backend{
			Reader:      w.store,
			Snapshots:   readySnapshots(),
			WaitApplied: func(context.Context, int, uint64) error { return nil },
			Ready:       func(context.Context) error { return nil },
			Owners:      &fakeOwners{},
		},
		Now:        func() int64 { return testNow },
		Freshness:  time.Minute,
		Registerer: w.registry,
		Gatherer:   w.registry,
	}
	for _, c := range change {
		c(w)
	}
	g, err := New(w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.gateway = g
	w.serve(t)
	return w
}

// serve opens both doors.
func (w *world) serve(t testing.TB) {
	t.Helper()
	listener := bufconn.Listen(1 << 20)
	s := grpc.NewServer(w.gateway.ServerOptions()...)
	w.gateway.RegisterGRPC(s)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient("passthrough:///bufconn",
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	w.conn = conn
	web := httptest.NewUnstartedServer(nil)
	web.Config = w.gateway.HTTPServer()
	web.Start()
	w.url = web.URL
	w.close = sync.OnceFunc(func() {
		conn.Close()
		s.Stop()
		// A test that is over at once stops the server before it has begun to serve.
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Errorf("serve: %v", err)
		}
		w.gateway.Close()
		web.CloseClientConnections()
		web.Close()
	})
	t.Cleanup(w.close)
}

func (w *world) metrics() holdpb.HoldMetricsClient { return holdpb.NewHoldMetricsClient(w.conn) }
func (w *world) query() holdpb.HoldMetricsQueryClient {
	return holdpb.NewHoldMetricsQueryClient(w.conn)
}

// partition is where a holder of this world lives.
func (w *world) partition(holder string) int {
	return ingest.Partition(holder, w.cfg.Log.Partitions())
}

// apply writes events to the store as a processor would, at the clock of the
// tests; the checkpoints then name position and log time.
func (w *world) apply(t *testing.T, position uint64, logTime int64, drafts ...hold.Draft) {
	t.Helper()
	rules := w.cfg.Rules
	if rules == nil {
		rules = hold.PlainRules(hold.Merge)
	}
	pairs := map[projection.PairKey]*hold.Pair{}
	for _, d := range drafts {
		e, err := d.Check(testNow, hold.Limits{MaxClockSkew: hold.MaxTime, MaxFutureEnd: hold.MaxTime})
		if err != nil {
			t.Fatal(err)
		}
		key := projection.PairKey{Holder: e.Holder, Token: e.Token}
		if pairs[key] == nil {
			pairs[key] = hold.NewPair(rules.Of(key.Token).Policy)
		}
		pairs[key].Add(e.Fact())
	}
	batches := map[int]*projection.Batch{}
	sums := map[string]hold.Figures{}
	seen := map[string]bool{}
	for key, pair := range pairs {
		p := w.partition(key.Holder)
		if batches[p] == nil {
			batches[p] = &projection.Batch{Partition: p, Checkpoint: projection.Checkpoint{LogID: "log", Position: position, Epoch: 1, LogTime: logTime}}
		}
		change := projection.PairChange{Key: key, Policy: pair.Policy(), Figures: rules.Of(key.Token).Figures(pair, testNow)}
		for f := range pair.Facts() {
			change.Facts = append(change.Facts, projection.LoggedFact{Fact: f, Position: position, LogTime: logTime})
		}
		for page := range pair.DirtyPages() {
			change.Pages = append(change.Pages, hold.Page{Key: slices.Clone(page.Key), Data: slices.Clone(page.Data)})
		}
		batches[p].Pairs = append(batches[p].Pairs, change)
		if seen[key.Holder] {
			sums[key.Holder] = sums[key.Holder].Plus(change.Figures)
		} else {
			sums[key.Holder], seen[key.Holder] = change.Figures, true
		}
	}
	for holder, sum := range sums {
		b := batches[w.partition(holder)]
		b.Holders = append(b.Holders, projection.HolderRecord{Holder: holder, Figures: sum, UpdatedAt: logTime, Position: position})
	}
	for _, b := range batches {
		if err := w.store.Flush(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// held is an ended hold, open one without an end; times in unix seconds.
func held(token, holder string, start, end int64, weight float64) hold.Draft {
	return hold.Draft{Token: token, Holder: holder, Start: at(start), End: at(end), Weight: weight, WeightGiven: true}
}

func openHold(token, holder string, start int64, weight float64) hold.Draft {
	return hold.Draft{Token: token, Holder: holder, Start: at(start), Weight: weight, WeightGiven: true}
}

func at(seconds int64) hold.Stamp { return hold.Stamp{Seconds: seconds, Set: true} }

// openLog runs an embedded server with a log in a directory of the test.
func openLog(t *testing.T) (*ingest.Log, jetstream.JetStream) {
	t.Helper()
	s, err := server.NewServer(&server.Options{JetStream: true, StoreDir: t.TempDir(), DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	closed := make(chan struct{})
	nc, err := nats.Connect("", nats.InProcessServer(s), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		<-closed
		s.Shutdown()
		s.WaitForShutdown()
	})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	l, err := ingest.OpenLog(t.Context(), js, ingest.LogConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return l, js
}

// realLog exchanges the fakes for a log and a producer.
func realLog(t *testing.T) func(*world) {
	l, _ := openLog(t)
	p := ingest.NewProducer(l, ingest.ProducerOptions{Now: func() int64 { return testNow }})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Errorf("close producer: %v", err)
		}
	})
	return func(w *world) { w.cfg.Producer, w.cfg.Log = p, l }
}
