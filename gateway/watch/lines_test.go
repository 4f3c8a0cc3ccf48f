package watch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// watching is a client that watches, and checks that every snapshot it receives holds: the
// line is not over when it comes, and no live figure is of an earlier instant than
// one that it had before.
type watching struct {
	r    *gatewaytest.Ranked
	name string
	next func() (*holdpb.HoldStat, error)
	asOf map[string]int64
}

// watchersOf are watches of all kinds: live and settled, of all and of some.
func watchersOf(r *gatewaytest.Ranked, holders ...string) (all []*watching) {
	r.T.Helper()
	for name, request := range map[string]*holdpb.StatsRequest{
		"live": {Live: true}, "settled": {}, "some live": {Live: true, HolderIds: holders}, "some settled": {HolderIds: holders},
	} {
		request.Watch = true
		stream, err := r.Metrics().Stats(r.T.Context(), request)
		if err != nil {
			r.T.Fatal(err)
		}
		all = append(all, &watching{r: r, name: name, next: stream.Recv, asOf: map[string]int64{}})
	}
	return all
}

// take is the next snapshot that the client receives; nil is the mark.
func (w *watching) take() *holdpb.HoldStat {
	w.r.T.Helper()
	s, err := w.next()
	if err != nil {
		w.r.T.Fatal(w.name, err)
	}
	if s.Complete {
		return nil
	}
	if s.Until != nil && s.Until.AsTime().UnixNano() <= w.r.Now.Load() {
		w.r.T.Errorf("%s received a line that is over: %v", w.name, s)
	}
	if s.AsOf != nil {
		at := s.AsOf.AsTime().UnixNano()
		if at < w.asOf[s.HolderId] {
			w.r.T.Errorf("%s: %s steps back to %d, from %d: %v", w.name, s.HolderId, at, w.asOf[s.HolderId], s)
		}
		w.asOf[s.HolderId] = at
	}
	return s
}

// begins takes what a watch begins with, up to the mark.
func (w *watching) begins() (stats []*holdpb.HoldStat) {
	w.r.T.Helper()
	for {
		s := w.take()
		if s == nil {
			return stats
		}
		stats = append(stats, s)
	}
}

// againAs is what a bucket of the same snapshots says, as it was published, in another
// generation.
func againAs(r *gatewaytest.Ranked, generation string, published ...*holdpb.HoldStat) (query.Backend, *fakes.Snapshots) {
	snapshots := fakes.ReadySnapshots()
	for _, s := range published {
		s = proto.CloneOf(s)
		s.Generation = generation
		snapshots.Put(s)
	}
	for p := range r.Cfg.Log.Partitions() {
		snapshots.Reach(p, r.Snapshots.Reached(p))
	}
	return query.Backend{
		Generation: generation, RulesVersion: "none", Reader: r.Store, Snapshots: snapshots,
		WaitApplied: func(context.Context, int, uint64) error { return nil },
		Ready:       func(context.Context) error { return nil },
	}, snapshots
}

// publishedBy are the snapshots as they are now.
func publishedBy(r *gatewaytest.Ranked) (stats []*holdpb.HoldStat) {
	r.Snapshots.Each(func(c projection.Change) bool {
		s := new(holdpb.HoldStat)
		if err := proto.Unmarshal(c.Value, s); err != nil {
			r.T.Fatal(err)
		}
		stats = append(stats, s)
		return true
	})
	return stats
}

const nowSeconds = fakes.TestNow / 1e9

// takeBreaking has three holders: the lines of two break, after 10 and after 20 seconds.
func takeBreaking(r *gatewaytest.Ranked) {
	r.T.Helper()
	r.Take(fakes.Held("x", "alice", nowSeconds-100, nowSeconds+10, 2), fakes.OpenHold("y", "alice", nowSeconds-10, 1),
		fakes.OpenHold("y", "bob", nowSeconds-10, 1), fakes.Held("x", "carol", nowSeconds-10, nowSeconds+20, 1))
}

// What a watch begins with holds, though no clock event has come yet.
func TestWatchBeginsWithLinesThatHold(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	takeBreaking(r)
	for _, after := range []int64{0, 12, 25} {
		r.SetClock(fakes.TestNow + after*gatewaytest.Sec)
		for _, w := range watchersOf(r, "carol", "alice") {
			for _, s := range w.begins() {
				if s.AsOf != nil && s.AsOf.AsTime().UnixNano() != r.Now.Load() {
					t.Errorf("%s, after %d s: %v", w.name, after, s)
				}
			}
		}
	}
}

// A snapshot that is published when its line is over already is not sent as it is.
func TestWatchersSeeLinesThatHold(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	takeBreaking(r)
	watchers := watchersOf(r, "alice")
	for _, w := range watchers {
		w.begins()
	}
	r.SetClock(fakes.TestNow + 12*gatewaytest.Sec)
	// The worker was behind: its line is of testNow.
	r.Take(fakes.Held("x", "alice", nowSeconds-200, nowSeconds-150, 1))
	for _, w := range watchers {
		s := w.take()
		for s.HolderId != "alice" || s.Position != 2 {
			s = w.take()
		}
		if s.LiveRate != "1" || s.AsOf != nil && s.LiveScore != fmt.Sprint(50+2*110+22) {
			t.Errorf("%s: %v", w.name, s)
		}
	}
}

// A switch moves nobody to a line that is over, or back to an earlier instant: what
// the other generation published long ago holds before it is switched to.
func TestSwitchToLinesThatHold(t *testing.T) {
	t.Parallel()
	r := gatewaytest.NewRanked(t)
	takeBreaking(r)
	old := publishedBy(r)
	watchers := watchersOf(r, "alice", "carol")
	for _, w := range watchers {
		w.begins()
	}
	for i, after := range []int64{12, 25, 26} { // there, back, and there again
		r.SetClock(fakes.TestNow + after*gatewaytest.Sec)
		name := fmt.Sprint("again", i)
		b, snapshots := againAs(r, name, old...)
		r.NextPieces(snapshots)
		if err := r.Gateway.Prepare(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		snapshots.Each(func(c projection.Change) bool {
			s := new(holdpb.HoldStat)
			if err := proto.Unmarshal(c.Value, s); err != nil || s.Until != nil && s.Until.AsTime().UnixNano() <= r.Now.Load() {
				t.Errorf("after %d s %s is prepared with a line that is over: %v", after, c.Key, err)
			}
			return true
		})
		if err := r.Gateway.Switch(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		for _, w := range watchers {
			want := 3
			if strings.HasPrefix(w.name, "some") {
				want = 2
			}
			for got := map[string]bool{}; len(got) < want; {
				if s := w.take(); s.Generation == name {
					got[s.HolderId] = true
				}
			}
		}
	}
}

// pausedSink takes an update when it is let.
type pausedSink struct {
	live     bool
	messages watch.Messages
	updates  chan *holdpb.HoldStat
	rounds   chan struct{}
}

func (s *pausedSink) Update(b *query.Generation, c *projection.Change, seenAt int64) error {
	stat := new(holdpb.HoldStat)
	more, err := s.messages.Of(b, c, s.live, seenAt)
	if err == nil {
		err = proto.Unmarshal(append(append([]byte(nil), c.Value...), more...), stat)
	}
	s.updates <- stat
	return err
}

func (s *pausedSink) Complete(bool) error { return nil }
func (s *pausedSink) EndRound(*query.Generation, watch.Point) error {
	s.rounds <- struct{}{}
	return nil
}
func (s *pausedSink) Heartbeat() error { return nil }

// A watcher that was busy when its generation was left crosses later, when more lines
// are over than there were at the switch.
func TestBusyWatcherCrossesToLinesThatHold(t *testing.T) {
	t.Parallel()
	for _, live := range []bool{true, false} {
		t.Run(fmt.Sprint("live=", live), func(t *testing.T) {
			t.Parallel()
			r := gatewaytest.NewRanked(t)
			takeBreaking(r)
			ctx, cancel := context.WithCancel(t.Context())
			sink := &pausedSink{live: live, updates: make(chan *holdpb.HoldStat), rounds: make(chan struct{})}
			ended := make(chan error, 1)
			go func() {
				ended <- r.Gateway.Watches().Watch(ctx, &watch.Query{Live: live}, sink)
			}()
			<-sink.updates // and the next one is on its way
			b, others := againAs(r, "again", publishedBy(r)...)
			if err := errors.Join(r.Gateway.Prepare(ctx, b), r.Gateway.Switch(ctx, "again")); err != nil {
				t.Fatal(err)
			}
			r.Now.Store(fakes.TestNow + 12*gatewaytest.Sec)
			r.NextPieces(others)
			<-sink.updates
			<-sink.updates
			<-sink.rounds
			for range 3 {
				s := <-sink.updates
				if s.Generation != "again" || s.Until != nil && s.Until.AsTime().UnixNano() <= r.Now.Load() || live && s.AsOf.AsTime().UnixNano() != r.Now.Load() {
					t.Errorf("%v", s)
				}
			}
			<-sink.rounds
			cancel()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// A gateway without a store takes in a generation whose lines are over, and tells
// their next pieces.
func TestSwitchWithoutAStore(t *testing.T) {
	t.Parallel()
	for _, why := range []error{query.ErrNoStore, projection.ErrUnavailable} {
		r := gatewaytest.NewRanked(t)
		takeBreaking(r)
		r.Live()
		old := publishedBy(r)
		r.SetClock(fakes.TestNow + 12*gatewaytest.Sec)
		b, others := againAs(r, "again", old...)
		b.Reader = gatewaytest.NoReader{Reader: r.Store, Err: why}
		if err := errors.Join(r.Gateway.Prepare(t.Context(), b), r.Gateway.Switch(t.Context(), "again")); err != nil {
			t.Fatal(err)
		}
		if s := r.Live("alice")["alice"]; s.LiveScore != "240" || s.AsOf.AsTime().UnixNano() != fakes.TestNow+10*gatewaytest.Sec {
			t.Errorf("at the end of the line: %v", s)
		}
		r.NextPieces(others)
		if s := r.Live("alice")["alice"]; s.LiveScore != "242" || s.AsOf.AsTime().UnixNano() != r.Now.Load() {
			t.Errorf("after its end: %v", s)
		}
	}
}
