package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// watching is a client that watches, and sees to it that what it is told holds: the
// line is not over when it comes, and no live figure is of an earlier instant than
// one that it had before.
type watching struct {
	r    *ranked
	name string
	next func() (*holdpb.HoldStat, error)
	asOf map[string]int64
}

// watchersOf are watches of all kinds: live and settled, of all and of some.
func watchersOf(r *ranked, holders ...string) (all []*watching) {
	r.t.Helper()
	for name, request := range map[string]*holdpb.StatsRequest{
		"live": {Live: true}, "settled": {}, "some live": {Live: true, HolderIds: holders}, "some settled": {HolderIds: holders},
	} {
		request.Watch = true
		stream, err := r.metrics().Stats(r.t.Context(), request)
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, &watching{r: r, name: name, next: stream.Recv, asOf: map[string]int64{}})
	}
	return all
}

// take is the next thing that the client is told; nil is the mark.
func (w *watching) take() *holdpb.HoldStat {
	w.r.t.Helper()
	s, err := w.next()
	if err != nil {
		w.r.t.Fatal(w.name, err)
	}
	if s.Complete {
		return nil
	}
	if s.Until != nil && s.Until.AsTime().UnixNano() <= w.r.now.Load() {
		w.r.t.Errorf("%s is told of a line that is over: %v", w.name, s)
	}
	if s.AsOf != nil {
		at := s.AsOf.AsTime().UnixNano()
		if at < w.asOf[s.HolderId] {
			w.r.t.Errorf("%s: %s steps back to %d, from %d: %v", w.name, s.HolderId, at, w.asOf[s.HolderId], s)
		}
		w.asOf[s.HolderId] = at
	}
	return s
}

// begins takes what a watch begins with, up to the mark.
func (w *watching) begins() (stats []*holdpb.HoldStat) {
	w.r.t.Helper()
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
func againAs(r *ranked, generation string, published ...*holdpb.HoldStat) (Backend, *fakeSnapshots) {
	snapshots := readySnapshots()
	for _, s := range published {
		s = proto.CloneOf(s)
		s.Generation = generation
		snapshots.put(s)
	}
	for p := range r.cfg.Log.Partitions() {
		snapshots.reach(p, r.snapshots.Reached(p))
	}
	return Backend{
		Generation: generation, RulesVersion: "none", Reader: r.store, Snapshots: snapshots,
		WaitApplied: func(context.Context, int, uint64) error { return nil },
		Ready:       func(context.Context) error { return nil },
	}, snapshots
}

// publishedBy are the snapshots as they are now.
func publishedBy(r *ranked) (stats []*holdpb.HoldStat) {
	r.snapshots.Each(func(c projection.Change) bool {
		s := new(holdpb.HoldStat)
		if err := proto.Unmarshal(c.Value, s); err != nil {
			r.t.Fatal(err)
		}
		stats = append(stats, s)
		return true
	})
	return stats
}

const nowSeconds = testNow / 1e9

// takeBreaking has three holders: the lines of two break, after 10 and after 20 seconds.
func takeBreaking(r *ranked) {
	r.t.Helper()
	r.take(held("x", "alice", nowSeconds-100, nowSeconds+10, 2), openHold("y", "alice", nowSeconds-10, 1),
		openHold("y", "bob", nowSeconds-10, 1), held("x", "carol", nowSeconds-10, nowSeconds+20, 1))
}

// What a watch begins with holds, though nobody has told the gateway that it is time.
func TestWatchBeginsWithLinesThatHold(t *testing.T) {
	t.Parallel()
	r := newRanked(t)
	takeBreaking(r)
	for _, after := range []int64{0, 12, 25} {
		r.now.Store(testNow + after*sec)
		for _, w := range watchersOf(r, "carol", "alice") {
			for _, s := range w.begins() {
				if s.AsOf != nil && s.AsOf.AsTime().UnixNano() != r.now.Load() {
					t.Errorf("%s, after %d s: %v", w.name, after, s)
				}
			}
		}
	}
}

// A snapshot that is published when its line is over already is not told as it is.
func TestWatchersAreToldOfLinesThatHold(t *testing.T) {
	t.Parallel()
	r := newRanked(t)
	takeBreaking(r)
	watchers := watchersOf(r, "alice")
	for _, w := range watchers {
		w.begins()
	}
	r.now.Store(testNow + 12*sec)
	// The worker was behind: its line is of testNow.
	r.take(held("x", "alice", nowSeconds-200, nowSeconds-150, 1))
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
	r := newRanked(t)
	takeBreaking(r)
	old := publishedBy(r)
	watchers := watchersOf(r, "alice", "carol")
	for _, w := range watchers {
		w.begins()
	}
	for i, after := range []int64{12, 25, 26} { // there, back, and there again
		r.now.Store(testNow + after*sec)
		name := fmt.Sprint("again", i)
		b, snapshots := againAs(r, name, old...)
		if err := r.gateway.Prepare(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		snapshots.Each(func(c projection.Change) bool {
			if until := snapshotUntil(c.Value); until != 0 && until <= r.now.Load() {
				t.Errorf("after %d s %s is prepared with a line that is over", after, c.Key)
			}
			return true
		})
		if err := r.gateway.Switch(t.Context(), name); err != nil {
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
	messages watchMessages
	updates  chan *holdpb.HoldStat
	rounds   chan struct{}
}

func (s *pausedSink) update(b *backend, c *projection.Change, told int64) error {
	stat := new(holdpb.HoldStat)
	more, err := s.messages.of(b, c, s.live, told)
	if err == nil {
		err = proto.Unmarshal(append(append([]byte(nil), c.Value...), more...), stat)
	}
	s.updates <- stat
	return err
}

func (s *pausedSink) complete(bool) error                 { return nil }
func (s *pausedSink) endRound(*backend, watchPoint) error { s.rounds <- struct{}{}; return nil }
func (s *pausedSink) heartbeat() error                    { return nil }

// A watcher that was busy when its generation was left crosses later, when more lines
// are over than there were at the switch.
func TestBusyWatcherCrossesToLinesThatHold(t *testing.T) {
	t.Parallel()
	for _, live := range []bool{true, false} {
		t.Run(fmt.Sprint("live=", live), func(t *testing.T) {
			t.Parallel()
			r := newRanked(t)
			takeBreaking(r)
			ctx, cancel := context.WithCancel(t.Context())
			sink := &pausedSink{live: live, updates: make(chan *holdpb.HoldStat), rounds: make(chan struct{})}
			ended := make(chan error, 1)
			r.gateway.Reads().current().relining.begin()
			go func() {
				ended <- r.gateway.Watches().watch(ctx, &watchQuery{live: live}, sink)
			}()
			<-sink.updates // and the next one is on its way
			b, _ := againAs(r, "again", publishedBy(r)...)
			if err := errors.Join(r.gateway.Prepare(ctx, b), r.gateway.Switch(ctx, "again")); err != nil {
				t.Fatal(err)
			}
			r.now.Store(testNow + 12*sec)
			<-sink.updates
			<-sink.updates
			<-sink.rounds
			for range 3 {
				s := <-sink.updates
				if s.Generation != "again" || s.Until != nil && s.Until.AsTime().UnixNano() <= r.now.Load() || live && s.AsOf.AsTime().UnixNano() != r.now.Load() {
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

// A generation whose lines are over and cannot be drawn anew is not taken in.
func TestSwitchWithoutAStore(t *testing.T) {
	t.Parallel()
	r := newRanked(t)
	takeBreaking(r)
	r.live()
	r.now.Store(testNow + 12*sec)
	b, _ := againAs(r, "again", publishedBy(r)...)
	b.Reader = noReader{Reader: r.store, err: projection.ErrUnavailable}
	if err := r.gateway.Prepare(t.Context(), b); !errors.Is(err, projection.ErrUnavailable) {
		t.Fatal(err)
	}
	if r.gateway.Prepared() != "" {
		t.Fatal("it is prepared")
	}
	// Where there is none at all, no line ever goes on.
	b, _ = againAs(r, "again", publishedBy(r)...)
	b.Reader = noReader{Reader: r.store, err: ErrNoStore}
	if err := errors.Join(r.gateway.Prepare(t.Context(), b), r.gateway.Switch(t.Context(), "again")); err != nil {
		t.Fatal(err)
	}
}
