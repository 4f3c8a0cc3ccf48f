package watch

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// A holder settles again in a round of many, and moves on before it was sent. Who goes
// on by the id of that round gets it, and no others again.
func TestWatchGoesOnAfterALongRound(t *testing.T) {
	t.Parallel()
	const holders = 3 * recentMost
	snapshots := fakes.ReadySnapshots()
	stat := func(holder, settled, rate string) *holdpb.HoldStat {
		return &holdpb.HoldStat{HolderId: holder, ScoreExact: settled, LiveBase: settled, LiveRate: rate}
	}
	all := func(settled string) {
		for i := range holders {
			snapshots.Put(stat(fmt.Sprintf("h%03d", i), settled, "0"))
		}
	}
	all("1")
	reads := query.New(query.Config{
		Log: &fakes.Log{Size: 4}, Now: func() int64 { return fakes.TestNow }, Freshness: time.Minute, Logger: zap.NewNop(),
	}, query.Backend{Snapshots: snapshots})
	defer reads.Close()
	hub := NewHub(reads, snapshots, Bounds{})
	defer hub.Wait()
	b := reads.Pin()
	defer b.Unpin()
	var places []*watcher
	defer func() {
		for _, p := range places {
			hub.leave(p)
		}
	}()
	watch := func(id string, onUpdate func(n int)) (s *watchState, sink *resumedSink) {
		sink = &resumedSink{onUpdate: onUpdate}
		from := pointOf(b, id)
		s = &watchState{h: hub, b: b, line: b.Lineage, q: &Query{}, sink: sink, base: from.base, settled: from.settled}
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
			snapshots.Put(stat("h000", "2", "7"))
		}
	}
	if _, err := first.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(sink.sent) != holders-1 || slices.Contains(sink.sent, "h000") {
		t.Fatalf("the round has %d holders, and the case is not the one", len(sink.sent))
	}
	id := PointID(b, sink.point)
	if _, again := watch(id, nil); !slices.Equal(again.sent, []string{"h000"}) {
		t.Errorf("resumed by %s: %v", id, again.sent)
	}
	for _, damaged := range []string{id + "-1", id + "x", PointID(b, Point{base: sink.point.base}) + "9999999"} {
		if p := pointOf(b, damaged); p != (Point{}) {
			t.Errorf("%s is %+v", damaged, p)
		}
	}
}

// resumedSink keeps what is sent.
type resumedSink struct {
	onUpdate func(n int)
	sent     []string
	point    Point
}

func (s *resumedSink) Update(_ *query.Generation, c *projection.Change, _ int64) error {
	s.sent = append(s.sent, c.Key)
	if s.onUpdate != nil {
		s.onUpdate(len(s.sent))
	}
	return nil
}

func (s *resumedSink) EndRound(_ *query.Generation, p Point) error { s.point = p; return nil }
func (s *resumedSink) Complete(bool) error                         { return nil }
func (s *resumedSink) Heartbeat() error                            { return nil }
