package projection_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// broker is a NATS server that can be stopped and started again on its port.
type broker struct {
	tb   testing.TB
	dir  string
	port int
	s    *server.Server
}

func startBroker(tb testing.TB) *broker {
	b := &broker{tb: tb, dir: natstest.Dir(tb), port: server.RANDOM_PORT}
	b.start()
	tb.Cleanup(b.stop)
	return b
}

func (b *broker) start() {
	b.tb.Helper()
	s, err := server.NewServer(&server.Options{
		ServerName: "test", Host: "127.0.0.1", Port: b.port, JetStream: true, StoreDir: b.dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		b.tb.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		b.tb.Fatal("the broker does not start")
	}
	b.s, b.port = s, s.Addr().(*net.TCPAddr).Port
}

func (b *broker) stop() {
	b.s.Shutdown()
	b.s.WaitForShutdown()
}

// connect connects a test behind a broker that lies about what is pending and
// delivers late, and a benchmark to the broker itself.
func (b *broker) connect() jetstream.JetStream {
	b.tb.Helper()
	if _, bench := b.tb.(*testing.B); bench {
		return b.connectTo(b.s.ClientURL())
	}
	_, js := b.behind(faultynats.Mild(faultynats.SeedOf(b.tb.Name())))
	return js
}

// behind starts a broker that lies before this one, and connects to it.
func (b *broker) behind(f faultynats.Faults) (*faultynats.Broker, jetstream.JetStream) {
	b.tb.Helper()
	address := fmt.Sprint("127.0.0.1:", b.port) // stays when the broker starts again
	liar, err := faultynats.StartDialing(func() (net.Conn, error) { return net.Dial("tcp", address) }, f)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.tb.Cleanup(func() { _ = liar.Close() })
	return liar, b.connectTo(liar.URL())
}

func (b *broker) connectTo(url string, options ...nats.Option) jetstream.JetStream {
	b.tb.Helper()
	return natstest.JetStreamAt(b.tb, url, append(options, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))...)
}

func within(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

func openSnapshots(tb testing.TB, js jetstream.JetStream, async bool) *projection.Snapshots {
	tb.Helper()
	s, err := projection.OpenSnapshots(within(tb), js, projection.SnapshotConfig{Generation: "g1", Async: async})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

func watch(tb testing.TB, s *projection.Snapshots) *projection.View {
	tb.Helper()
	v, err := s.Watch(within(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = v.Close() })
	return v
}

func entries(n int, value string) []projection.Entry {
	all := make([]projection.Entry, n)
	for i := range all {
		all[i] = projection.Entry{Key: fmt.Sprintf("holder-%06d", i), Value: fmt.Appendf(nil, "%s-%d", value, i)}
	}
	return all
}

func publish(tb testing.TB, s *projection.Snapshots, partition int, all []projection.Entry, position uint64) {
	tb.Helper()
	if err := s.Publish(within(tb), partition, all, projection.Reached{Position: position, LogTime: int64(position) * 1e9}); err != nil {
		tb.Fatal(err)
	}
}

func contents(v *projection.View) map[string]string {
	got := map[string]string{}
	v.All(func(key string, value []byte) bool {
		got[key] = string(value)
		return true
	})
	return got
}

func contentsOf(all []projection.Entry) map[string]string {
	want := map[string]string{}
	for _, e := range all {
		want[e.Key] = string(e.Value)
	}
	return want
}

func TestSnapshotsPersistence(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	ctx := within(t)
	for _, async := range []bool{true, false} {
		c := projection.SnapshotConfig{Generation: fmt.Sprint("mode-", async), Async: async}
		s, err := projection.OpenSnapshots(ctx, js, c)
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		stream, err := js.Stream(ctx, "KV_"+projection.BucketName(c.Generation))
		if err != nil {
			t.Fatal(err)
		}
		have := stream.CachedInfo().Config
		if (have.PersistMode == jetstream.AsyncPersistMode) != async || have.AllowAtomicPublish == async || have.Storage != jetstream.FileStorage || have.MaxMsgsPerSubject != 1 {
			t.Errorf("async %v: the stream is %+v", async, have)
		}
		if s, err = projection.OpenSnapshots(ctx, js, c); err != nil {
			t.Errorf("async %v: open again: %v", async, err)
		} else {
			s.Close()
		}
		c.Async = !async
		if _, err = projection.OpenSnapshots(ctx, js, c); !errors.Is(err, projection.ErrForeign) {
			t.Errorf("async %v: open in the other mode: %v", async, err)
		}
		// Any KV client reads it.
		kv, err := js.KeyValue(ctx, projection.BucketName(c.Generation))
		if err != nil {
			t.Fatal(err)
		}
		if st, err := kv.Status(ctx); err != nil || st.History() != 1 {
			t.Errorf("bucket: %v, %v", st, err)
		}
	}
	if _, err := projection.OpenSnapshots(ctx, js, projection.SnapshotConfig{Generation: "a.b"}); err == nil {
		t.Error("a generation with a dot was accepted")
	}
}

func TestPublishAndPosition(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	s := openSnapshots(t, js, true)
	ctx := within(t)
	if p, err := s.Position(ctx, 3); p != 0 || err != nil {
		t.Errorf("position before the first publish: %d, %v", p, err)
	}
	all := entries(3000, "first") // more than a window
	publish(t, s, 3, all, 41)
	publish(t, s, 4, nil, 7)
	for partition, want := range map[int]uint64{3: 41, 4: 7, 5: 0} {
		if p, err := s.Position(ctx, partition); p != want || err != nil {
			t.Errorf("position of %d is %d, %v, want %d", partition, p, err, want)
		}
	}
	kv, err := js.KeyValue(ctx, "HOLD_STATS_g1")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(ctx, "holder-000007"); err != nil || string(e.Value()) != "first-7" {
		t.Errorf("as a KV client sees it: %v, %v", e, err)
	}
	v := watch(t, s)
	if err := v.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if got := contents(v); !maps.Equal(got, contentsOf(all)) {
		t.Errorf("the view has %d holders", len(got))
	}
	if err := v.WaitPosition(ctx, 3, 41); err != nil {
		t.Fatal(err)
	}
	if p := v.Reached(3); p.Position != 41 || p.LogTime != 41e9 || v.Position(3) != 41 {
		t.Errorf("the view is at %+v, want position 41", p)
	}
}

// A publish that fails leaves the position where it was.
func TestPublishFails(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	s := openSnapshots(t, js, false)
	publish(t, s, 0, entries(1, "good"), 1)
	all := entries(50, "bad")
	all[20].Value = make([]byte, 2<<20) // larger than the broker takes
	if err := s.Publish(within(t), 0, all, projection.Reached{Position: 2}); err == nil {
		t.Error("no error")
	}
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if err := s.Publish(ctx, 0, entries(50, "late"), projection.Reached{Position: 3}); !errors.Is(err, context.Canceled) {
		t.Errorf("error after the context ended: %v", err)
	}
	if p, err := s.Position(within(t), 0); p != 1 || err != nil {
		t.Errorf("position is %d, %v, want 1", p, err)
	}
}
