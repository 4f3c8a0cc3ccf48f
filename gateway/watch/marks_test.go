package watch_test

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	holdpb "holdmetrics/proto"
)

// received returns the next message of a watch.
func received(t *testing.T, stream grpc.ServerStreamingClient[holdpb.HoldStat]) *holdpb.HoldStat {
	t.Helper()
	s, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// marked returns the point of the next message, which must be a mark and no holder.
func marked(t *testing.T, stream grpc.ServerStreamingClient[holdpb.HoldStat]) string {
	t.Helper()
	s := received(t, stream)
	if !s.GetMark() || s.GetResumeFrom() == "" || s.GetHolderId() != "" || s.GetComplete() || s.GetGone() {
		t.Fatalf("not a mark: %v", s)
	}
	return s.GetResumeFrom()
}

// An idle watch by gRPC sends a mark after each silence that the client asked for.
// A later watch goes on from the point of a mark, with what changed since.
func TestMarksCarryThePoint(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(gatewaytest.StatOf("a", "1", "0"), gatewaytest.StatOf("b", "1", "0"))
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = snapshots })
	beat := durationpb.New(100 * time.Millisecond)
	next, stream := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{Heartbeat: beat})
	next()
	next()
	if s := received(t, stream); !s.GetComplete() || s.GetResumed() || s.GetMark() {
		t.Fatalf("not the first complete: %v", s)
	}
	began := time.Now()
	first := marked(t, stream)
	for range 3 { // nothing changes
		if again := marked(t, stream); again != first {
			t.Fatalf("a silence moved the point from %s to %s", first, again)
		}
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("three silences of %s took %s", beat.AsDuration(), took)
	}
	snapshots.Put(gatewaytest.StatOf("b", "2", "0"))
	for {
		s := received(t, stream)
		if s.GetHolderId() == "b" && s.GetScoreExact() == "2" {
			break
		}
		if !s.GetMark() {
			t.Fatal(s)
		}
	}
	second := marked(t, stream)
	if second == first {
		t.Fatalf("a change did not move the point %s", first)
	}

	for _, c := range []struct {
		name, from string
		holders    int
		resumed    bool
	}{
		{"before the change", first, 1, true},
		{"after it", second, 0, true},
		{"of another server", "elsewhere-1", 2, false},
	} {
		req := &holdpb.StatsRequest{ResumeFrom: c.from}
		_, stream := gatewaytest.WatchOf(t, w, req)
		holders := 0
		s := received(t, stream)
		for ; s.GetHolderId() != ""; s = received(t, stream) {
			holders++
		}
		if holders != c.holders || !s.GetComplete() || s.GetResumed() != c.resumed {
			t.Errorf("%s: %d holders, then %v", c.name, holders, s)
		}
		if got := marked(t, stream); got != second {
			t.Errorf("%s: the point is %s and not %s", c.name, got, second)
		}
	}
}

// Without heartbeat and resume_from a watch is as it was: no marks.
func TestNoMarksUnlessAskedFor(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(gatewaytest.StatOf("a", "1", "0"))
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots, w.Cfg.Heartbeat = snapshots, time.Millisecond })
	next, stream := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{Heartbeat: durationpb.New(0)})
	gatewaytest.Expect(t, next, "a 1", "complete")
	snapshots.Put(gatewaytest.StatOf("a", "2", "0"))
	if s := received(t, stream); s.GetHolderId() != "a" || s.GetMark() || s.GetResumeFrom() != "" {
		t.Fatal(s)
	}
}

func TestMarksRefused(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t)
	for field, reqs := range map[string][]*holdpb.StatsRequest{
		"heartbeat": {
			{Watch: true, Heartbeat: durationpb.New(-time.Second)},
			{Watch: true, Heartbeat: durationpb.New(time.Millisecond)},
			{Watch: true, Heartbeat: durationpb.New(2 * time.Hour)},
			{Watch: true, Heartbeat: &durationpb.Duration{Seconds: 1, Nanos: -1}},
			{Heartbeat: durationpb.New(time.Second)},
		},
		"resume_from": {{ResumeFrom: "x-1"}},
	} {
		for _, req := range reqs {
			_, err := gatewaytest.Received(w.Metrics().Stats(t.Context(), req))
			if status.Code(err) != codes.InvalidArgument || gatewaytest.Violated(err) != field {
				t.Errorf("%v: %v, field %q", req, err, gatewaytest.Violated(err))
			}
		}
	}
}
