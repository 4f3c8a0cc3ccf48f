package gateway_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// What watchers receive after a switch, and no more: every holder of the new
// generation once, and who is gone; nothing of a switch back before they looked.
func TestWatchersCross(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t)
	for _, h := range []string{"alice", "bob", "pool"} {
		s.log.append(h)
	}
	settle := func() {
		t.Helper()
		for p := range s.log.Partitions() {
			end, _ := s.log.End(t.Context(), p)
			if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), p, end); err != nil {
				t.Fatal(err)
			}
		}
	}
	settle()
	all, _ := gatewaytest.WatchOf(t, s.World, &holdpb.StatsRequest{})
	some, _ := gatewaytest.WatchOf(t, s.World, &holdpb.StatsRequest{HolderIds: []string{"pool", "bob", "nobody"}})
	events, _ := gatewaytest.EventsOf(t, s.World, "", "")
	rest, _ := gatewaytest.WatchOf(t, s.World, &holdpb.StatsRequest{MinInterval: durationpb.New(time.Hour)})
	for _, next := range []func() string{all, events, rest} {
		gatewaytest.Expect(t, next, "alice 1", "bob 1", "pool 1", "complete")
	}
	gatewaytest.Expect(t, some, "pool 1", "bob 1", "complete")

	s.to(t, "2")
	for _, next := range []func() string{all, events} {
		gatewaytest.Expect(t, next, "pool gone", "alice 1000", "bob 1000")
	}
	gatewaytest.Expect(t, some, "pool gone", "bob 1000")
	s.log.append("bob")
	s.log.append("pool")
	for _, next := range []func() string{all, events, some} {
		gatewaytest.Expect(t, next, "bob 2000")
	}
	if n := s.Gateway.Reads().Active().Pinned(); n != 4 {
		t.Errorf("%d users of the generation, beside three watches that follow it", n-1)
	}
	settle() // else the next generation need not have pool's event, which this one does not show
	s.to(t, "1")
	gatewaytest.Expect(t, all, "alice 1", "bob 2", "pool 2")
	gatewaytest.Expect(t, some, "pool 2", "bob 2")
	gatewaytest.Expect(t, events, "alice 1", "bob 2", "pool 2")
	s.log.append("pool")
	for _, next := range []func() string{all, events, some} {
		gatewaytest.Expect(t, next, "pool 3")
	}
}

// A watch that rests keeps nothing of the generation that was left, and crosses
// over two switches at once.
func TestRestingWatcherCrosses(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t)
	s.log.append("alice")
	s.log.append("pool")
	closed := make(chan string, 2)
	closing := func(name string) query.Backend {
		b := s.generations[name].open(t)
		b.Close = func() error { closed <- name; return nil }
		return b
	}
	for _, name := range []string{"1", "2"} {
		if err := s.Gateway.Prepare(t.Context(), closing(name)); err != nil {
			t.Fatal(err)
		}
		if err := s.Gateway.Switch(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if name == "1" {
			g := s.generations["1"]
			if err := g.waitApplied(t.Context(), 0, 2); err != nil {
				t.Fatal(err)
			}
		}
	}
	<-closed // nobody used it
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition("alice"), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	watch := func(every time.Duration) *testSink {
		sink := newTestSink()
		go func() {
			ended <- s.Gateway.Watches().Watch(ctx, &watch.Query{Every: every}, sink)
		}()
		gatewaytest.Expect(t, sink.next, "alice 1000", "complete", "round")
		return sink
	}
	watch(time.Hour)
	awakes := watch(300 * time.Millisecond)
	s.to(t, "1")
	if name := <-closed; name != "2" { // an hour before the rest is over
		t.Errorf("%s was closed", name)
	}
	s.to(t, "2")
	s.to(t, "1")
	for last := ""; last != "alice 1"; { // by way of 2 where its rest was over between
		last = awakes.next()
	}
	gatewaytest.Expect(t, awakes.next, "pool 1", "round")
	cancel()
	for range cap(ended) {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// testSink gives what a watch sends, line by line.
type testSink struct{ lines chan string }

func newTestSink() *testSink { return &testSink{make(chan string, 100)} }

func (s *testSink) next() string { return <-s.lines }

func (s *testSink) Update(_ *query.Generation, c *projection.Change, _ int64) error {
	holder, err := ingest.HolderOf(c.Key)
	if err != nil {
		return err
	}
	line := holder + " gone"
	if !c.Gone {
		var stat holdpb.HoldStat
		if err := proto.Unmarshal(c.Value, &stat); err != nil {
			return err
		}
		line = holder + " " + stat.ScoreExact
	}
	s.lines <- line
	return nil
}

func (s *testSink) Complete(bool) error { s.lines <- "complete"; return nil }

func (s *testSink) EndRound(*query.Generation, watch.Point) error { s.lines <- "round"; return nil }

func (s *testSink) Heartbeat() error { return nil }

// A watch of a holder whom the next generation has by another name goes on with that one.
func TestWatchIsRenamed(t *testing.T) {
	t.Parallel()
	const mixed, lower = "0x00000000000000000000000000000000000000Ab", "0x00000000000000000000000000000000000000ab"
	snapshots := fakes.ReadySnapshots(gatewaytest.StatOf(mixed, "1", "0"), gatewaytest.StatOf("bob", "1", "0"))
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = snapshots })
	next, _ := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{HolderIds: []string{mixed, "bob"}})
	gatewaytest.Expect(t, next, mixed+" 1", "bob 1", "complete")
	normalise, err := rules.Parse("test", []byte("ids: evm"))
	if err != nil {
		t.Fatal(err)
	}
	second := w.Cfg.Backend
	others := fakes.ReadySnapshots(gatewaytest.StatOf(lower, "2", "0"), gatewaytest.StatOf("bob", "2", "0"))
	second.Generation, second.Snapshots, second.Rules = "2", others, normalise
	for _, b := range []query.Backend{second, w.Cfg.Backend} {
		if err := w.Gateway.Prepare(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := w.Gateway.Switch(t.Context(), b.Generation); err != nil {
			t.Fatal(err)
		}
		if b.Generation == "2" {
			gatewaytest.Expect(t, next, mixed+" gone", lower+" 2", "bob 2")
			others.Put(gatewaytest.StatOf(lower, "3", "0"))
			gatewaytest.Expect(t, next, lower+" 3")
		}
	}
	gatewaytest.Expect(t, next, lower+" gone", mixed+" 1", "bob 1")
	snapshots.Put(gatewaytest.StatOf(mixed, "4", "0"))
	gatewaytest.Expect(t, next, mixed+" 4")
	if n := w.Gateway.Watches().Count(); n != 1 {
		t.Errorf("%d watchers", n)
	}
}
