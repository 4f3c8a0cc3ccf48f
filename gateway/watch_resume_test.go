package gateway

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// A holder settles anew in a round of many, and moves on before it was sent. Who goes
// on by the id of that round is told of it, and of no others again.
func TestWatchGoesOnAfterALongRound(t *testing.T) {
	t.Parallel()
	const holders = 3 * recentMost
	snapshots := readySnapshots()
	stat := func(holder, settled, rate string) *holdpb.HoldStat {
		return &holdpb.HoldStat{HolderId: holder, ScoreExact: settled, LiveBase: settled, LiveRate: rate}
	}
	all := func(settled string) {
		for i := range holders {
			snapshots.put(stat(fmt.Sprintf("h%03d", i), settled, "0"))
		}
	}
	all("1")
	reads := newReads(readsConfig{
		Log: &fakeLog{partitions: 4}, Now: func() int64 { return testNow }, Freshness: time.Minute, Logger: zap.NewNop(),
	}, Backend{Snapshots: snapshots})
	defer reads.close()
	hub := newWatchHub(reads, snapshots)
	defer hub.wait()
	b := reads.pin()
	defer b.unpin()
	var places []*watcher
	defer func() {
		for _, p := range places {
			hub.leave(p)
		}
	}()
	watch := func(id string, onUpdate func(n int)) (s *watchState, sink *resumedSink) {
		sink = &resumedSink{onUpdate: onUpdate}
		from := pointOf(b, id)
		s = &watchState{h: hub, b: b, line: b.lineage, q: &watchQuery{}, sink: sink, base: from.base, settled: from.settled}
		if err := s.join(); err != nil {
			t.Fatal(err)
		}
		places = append(places, s.place)
		if _, err := s.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s, sink
	}
	first, sink := watch("", nil)
	all("2") // h000 first, so it comes last in the round
	sink.sent, sink.onUpdate = nil, func(n int) {
		if n == 1 { // a hold of h000 begins: nothing settles by that
			snapshots.put(stat("h000", "2", "7"))
		}
	}
	if _, err := first.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(sink.sent) != holders-1 || slices.Contains(sink.sent, "h000") {
		t.Fatalf("the round has %d holders, and the case is not the one", len(sink.sent))
	}
	id := pointID(b, sink.point)
	if _, again := watch(id, nil); !slices.Equal(again.sent, []string{"h000"}) {
		t.Errorf("resumed by %s: %v", id, again.sent)
	}
	for _, damaged := range []string{id + "-1", id + "x", pointID(b, watchPoint{base: sink.point.base}) + "9999999"} {
		if p := pointOf(b, damaged); p != (watchPoint{}) {
			t.Errorf("%s is %+v", damaged, p)
		}
	}
}

// resumedSink keeps what is sent.
type resumedSink struct {
	onUpdate func(n int)
	sent     []string
	point    watchPoint
}

func (s *resumedSink) update(_ *backend, c *projection.Change, _ int64) error {
	s.sent = append(s.sent, c.Key)
	if s.onUpdate != nil {
		s.onUpdate(len(s.sent))
	}
	return nil
}

func (s *resumedSink) endRound(_ *backend, p watchPoint) error { s.point = p; return nil }
func (s *resumedSink) complete(bool) error                     { return nil }
func (s *resumedSink) heartbeat() error                        { return nil }
