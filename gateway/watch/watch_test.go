package watch_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/httpapi"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// The snapshots, the mark, the changes; by both APIs.
func TestWatch(t *testing.T) {
	t.Parallel()
	type beginning func(t *testing.T, w *gatewaytest.World, live bool, holders ...string) func() string
	for api, begin := range map[string]beginning{
		"gRPC": func(t *testing.T, w *gatewaytest.World, live bool, holders ...string) func() string {
			next, _ := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{Live: live, HolderIds: holders})
			return next
		},
		"SSE": func(t *testing.T, w *gatewaytest.World, live bool, holders ...string) func() string {
			next, _ := gatewaytest.EventsOf(t, w, fmt.Sprintf("live=%v&holders=%s", live, strings.Join(holders, ",")), "")
			return next
		},
	} {
		t.Run(api, func(t *testing.T) {
			t.Parallel()
			snapshots := fakes.ReadySnapshots(gatewaytest.StatOf("alice", "5", "1"), gatewaytest.StatOf("bob", "7", "0"))
			w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = snapshots })

			live, settled := begin(t, w, true), begin(t, w, false)
			some, one := begin(t, w, true, "carol", "bob"), begin(t, w, false, "alice")
			gatewaytest.Expect(t, live, "alice 5 15", "bob 7 7", "complete")
			gatewaytest.Expect(t, settled, "alice 5", "bob 7", "complete")
			gatewaytest.Expect(t, some, "bob 7 7", "complete")
			gatewaytest.Expect(t, one, "alice 5", "complete")

			// A hold began: what is settled stays.
			snapshots.Put(gatewaytest.StatOf("alice", "5", "2"))
			gatewaytest.Expect(t, live, "alice 5 25")
			// A holder came.
			snapshots.Put(gatewaytest.StatOf("carol", "1", "0"))
			gatewaytest.Expect(t, live, "carol 1 1")
			gatewaytest.Expect(t, settled, "carol 1")
			gatewaytest.Expect(t, some, "carol 1 1")
			// A hold ended.
			snapshots.Put(gatewaytest.StatOf("alice", "30", "0"))
			gatewaytest.Expect(t, live, "alice 30 30")
			gatewaytest.Expect(t, settled, "alice 30")
			gatewaytest.Expect(t, one, "alice 30")
			snapshots.Remove("bob")
			for _, next := range []func() string{live, settled, some} {
				gatewaytest.Expect(t, next, "bob gone")
			}
			snapshots.Put(gatewaytest.StatOf("bob", "1", "0"))
			gatewaytest.Expect(t, some, "bob 1 1")
		})
	}
}

func TestWatchOfNothing(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = snapshots })
	next, _ := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{})
	gatewaytest.Expect(t, next, "complete")
	snapshots.Put(gatewaytest.StatOf("a", "1", "0"))
	gatewaytest.Expect(t, next, "a 1")
}

// An id names a point: who comes again with it gets what changed since.
func TestWatchGoesOn(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(gatewaytest.StatOf("a", "1", "0"), gatewaytest.StatOf("b", "1", "0"), gatewaytest.StatOf("c", "1", "0"))
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = snapshots })
	next, resp := gatewaytest.EventsOf(t, w, "", "")
	gatewaytest.Expect(t, next, "a 1", "b 1", "c 1", "complete")
	id, ok := strings.CutPrefix(next(), "id ")
	if !ok {
		t.Fatal("no id")
	}
	resp.Body.Close()
	snapshots.Put(gatewaytest.StatOf("b", "2", "0"))
	snapshots.Remove("c")
	snapshots.Put(gatewaytest.StatOf("a", "1", "5")) // nothing settled
	again, _ := gatewaytest.EventsOf(t, w, "", id)
	gatewaytest.Expect(t, again, "c gone", "b 2", "complete")
	snapshots.Put(gatewaytest.StatOf("d", "1", "0"))
	gatewaytest.Expect(t, again, "d 1")
	for _, foreign := range []string{"x", "x-1", id[:len(id)-1] + "99999", id + "x"} {
		next, _ := gatewaytest.EventsOf(t, w, "", foreign)
		gatewaytest.Expect(t, next, "a 1", "b 2", "d 1", "complete")
	}
}

func TestWatchHeartbeat(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Heartbeat = time.Millisecond })
	next, _ := gatewaytest.EventsOf(t, w, "", "")
	for next() != "heartbeat" {
	}
}

// A watch lives within its interval, too, and the interval counts from the
// snapshot on.
func TestWatchHeartbeatWithinTheInterval(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(gatewaytest.StatOf("a", "1", "0"))
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots, w.Cfg.Heartbeat = snapshots, time.Millisecond })
	next, _ := gatewaytest.EventsOf(t, w, "interval=1h", "")
	gatewaytest.Expect(t, next, "a 1", "complete")
	snapshots.Put(gatewaytest.StatOf("a", "2", "0"))
	for beats := 0; beats < 20; {
		switch got := next(); {
		case got == "heartbeat":
			beats++
		case !strings.HasPrefix(got, "id "):
			t.Fatal(got)
		}
	}
}

// Within the interval a holder is sent once, and the next update is the latest.
func TestWatchInterval(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = snapshots })
	next, stream := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{MinInterval: durationpb.New(time.Hour)})
	events, _ := gatewaytest.EventsOf(t, w, "interval=50ms", "")
	gatewaytest.Expect(t, next, "complete")
	gatewaytest.Expect(t, events, "complete")
	snapshots.Put(gatewaytest.StatOf("a", "1", "0"))
	gatewaytest.Expect(t, next, "a 1")
	gatewaytest.Expect(t, events, "a 1")
	for i := range 100 {
		snapshots.Put(gatewaytest.StatOf("a", fmt.Sprint(i+2), "0"))
	}
	for last := ""; last != "a 101"; {
		if last = events(); strings.HasPrefix(last, "id ") {
			last = ""
		}
	}
	w.Gateway.Drain()
	if s, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Fatal(s, err)
	}
	if _, err := gatewaytest.Received(w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{Watch: true})); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
}

// A client that does not read meanwhile gets the latest value of each holder, not
// every one that there was.
func TestSlowWatcherGetsTheLatest(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		// On a slow machine the changes below may take longer than a watcher may rest.
		w.Cfg.Snapshots, w.Cfg.SendStall = snapshots, time.Hour
	})
	next, stream := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{})
	gatewaytest.Expect(t, next, "complete")
	other, _ := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{})
	gatewaytest.Expect(t, other, "complete")
	const holders, rounds = 100, 200
	large := strings.Repeat("r", 4000) // so that the transport's own buffers are soon full
	for round := range rounds {
		for h := range holders {
			s := gatewaytest.StatOf(fmt.Sprint("h", h), fmt.Sprint(round), "0")
			s.Rules = large
			snapshots.Put(s)
		}
	}
	latest := map[string]string{}
	count := 0
	for len(latest) < holders || !allAre(latest, fmt.Sprint(rounds-1)) {
		s, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		latest[s.HolderId] = s.ScoreExact
		count++
	}
	if count > holders*rounds/2 {
		t.Errorf("%d updates of %d changes", count, holders*rounds)
	}
}

func allAre(m map[string]string, want string) bool {
	for _, v := range m {
		if v != want {
			return false
		}
	}
	return true
}

// A watcher that stops reading is closed and counted; the others go on.
func TestStalledWatcherIsClosed(t *testing.T) {
	t.Parallel()
	var stats []*holdpb.HoldStat
	for i := range 3000 {
		s := gatewaytest.StatOf(fmt.Sprint("h", i), "1", "0")
		s.Rules = strings.Repeat("r", 4000)
		stats = append(stats, s)
	}
	snapshots := fakes.ReadySnapshots(stats...)
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Snapshots = snapshots
		w.Cfg.SendStall = time.Second // for those who read, a busy machine must not be slower
	})
	_, stalled := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{})
	c, err := net.Dial("tcp", strings.TrimPrefix(w.Url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /stats/watch HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for _, api := range []string{"grpc", "http"} {
		testwait.Poll(t, "the watch is closed", func() error {
			if w.Metric(t, "holdmetrics_gateway_watchers_stalled_total", map[string]string{"api": api}) == 0 {
				return errors.New("by " + api + " it goes on")
			}
			return nil
		})
	}
	for err = nil; err == nil; {
		_, err = stalled.Recv()
	}
	if status.Code(err) != codes.Canceled || !strings.Contains(err.Error(), watch.ErrStalled.Error()) {
		t.Error(err)
	}
	next, _ := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{HolderIds: []string{"h7"}})
	gatewaytest.Expect(t, next, "h7 1", "complete")
	if got := string(gatewaytest.Get(t, w, "/metrics", 200)); !strings.Contains(got, `holdmetrics_gateway_watchers_stalled_total{api="grpc"} 1`) {
		t.Error("not in the metrics")
	}
}

func TestWatchRefuses(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Freshness = time.Millisecond
		w.Cfg.Snapshots = fakes.ReadySnapshots(gatewaytest.StatOf("alice", "1", "0"))
	})
	w.Apply(t, 5, 5e9, fakes.Held("x", "alice", 1, 2, 1))
	many := make([]string, query.MaxHolders+1)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	for name, c := range map[string]struct {
		req   *holdpb.StatsRequest
		code  codes.Code
		field string

		path     string
		status   int
		location string
	}{
		"interval":           {&holdpb.StatsRequest{Watch: true, MinInterval: durationpb.New(-1)}, codes.InvalidArgument, "min_interval", "/stats/watch?interval=-1s", 422, "query.interval"},
		"long interval":      {&holdpb.StatsRequest{Watch: true, MinInterval: durationpb.New(2 * time.Hour)}, codes.InvalidArgument, "min_interval", "/stats/watch?interval=2h", 422, "query.interval"},
		"not an interval":    {&holdpb.StatsRequest{Watch: true, MinInterval: &durationpb.Duration{Seconds: 1, Nanos: -1}}, codes.InvalidArgument, "min_interval", "/stats/watch?interval=soon", 422, "query.interval"},
		"too many holders":   {&holdpb.StatsRequest{Watch: true, HolderIds: many}, codes.InvalidArgument, "holder_ids", "/stats?holders=" + strings.Join(many, ","), 422, "query.holders"},
		"an empty holder":    {&holdpb.StatsRequest{HolderIds: []string{"a", ""}}, codes.InvalidArgument, "holder_ids", "/stats/watch?holders=a,", 422, "query.holders"},
		"watch as of":        {&holdpb.StatsRequest{Watch: true, AsOf: fakes.Seconds(5)}, codes.InvalidArgument, "watch", "/stats/watch?as_of=5", 422, "query.as_of"},
		"bad as of":          {&holdpb.StatsRequest{AsOf: fakes.Seconds(-5)}, codes.InvalidArgument, "as_of", "/stats?as_of=x", 422, "query.as_of"},
		"unknown holder":     {&holdpb.StatsRequest{HolderIds: []string{"nobody"}}, codes.NotFound, "", "/stats?holders=nobody", 404, ""},
		"one is unknown":     {&holdpb.StatsRequest{HolderIds: []string{"alice", "nobody"}}, codes.NotFound, "", "/stats?holders=alice,nobody", 404, ""},
		"one is, as of":      {&holdpb.StatsRequest{HolderIds: []string{"alice", "nobody"}, AsOf: fakes.Seconds(5)}, codes.NotFound, "", "/stats?holders=alice,nobody&as_of=5&format=csv", 404, ""},
		"unknown, as of":     {&holdpb.StatsRequest{HolderIds: []string{"nobody"}, AsOf: fakes.Seconds(5)}, codes.NotFound, "", "/stats?holder=nobody&as_of=5", 404, ""},
		"a position to come": {&holdpb.StatsRequest{After: 9}, codes.DeadlineExceeded, "", "/stats?after=9", 504, ""},
		"watch after":        {&holdpb.StatsRequest{Watch: true, After: 9}, codes.DeadlineExceeded, "", "/stats/watch?after=9", 504, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := gatewaytest.Received(w.Metrics().Stats(t.Context(), c.req))
			gatewaytest.RefusedByGRPC(t, err, c.code, c.field)
			gatewaytest.RefusedByHTTP(t, w.Url+c.path, c.status, c.location)
		})
	}
	if _, err := gatewaytest.Received(w.Query().GetSnapshot(t.Context(), &holdpb.StatsRequest{Watch: true})); status.Code(err) != codes.InvalidArgument || gatewaytest.Violated(err) != "watch" {
		t.Error(err)
	}
}

// movingSnapshots change between the moment when they are read and when they are
// sent: what is sent is older than the position of the snapshots by then.
type movingSnapshots struct{ *fakes.Snapshots }

func (s movingSnapshots) Each(fn func(projection.Change) bool) {
	s.Snapshots.Each(func(c projection.Change) bool {
		s.Put(gatewaytest.StatOf("alice", "2", "0"))
		s.Reach(0, projection.Reached{Position: 2, LogTime: 22e9})
		return fn(c)
	})
}

func (s movingSnapshots) All(fn func(string, []byte) bool) {
	s.Each(func(c projection.Change) bool { return fn(c.Key, c.Value) })
}

// No answer claims to know what was applied after it was read.
func TestAppliedThroughIsNotAhead(t *testing.T) {
	t.Parallel()
	moving := func(t *testing.T) *gatewaytest.World {
		alice := gatewaytest.StatOf("alice", "1", "0")
		alice.UpdatedAt = fakes.Seconds(9)
		snapshots := movingSnapshots{fakes.ReadySnapshots(alice)}
		snapshots.Reach(0, projection.Reached{Position: 1, LogTime: 11e9})
		return gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots, w.Cfg.Log = snapshots, &fakes.Log{Size: 1} })
	}
	got, err := gatewaytest.Received(moving(t).Metrics().Stats(t.Context(), &holdpb.StatsRequest{}))
	if err != nil || len(got) != 1 || got[0].ScoreExact != "1" || got[0].AppliedThrough.GetSeconds() != 11 {
		t.Error(got, err)
	}
	rows := gatewaytest.Lines[httpapi.StatRow](t, gatewaytest.Get(t, moving(t), "/stats?format=ndjson", 200))
	if len(rows) != 1 || rows[0].ScoreExact != "1" || rows[0].AppliedThrough.Unix() != 11 {
		t.Errorf("%+v", rows)
	}
	for _, live := range []bool{false, true} {
		stream, err := moving(t).Metrics().Stats(t.Context(), &holdpb.StatsRequest{Watch: true, Live: live})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := stream.Recv(); err != nil || s.ScoreExact != "1" || s.AppliedThrough.GetSeconds() != 9 {
			t.Error(s, err)
		}
	}
}

// Snapshot reads wait for a position, and say through when they are applied.
func TestStatsAfter(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(gatewaytest.StatOf("alice", "1", "0"))
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Snapshots = snapshots
		w.Cfg.Log = &fakes.Log{Size: 1, Ends: map[int]uint64{0: 9}}
	})
	answer := make(chan []*holdpb.HoldStat, 1)
	go func() {
		got, err := gatewaytest.Received(w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{After: 9}))
		if err != nil {
			t.Error(err)
		}
		answer <- got
	}()
	snapshots.Put(gatewaytest.StatOf("alice", "2", "0"))
	snapshots.Reach(0, projection.Reached{Position: 9, LogTime: 77e9})
	got := <-answer
	if len(got) != 1 || got[0].ScoreExact != "2" || got[0].AppliedThrough.GetSeconds() != 77 {
		t.Error(got)
	}
	rows := gatewaytest.Lines[httpapi.StatRow](t, gatewaytest.Get(t, w, "/stats?after=9&format=ndjson&holders=alice", 200))
	if len(rows) != 1 || rows[0].AppliedThrough.Unix() != 77 || rows[0].LiveScore != "2" {
		t.Errorf("%+v", rows)
	}
}

// With a time, the rows of Stats come from the stored facts.
func TestStatsAsOf(t *testing.T) {
	t.Parallel()
	w := gatewaytest.ScoreWorld(t)
	got, err := gatewaytest.Received(w.Metrics().Stats(t.Context(), &holdpb.StatsRequest{From: fakes.Seconds(1500), To: fakes.Seconds(2000)}))
	if err != nil || len(got) != 4 || got[0].HolderId != "alice" || got[0].LiveScore != "1250" || got[0].ScoreExact != "2500" || got[0].AsOf.GetSeconds() != 2000 {
		t.Fatal(got, err)
	}
	rows := gatewaytest.Lines[httpapi.StatRow](t, gatewaytest.Get(t, w, "/stats?from=1500&to=2000&format=ndjson&holders=alice,bo/b", 200))
	if len(rows) != 2 || rows[1].HolderID != "bo/b" || rows[1].LiveScore != "500" || rows[0].WeightedScore != 2500 {
		t.Fatalf("%+v", rows)
	}
	csv := string(gatewaytest.Get(t, w, "/stats?as_of=2000&format=csv&holder=alice", 200))
	if !strings.HasPrefix(csv, "holder_id,weighted_score,") || !strings.Contains(csv, "\nalice,2800,1100,2800,1100,2800,") {
		t.Fatal(csv)
	}
}

// Many watchers of one gateway, on a connection each, all get what changes.
func TestManyWatchers(t *testing.T) {
	t.Parallel()
	snapshots := fakes.ReadySnapshots(gatewaytest.StatOf("a", "0", "0"))
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) { w.Cfg.Snapshots = snapshots })
	var nexts []func() string
	for range 100 {
		next, _ := gatewaytest.WatchOf(t, w, &holdpb.StatsRequest{})
		gatewaytest.Expect(t, next, "a 0", "complete")
		nexts = append(nexts, next)
	}
	if got := w.Gateway.Watches().Count(); got != 100 {
		t.Errorf("%d watchers", got)
	}
	for i := range 20 {
		snapshots.Put(gatewaytest.StatOf("a", fmt.Sprint(i+1), "0"))
	}
	for _, next := range nexts {
		for next() != "a 20" {
		}
	}
	w.Close()
	if got := w.Gateway.Watches().Count(); got != 0 {
		t.Errorf("%d watchers are left", got)
	}
}
