package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/gateway"
	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold/rules"
	"holdmetrics/ingest"
	"holdmetrics/internal/stall"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// seen is what one client has seen of each holder.
type seen struct {
	s         *switchWorld
	positions map[string]uint64 // the greatest
	stats     map[string]*holdpb.HoldStat
}

func (s *switchWorld) client() *seen {
	return &seen{s: s, positions: map[string]uint64{}, stats: map[string]*holdpb.HoldStat{}}
}

// take takes a snapshot, and says what is wrong with it.
func (c *seen) take(stat *holdpb.HoldStat) error {
	g := c.s.generations[stat.Generation]
	if g == nil {
		return fmt.Errorf("of no generation: %v", stat)
	}
	if at := c.positions[stat.HolderId]; stat.Position < at {
		return fmt.Errorf("%s steps back from %d: %v", stat.HolderId, at, stat)
	}
	c.positions[stat.HolderId], c.stats[stat.HolderId] = stat.Position, stat
	return g.check(stat)
}

// all reads the snapshots of all holders.
func (c *seen) all(ctx context.Context) error {
	stats, err := gatewaytest.Received(c.s.Query().GetSnapshot(ctx, &holdpb.StatsRequest{}))
	if err != nil {
		return err
	}
	for _, stat := range stats {
		if stat.Generation != stats[0].Generation {
			return fmt.Errorf("an answer is mixed: %v, %v", stats[0], stat)
		}
		if err := c.take(stat); err != nil {
			return err
		}
	}
	return nil
}

// own records an event, and reads it from the snapshots and from the store.
func (c *seen) own(ctx context.Context, holder string) error {
	position := c.s.log.append(holder)
	stats, err := gatewaytest.Received(c.s.Query().GetSnapshot(ctx, &holdpb.StatsRequest{HolderIds: []string{holder}, After: position}))
	if err != nil {
		return err
	}
	if stats[0].Position < position {
		return fmt.Errorf("recorded %d, and read %v", position, stats[0])
	}
	if err := c.take(stats[0]); err != nil {
		return err
	}
	scores, err := gatewaytest.Received(c.s.Query().Scores(ctx, &holdpb.ScoresRequest{HolderId: holder, After: position}))
	if err != nil {
		return err
	}
	at := uint64(scores[0].AppliedThrough.Seconds)
	if at < c.positions[holder] {
		return fmt.Errorf("the store steps back from %d to %d", c.positions[holder], at)
	}
	c.positions[holder] = at
	n := c.s.log.count(holder, at)
	if got := scores[0].SettledScore; got != fmt.Sprint(n) && got != fmt.Sprint(n*1000) {
		return fmt.Errorf("at %d %s has %d events, and a score of %s", at, holder, n, got)
	}
	return nil
}

// generationOf tells the generation by a score. A holder has less than a thousand events.
func generationOf(score string) string {
	if n, err := strconv.ParseUint(score, 10, 64); err != nil || n%1000 != 0 {
		return "1"
	}
	return "2"
}

// scores reads the scores of all holders from the store.
func (c *seen) scores(ctx context.Context) error {
	rows, err := gatewaytest.Received(c.s.Query().Scores(ctx, &holdpb.ScoresRequest{}))
	if err != nil {
		return err
	}
	for _, row := range rows {
		if generationOf(row.Score) != generationOf(rows[0].Score) || row.HolderId == "pool" && generationOf(row.Score) == "2" {
			return fmt.Errorf("an answer is mixed: %v, %v", rows[0], row)
		}
	}
	return nil
}

// top reads a ranking page by page, until its cursor is gone.
func (c *seen) top(ctx context.Context, token string) error {
	request := &holdpb.TopRequest{TokenId: token, Limit: 2}
	first, of := "", ""
	for {
		page, err := c.s.Query().Top(ctx, request)
		if request.Cursor != "" && status.Code(err) == codes.FailedPrecondition {
			return nil
		}
		if err != nil {
			return err
		}
		for _, h := range page.Holders {
			if first == "" {
				first, of = h.HolderId, generationOf(h.SettledScore)
			}
			if generationOf(h.SettledScore) != of || of == "2" && h.HolderId == "pool" {
				return fmt.Errorf("a ranking is mixed: it begins with %s of generation %s, and has %v", first, of, h)
			}
		}
		if request.Cursor = page.NextCursor; request.Cursor == "" {
			return nil
		}
	}
}

// watch watches until ctx ends. It says so with each change that it has taken.
func (c *seen) watch(ctx context.Context, request *holdpb.StatsRequest, mu *sync.Mutex, took chan<- struct{}) error {
	request.Watch = true
	stream, err := c.s.Metrics().Stats(ctx, request)
	if err != nil {
		return err
	}
	for {
		stat, err := stream.Recv()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		mu.Lock()
		switch {
		case stat.Complete:
		case stat.Gone:
			delete(c.stats, stat.HolderId)
		default:
			err = c.take(stat)
		}
		mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case took <- struct{}{}:
		default:
		}
	}
}

// is reports whether the client has what the generation has, of some holders or of all.
func (c *seen) is(t *testing.T, name string, holders []string) bool {
	want := map[string]string{}
	view := c.s.Gateway.Reads().Active()
	if view.Generation != name {
		t.Fatalf("%s is active", view.Generation)
	}
	view.Snapshots.Each(func(change projection.Change) bool {
		holder, _ := ingest.HolderOf(change.Key)
		if len(holders) == 0 || slices.Contains(holders, holder) {
			var stat holdpb.HoldStat
			if err := proto.Unmarshal(change.Value, &stat); err != nil {
				t.Error(err)
			}
			want[holder] = fmt.Sprint(name, stat.Position)
		}
		return true
	})
	got := map[string]string{}
	for holder, s := range c.stats {
		got[holder] = fmt.Sprint(s.Generation, s.Position)
	}
	return maps.Equal(got, want)
}

// Generations are switched back and forth under load. Every answer is what one of
// them says at its position, none is mixed, no holder steps back for anybody, what
// was recorded is read, and watchers end with exactly what is there.
func TestSwitchUnderLoad(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t)
	holders := []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"}
	for _, h := range append([]string{"pool"}, holders...) {
		s.log.append(h)
	}
	// With no snapshot yet, a read of all answers one that is empty.
	if err := s.client().own(t.Context(), "alice"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var running sync.WaitGroup
	goOn := func(what string, f func(context.Context) error) {
		running.Go(func() {
			for ctx.Err() == nil {
				if err := f(t.Context()); err != nil {
					t.Errorf("%s: %v", what, err)
					stop()
				}
			}
		})
	}
	for i := range 2 {
		writer := s.client()
		n := 0
		goOn("own", func(ctx context.Context) error {
			n++
			if n%5 == 0 {
				s.log.append("pool")
			}
			return writer.own(ctx, holders[(n*(i+3)+i)%len(holders)])
		})
	}
	reader := s.client()
	goOn("all", reader.all)
	goOn("scores", s.client().scores)
	goOn("top", func(ctx context.Context) error { return s.client().top(ctx, "") })
	goOn("top of a token", func(ctx context.Context) error { return s.client().top(ctx, "token") })

	watching, end := context.WithCancel(t.Context())
	defer end()
	var watchers sync.WaitGroup
	took := make(chan struct{}, 1)
	type watcher struct {
		*seen
		mu      sync.Mutex
		holders []string
	}
	var all []*watcher
	for _, request := range []*holdpb.StatsRequest{
		{}, {Live: true}, {HolderIds: []string{"alice", "pool", "nobody"}}, {MinInterval: durationpb.New(20 * time.Millisecond)},
		{HolderIds: []string{"bob"}, Live: true, MinInterval: durationpb.New(5 * time.Millisecond)},
	} {
		w := &watcher{seen: s.client(), holders: request.HolderIds}
		all = append(all, w)
		watchers.Go(func() {
			if err := w.watch(watching, request, &w.mu, took); err != nil {
				t.Errorf("watch %v: %v", request, err)
				stop()
			}
		})
	}
	const switches = 7
	for i := range switches {
		s.to(t, []string{"2", "1"}[i%2])
		if ctx.Err() != nil {
			break
		}
		// Some writing and reading within the generation.
		position := s.log.append("alice")
		for range 20 {
			position = max(position, s.log.append(holders[i%len(holders)]))
		}
		if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition(holders[i%len(holders)]), position); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	running.Wait()
	last := s.log.append("alice")
	if err := s.generations["2"].waitApplied(t.Context(), 0, last); err != nil {
		t.Fatal(err)
	}
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition("alice"), last); err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		for !t.Failed() {
			w.mu.Lock()
			done := w.is(t, "2", w.holders)
			w.mu.Unlock()
			if done {
				break
			}
			<-took
		}
	}
	end()
	watchers.Wait()
}

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

func (s *testSink) Complete(bool) error                           { s.lines <- "complete"; return nil }
func (s *testSink) EndRound(*query.Generation, watch.Point) error { s.lines <- "round"; return nil }
func (s *testSink) Heartbeat() error                              { return nil }

// A read that waits for a position goes on waiting at the next generation; a cursor
// of the former one is refused; a watch with an id of it starts over.
func TestReadsAcrossASwitch(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t)
	for _, h := range []string{"alice", "bob", "carol"} {
		s.log.append(h)
	}
	page, err := s.Query().Top(t.Context(), &holdpb.TopRequest{Limit: 1, After: 3})
	if err != nil || page.NextCursor == "" {
		t.Fatal(page, err)
	}
	events, _ := gatewaytest.EventsOf(t, s.World, "", "")
	id := ""
	for id == "" {
		if line := events(); len(line) > 3 && line[:3] == "id " {
			id = line[3:]
		}
	}
	// The position is in the log, and the snapshots that are served do not have it.
	old := s.Gateway.Reads().Active()
	old.Snapshots.Freeze()
	position := s.log.append("alice")
	waiting := make(chan error, 1)
	go func() {
		stats, err := gatewaytest.Received(s.Query().GetSnapshot(t.Context(), &holdpb.StatsRequest{HolderIds: []string{"alice"}, After: position}))
		if err == nil && (stats[0].Generation != "2" || stats[0].Position != position) {
			err = fmt.Errorf("%v", stats)
		}
		waiting <- err
	}()
	testwait.Poll(t, "the gateway, the watch and the read have the generation", func() error {
		if users := old.Users.Load(); users < 3 {
			return fmt.Errorf("%d users", users)
		}
		return nil
	})
	s.to(t, "2")
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	if _, err := s.Query().Top(t.Context(), &holdpb.TopRequest{Limit: 1, Cursor: page.NextCursor}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a cursor of another generation: %v", err)
	}
	resp, err := http.Get(s.Url + "/top?limit=1&cursor=" + page.NextCursor)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusGone {
		t.Errorf("a cursor of another generation: %d", resp.StatusCode)
	}
	events, _ = gatewaytest.EventsOf(t, s.World, "", id)
	gatewaytest.Expect(t, events, "alice 2000", "bob 1000", "carol 1000", "complete")

	body, err := s.Query().Status(t.Context(), &holdpb.Empty{})
	if err != nil || body.Generation != "2" || body.Rules != "rules of 2" || body.Prepared != "" {
		t.Error(body, err)
	}
}

// What cannot be switched to is not; the one that is served goes on.
func TestSwitchRefuses(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t)
	position := s.log.append("alice")
	if err := s.Gateway.Switch(t.Context(), "2"); !errors.Is(err, gateway.ErrNotPrepared) {
		t.Error(err)
	}
	if err := s.Gateway.Switch(t.Context(), "1"); err != nil {
		t.Error(err) // it is active
	}
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition("alice"), position); err != nil {
		t.Fatal(err)
	}
	// One that stands still is never ready.
	closed := 0
	stands := s.generations["2"].open(t)
	stands.Close = func() error { closed++; return nil }
	if err := stands.Snapshots.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	stands.Snapshots.Freeze()
	position = s.log.append("alice")
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition("alice"), position); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Gateway.Prepare(ctx, stands); !errors.Is(err, query.ErrBehind) || closed != 1 || s.Gateway.Prepared() != "" {
		t.Errorf("%v; closed %d times", err, closed)
	}
	// One that stands still after it was prepared is not switched to.
	prepared := s.generations["2"].open(t)
	prepared.Close = func() error { closed++; return nil }
	if err := s.Gateway.Prepare(t.Context(), prepared); err != nil {
		t.Fatal(err)
	}
	if s.Gateway.Prepared() != "2" {
		t.Errorf("%q is prepared", s.Gateway.Prepared())
	}
	prepared.Snapshots.Freeze()
	position = s.log.append("alice")
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), s.Partition("alice"), position); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Gateway.Switch(ctx, "2"); !errors.Is(err, query.ErrBehind) {
		t.Error(err)
	}
	if now := s.Gateway.Serving(); now.Generation != "1" || now.Rules != "rules of 1" {
		t.Error(now)
	}
	if err := s.client().own(t.Context(), "alice"); err != nil {
		t.Error(err) // nothing stands still
	}
	prepared.Snapshots.Thaw()
	if err := s.Gateway.Switch(t.Context(), "2"); err != nil {
		t.Error(err)
	}
	s.Close()
	if closed != 2 {
		t.Errorf("closed %d times", closed)
	}
}

// Nobody reads from the store of a generation before it has what was read from the
// one before, whatever position the reader asks for.
func TestStoreDoesNotStepBack(t *testing.T) {
	t.Parallel()
	w := gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Generation = "1"
		w.Cfg.Log = &fakes.Log{Size: 4, Ends: map[int]uint64{0: 9, 1: 9, 2: 9, 3: 9}}
	})
	w.Apply(t, 8, 8e9, fakes.Held("x", "alice", 1000, 2000, 1))
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{HolderId: "alice", After: 4}); err != nil {
		t.Fatal(err)
	}
	waited := make(chan uint64, 8)
	next := w.Cfg.Backend
	next.Generation, next.Snapshots = "2", fakes.ReadySnapshots()
	next.WaitApplied = func(_ context.Context, _ int, position uint64) error { waited <- position; return nil }
	if err := w.Gateway.Prepare(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if err := w.Gateway.Switch(t.Context(), "2"); err != nil {
		t.Fatal(err)
	}
	for len(waited) > 0 {
		<-waited
	}
	if _, err := gatewaytest.AllOf(t, w, &holdpb.ScoresRequest{HolderId: "alice", After: 4}); err != nil {
		t.Fatal(err)
	}
	if position := <-waited; position != 8 {
		t.Errorf("waited for %d, and 8 was read before", position)
	}
}

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

// A generation that stands still while it is prepared or switched to is given up after a
// while, though nobody gave the call a deadline; the error names the partition, both
// positions and what was last heard.
func TestPrepareGivesUp(t *testing.T) {
	t.Parallel()
	s := newSwitchWorld(t, func(c *gateway.Config) { c.PrepareStall = 20 * time.Millisecond })
	position := s.log.append("alice")
	partition := s.Partition("alice")
	if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), partition, position); err != nil {
		t.Fatal(err)
	}
	stalls := func(err error, want ...string) {
		t.Helper()
		if !errors.Is(err, stall.ErrStalled) {
			t.Errorf("%v", err)
			return
		}
		for _, text := range want {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%v, want %s", err, text)
			}
		}
		if s.Gateway.Prepared() != "" && s.Gateway.Serving().Generation != "1" {
			t.Errorf("%q is prepared, %+v served", s.Gateway.Prepared(), s.Gateway.Serving())
		}
	}
	// loaded is the generation, up to the active one, so that Prepare has nothing to
	// wait for but what is made to stand still.
	loaded := func() query.Backend {
		t.Helper()
		b := s.generations["2"].open(t)
		if err := errors.Join(b.Snapshots.Wait(t.Context()), b.Snapshots.WaitPosition(t.Context(), partition, position)); err != nil {
			t.Fatal(err)
		}
		return b
	}
	grow := func() {
		t.Helper()
		position = s.log.append("alice")
		if err := s.Gateway.Reads().Active().Snapshots.WaitPosition(t.Context(), partition, position); err != nil {
			t.Fatal(err)
		}
	}
	away := func(context.Context) error { return errors.New("the broker is away") }

	// Its snapshots do not move.
	still := loaded()
	still.Ready = away
	still.Snapshots.Freeze()
	before := position
	grow()
	stalls(s.Gateway.Prepare(t.Context(), still),
		fmt.Sprintf("generation 2, partition %d: the snapshots are at position %d, wanted %d: no progress for 20ms: last heard: the broker is away", partition, before, position))

	// Its snapshots never come.
	never := s.generations["2"].open(t)
	never.Snapshots.Close()
	never.Snapshots, never.Ready = unready{never.Snapshots}, away
	stalls(s.Gateway.Prepare(t.Context(), never), "loading snapshots, ", "no progress for 20ms: last heard: the broker is away")

	// Its store does not apply what its snapshots have.
	slow := loaded()
	slow.Ready = away
	slow.WaitApplied = func(ctx context.Context, _ int, _ uint64) error { <-ctx.Done(); return ctx.Err() }
	stalls(s.Gateway.Prepare(t.Context(), slow), "the store has not applied position", "last heard: the broker is away")
	slow = loaded()
	slow.Reader = silentReader{slow.Reader}
	stalls(s.Gateway.Prepare(t.Context(), slow), "asking the store: no progress for 20ms")

	// It stands still after it was prepared.
	late := loaded()
	if err := s.Gateway.Prepare(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	late.Snapshots.Freeze()
	grow()
	stalls(s.Gateway.Switch(t.Context(), "2"), fmt.Sprintf("wanted %d: no progress for 20ms", position))
}

// unready are snapshots that never become complete.
type unready struct{ query.Snapshots }

func (unready) Wait(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// silentReader is a store that does not answer.
type silentReader struct{ projection.Reader }

func (silentReader) Ping(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
