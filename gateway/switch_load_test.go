package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/ingest"
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
