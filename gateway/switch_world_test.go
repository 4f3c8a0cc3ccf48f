package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/gateway"
	"holdmetrics/gateway/gatewaytest"
	"holdmetrics/gateway/gatewaytest/fakes"
	"holdmetrics/gateway/query"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	"holdmetrics/projection/storetest"
	holdpb "holdmetrics/proto"
)

// testLog is a log whose event at position n, from 1, is a hold of a second of one
// holder. So what a generation says of a holder at a position is known: as many
// times its multiplier as the holder has events up to there.
type testLog struct {
	fakes.Log  // for what is the same for all logs
	partitions int

	mu      sync.Mutex
	holders []string // by position - 1
	grown   chan struct{}
}

func newTestLog() *testLog { return &testLog{partitions: 4, grown: make(chan struct{})} }

func (l *testLog) append(holder string) (position uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holders = append(l.holders, holder)
	close(l.grown)
	l.grown = make(chan struct{})
	return uint64(len(l.holders))
}

// after gives the events behind a position, and what is closed when there are more.
func (l *testLog) after(position uint64) ([]string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holders[position:len(l.holders):len(l.holders)], l.grown
}

// count is how many events a holder has up to a position.
func (l *testLog) count(holder string, position uint64) (n uint64) {
	all, _ := l.after(0)
	for _, h := range all[:position] {
		if h == holder {
			n++
		}
	}
	return n
}

func (l *testLog) Partitions() int { return l.partitions }

func (l *testLog) End(_ context.Context, p int) (end uint64, err error) {
	all, _ := l.after(0)
	for i, h := range all {
		if ingest.Partition(h, l.partitions) == p {
			end = uint64(i) + 1
		}
	}
	return end, nil
}

func (l *testLog) LastPosition(context.Context) (uint64, error) {
	all, _ := l.after(0)
	return uint64(len(all)), nil
}

// testGeneration applies a testLog to a store and a bucket of its own, at its own pace. Its
// views are shown what it applies, some events before the bucket has them.
type testGeneration struct {
	name       string
	multiplier float64
	excluded   map[string]bool

	log       *testLog
	js        jetstream.JetStream
	store     *storetest.Memory
	snapshots *projection.Snapshots
	pairs     map[string]*hold.Pair

	random    *rand.Rand
	feeds     uint64
	waiting   map[int]map[string]projection.Entry // for the bucket, by partition
	reached   map[int]projection.Reached          // by what waits
	published map[int]uint64
	from      map[int]uint64 // what a view has to have before it is shown a position

	mu      sync.Mutex
	applied uint64
	moved   chan struct{}
}

func newTestGeneration(t *testing.T, js jetstream.JetStream, l *testLog, name string, multiplier float64, excluded ...string) *testGeneration {
	t.Helper()
	s, err := projection.OpenSnapshots(t.Context(), js, projection.SnapshotConfig{Generation: name, Async: true})
	if err != nil {
		t.Fatal(err)
	}
	g := &testGeneration{
		name: name, multiplier: multiplier, excluded: map[string]bool{}, log: l, js: js, store: storetest.NewMemory(), snapshots: s,
		pairs: map[string]*hold.Pair{}, moved: make(chan struct{}), random: rand.New(rand.NewPCG(uint64(len(name)), 9)),
		waiting: map[int]map[string]projection.Entry{}, reached: map[int]projection.Reached{}, published: map[int]uint64{}, from: map[int]uint64{},
	}
	for _, h := range excluded {
		g.excluded[h] = true
	}
	return g
}

// run applies the log until ctx ends, a few events at a time.
func (g *testGeneration) run(ctx context.Context) error {
	defer g.snapshots.Close()
	for random := rand.New(rand.NewPCG(uint64(len(g.name)), 7)); ; {
		if random.IntN(16) == 0 {
			time.Sleep(3 * time.Millisecond) // the other one goes ahead
		}
		events, grown := g.log.after(g.applied)
		if len(events) == 0 {
			for p, to := range g.reached {
				if to.Position == g.published[p] {
					continue
				}
				if err := g.publish(ctx, p); err != nil {
					if ctx.Err() != nil {
						return nil
					}
					return err
				}
			}
			select {
			case <-grown:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if err := g.apply(ctx, events[:min(len(events), 1+random.IntN(6))]); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// apply applies the next events: to the store, then to the bucket.
func (g *testGeneration) apply(ctx context.Context, events []string) error {
	position := g.applied
	for _, holder := range events {
		position++
		p := ingest.Partition(holder, g.log.partitions)
		to := projection.Reached{Position: position, LogTime: int64(position) * 1e9}
		b := projection.Batch{Partition: p, Checkpoint: projection.Checkpoint{LogID: "log", Position: position, Epoch: 1, LogTime: to.LogTime}}
		var entries []projection.Entry
		if !g.excluded[holder] {
			b.Pairs, b.Holders, entries = g.add(holder, to)
		}
		if err := g.store.Flush(ctx, &b); err != nil {
			return err
		}
		g.mu.Lock()
		g.applied = position
		close(g.moved)
		g.moved = make(chan struct{})
		g.mu.Unlock()
		g.show(p, entries, to)
		if g.random.IntN(3) > 0 {
			if err := g.publish(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// show shows an event to the views, and has it wait for the bucket.
func (g *testGeneration) show(p int, entries []projection.Entry, to projection.Reached) {
	if g.waiting[p] == nil {
		g.waiting[p] = map[string]projection.Entry{}
	}
	for _, e := range entries {
		g.waiting[p][e.Key] = e
	}
	g.reached[p] = to
	if feeds := g.snapshots.Feeds(); feeds != g.feeds { // a view that lacks what waits
		g.feeds = feeds
		maps.Copy(g.from, g.published)
		for partition, some := range g.waiting {
			g.snapshots.Show(partition, slices.Collect(maps.Values(some)), nil)
		}
	}
	g.snapshots.Show(p, entries, nil)
	if g.snapshots.Shown(p) >= g.from[p] {
		g.from[p] = 0
		g.snapshots.Show(p, nil, &to)
	}
}

// publish publishes what waits for the bucket.
func (g *testGeneration) publish(ctx context.Context, p int) error {
	entries := slices.Collect(maps.Values(g.waiting[p]))
	clear(g.waiting[p])
	g.published[p] = g.reached[p].Position
	return g.snapshots.Publish(ctx, p, entries, g.reached[p])
}

func (g *testGeneration) add(holder string, to projection.Reached) ([]projection.PairChange, []projection.HolderRecord, []projection.Entry) {
	d := fakes.Held("token", holder, int64(to.Position)*10, int64(to.Position)*10+1, g.multiplier)
	e, err := d.Check(fakes.TestNow, hold.DefaultLimits())
	if err != nil {
		panic(err)
	}
	pair := g.pairs[holder]
	if pair == nil {
		pair = hold.NewPair(hold.Merge)
		g.pairs[holder] = pair
	}
	pair.Add(e.Fact())
	f := pair.Figures(fakes.TestNow)
	change := projection.PairChange{
		Key: projection.PairKey{Holder: holder, Token: "token"}, Figures: f,
		Facts: []projection.LoggedFact{{Fact: e.Fact(), Position: to.Position, LogTime: to.LogTime}},
	}
	for page := range pair.DirtyPages() {
		change.Pages = append(change.Pages, page)
	}
	record := projection.HolderRecord{Holder: holder, Figures: f, UpdatedAt: to.LogTime, Position: to.Position}
	stat := &holdpb.HoldStat{
		HolderId: holder, ScoreExact: f.Settled.Score.String(), HeldExact: f.Settled.Held.String(), LiveBase: f.Line.Base.Score.String(),
		Since: fakes.Timestamp(f.Line.Since), UpdatedAt: fakes.Timestamp(to.LogTime), Position: to.Position, Generation: g.name,
	}
	return []projection.PairChange{change}, []projection.HolderRecord{record}, []projection.Entry{{Key: ingest.SubjectToken(holder), Value: fakes.Marshal(stat)}}
}

func (g *testGeneration) waitApplied(ctx context.Context, _ int, position uint64) error {
	for {
		g.mu.Lock()
		applied, moved := g.applied, g.moved
		g.mu.Unlock()
		if applied >= position {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open gives the generation to a gateway, with a view of its own.
func (g *testGeneration) open(t *testing.T) query.Backend {
	t.Helper()
	view, err := g.snapshots.WatchFed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return query.Backend{
		Generation: g.name, RulesVersion: "rules of " + g.name, Reader: g.store, Snapshots: view, WaitApplied: g.waitApplied,
		Ready: func(context.Context) error { return nil },
	}
}

// check returns an error unless a snapshot is what this generation says at its position.
func (g *testGeneration) check(s *holdpb.HoldStat) error {
	want := fmt.Sprint(g.log.count(s.HolderId, s.Position) * uint64(g.multiplier))
	switch {
	case g.excluded[s.HolderId]:
		return fmt.Errorf("generation %s has no %s: %v", g.name, s.HolderId, s)
	case s.ScoreExact != want:
		return fmt.Errorf("generation %s at %d: %s has %s, not %s", g.name, s.Position, s.HolderId, want, s.ScoreExact)
	}
	return nil
}

// switchWorld is a gateway with two generations of one log: in the second, figures
// are a thousand times those of the first, and pool is left out.
type switchWorld struct {
	*gatewaytest.World
	log         *testLog
	generations map[string]*testGeneration
}

func newSwitchWorld(t *testing.T, configure ...func(*gateway.Config)) *switchWorld {
	t.Helper()
	_, js := gatewaytest.OpenLog(t)
	s := &switchWorld{log: newTestLog()}
	s.generations = map[string]*testGeneration{
		"1": newTestGeneration(t, js, s.log, "1", 1), "2": newTestGeneration(t, js, s.log, "2", 1000, "pool"),
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, g := range s.generations {
		running.Go(func() {
			if err := g.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })
	s.World = gatewaytest.NewWorld(t, func(w *gatewaytest.World) {
		w.Cfg.Log, w.Cfg.Backend = s.log, s.generations["1"].open(t)
		for _, c := range configure {
			c(&w.Cfg)
		}
	})
	return s
}

// to prepares a generation and switches to it.
func (s *switchWorld) to(t *testing.T, name string) {
	t.Helper()
	if err := s.Gateway.Prepare(t.Context(), s.generations[name].open(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.Gateway.Switch(t.Context(), name); err != nil {
		t.Fatal(err)
	}
}
