package projection_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/testwait"
	"holdmetrics/projection"
)

// statOf is the snapshot of a holder at a position, whose line begins at since.
func statOf(t testing.TB, holder string, position uint64, since int64) projection.Entry {
	t.Helper()
	r := projection.HolderRecord{Holder: holder, Position: position, UpdatedAt: int64(position)}
	r.Figures.Line.Since = since
	value, err := projection.EncodeSnapshot(&r, "none", "g1")
	if err != nil {
		t.Fatal(err)
	}
	return projection.Entry{Key: holder, Value: value}
}

func watchFed(tb testing.TB, s *projection.Snapshots) *projection.View {
	tb.Helper()
	v, err := s.WatchFed(within(tb))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = v.Close() })
	return v
}

func positionAt(t testing.TB, v *projection.View, key string) uint64 {
	t.Helper()
	value, _ := v.Get(key)
	return projection.SnapshotPosition(value)
}

// owner is one that shows what changes, and publishes it later.
type owner struct {
	s       *projection.Snapshots
	feeds   uint64
	holders map[string]projection.Entry // as they are
	unshown map[string]bool
	queued  map[string]bool // not in the bucket
	at      uint64          // the last change
	from    uint64          // see the shower of package processor
	since   int64
	put     uint64 // the bucket's position
}

func (o *owner) change(t *testing.T, holder string, line bool) {
	if line && o.holders[holder].Value != nil && !o.queued[holder] {
		o.since++
		o.holders[holder] = statOf(t, holder, projection.SnapshotPosition(o.holders[holder].Value), o.since)
	} else {
		o.at++
		o.holders[holder] = statOf(t, holder, o.at, o.since)
	}
	o.unshown[holder], o.queued[holder] = true, true
}

// feed has all shown that waits for the bucket, to a view that was opened.
func (o *owner) feed() {
	if feeds := o.s.Feeds(); feeds != o.feeds {
		o.feeds, o.from = feeds, o.put
		o.unshown = maps.Clone(o.queued)
	}
}

func (o *owner) show(some []string) {
	o.feed()
	var entries []projection.Entry
	for _, h := range some {
		if o.unshown[h] {
			entries = append(entries, o.holders[h])
			delete(o.unshown, h)
		}
	}
	o.s.Show(0, entries, nil)
}

func (o *owner) showAll() {
	o.show(slices.Sorted(maps.Keys(o.unshown)))
	if o.from == 0 || o.s.Shown(0) >= o.from {
		o.from = 0
		o.s.Show(0, nil, &projection.Reached{Position: o.at})
	}
}

func (o *owner) publish(t *testing.T) {
	var entries []projection.Entry
	keys := slices.Sorted(maps.Keys(o.queued))
	o.show(keys)
	for _, h := range keys {
		entries = append(entries, o.holders[h])
	}
	clear(o.queued)
	o.put = o.at
	publish(t, o.s, 0, entries, o.at)
}

// A view that the owner feeds and one that reads the bucket show the same in the end,
// whatever is shown and published when, also if a view is frozen for a while or opened in
// the midst of it. In neither a holder steps back, and neither claims a position before it
// has all up to there.
func TestBothFeedsShowTheSame(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 11))
			js := startBroker(t).connect()
			s := openSnapshots(t, js, true)
			ctx := within(t)
			o := &owner{s: s, holders: map[string]projection.Entry{}, unshown: map[string]bool{}, queued: map[string]bool{}}
			name := func() string { return fmt.Sprint("h", r.IntN(30)) }
			type seen struct {
				view *projection.View
				at   map[string]uint64
			}
			var views []seen
			open := func(v *projection.View) {
				if err := v.Wait(ctx); err != nil {
					t.Fatal(err)
				}
				views = append(views, seen{v, map[string]uint64{}})
			}
			changedAt := map[string][]uint64{}
			var all []string
			var frozen *projection.View
			look := func() {
				for _, v := range views {
					reached := v.view.Position(0)
					for _, h := range all {
						at := positionAt(t, v.view, h)
						if at < v.at[h] {
							t.Fatalf("%s steps back from %d to %d", h, v.at[h], at)
						}
						v.at[h] = at
						for _, position := range changedAt[h] {
							if position <= reached && at < position {
								t.Fatalf("a view claims position %d, and has %s at %d, which changed at %d", reached, h, at, position)
							}
						}
					}
				}
			}
			for step := range 400 {
				switch n := r.IntN(20); {
				case step == 40:
					open(watch(t, s))
				case step == 80 || step == 250 || n == 0 && step == 300:
					open(watchFed(t, s))
				case n < 9:
					h := name()
					o.change(t, h, r.IntN(4) == 0)
					if len(changedAt[h]) == 0 {
						all = append(all, h)
					}
					changedAt[h] = append(changedAt[h], projection.SnapshotPosition(o.holders[h].Value))
				case n < 12:
					o.show([]string{name(), name()})
				case n < 14:
					o.showAll()
				case n < 16:
					o.publish(t)
				case n == 16 && frozen == nil && len(views) > 1:
					frozen = views[1].view
					frozen.Freeze()
				case n == 17 && frozen != nil:
					frozen.Thaw()
					frozen = nil
				}
				look()
			}
			if frozen != nil {
				frozen.Thaw()
			}
			o.publish(t)
			for _, v := range views {
				testwait.Poll(t, "a view has all", func() error {
					o.showAll()
					if at := v.view.Position(0); at != o.at {
						return fmt.Errorf("it is at position %d of %d", at, o.at)
					}
					return nil
				})
			}
			look()
			want := map[string]string{}
			for h, e := range o.holders {
				want[h] = string(e.Value)
			}
			for i, v := range views {
				testwait.Poll(t, "a view has the last lines", func() error {
					if got := contents(v.view); !maps.Equal(got, want) {
						return fmt.Errorf("view %d has %d holders, want %d, or other lines", i, len(got), len(want))
					}
					return nil
				})
			}
		})
	}
}

// What the owner has shown stays, though the bucket delivers what is older, is written
// again by another client, loses the key, or is away and comes back.
func TestShownStays(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	js := b.connect()
	s := openSnapshots(t, js, true)
	ctx := within(t)
	publish(t, s, 0, []projection.Entry{statOf(t, "a", 1, 0), statOf(t, "b", 2, 0)}, 2)
	v := watchFed(t, s)
	if err := v.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if at := positionAt(t, v, "b"); at != 2 || v.Position(0) != 2 && v.WaitPosition(ctx, 0, 2) != nil {
		t.Fatalf("b is at %d, the view at %d", at, v.Position(0))
	}
	s.Show(0, []projection.Entry{statOf(t, "a", 5, 0), statOf(t, "c", 4, 0)}, &projection.Reached{Position: 5})
	check := func(when string) {
		t.Helper()
		for key, want := range map[string]uint64{"a": 5, "b": 2, "c": 4} {
			if at := positionAt(t, v, key); at != want {
				t.Errorf("%s: %s is at %d, want %d", when, key, at, want)
			}
		}
		if v.Position(0) != 5 || v.Len() != 3 {
			t.Errorf("%s: position %d, %d holders", when, v.Position(0), v.Len())
		}
	}
	check("shown")
	publish(t, s, 0, []projection.Entry{statOf(t, "a", 3, 0)}, 3) // conflation may send what is older by then
	mark := func() {
		t.Helper()
		at, err := v.Mark(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.WaitHeard(ctx, at, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	mark()
	check("the bucket is older")
	gone := nats.NewMsg("$KV.HOLD_STATS_g1.a")
	gone.Header.Set("KV-Operation", "DEL")
	if _, err := js.PublishMsg(ctx, gone); err != nil {
		t.Fatal(err)
	}
	mark()
	check("the key is deleted")
	b.stop()
	b.start()
	testwait.Poll(t, "the bucket is there again", func() error {
		within, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := v.Mark(within)
		return err
	})
	mark()
	check("the bucket was away")
	s.Show(0, []projection.Entry{{Key: "c", Gone: true}}, nil)
	if _, ok := v.Get("c"); ok {
		t.Error("c is there, which the owner has removed")
	}
}

// A reader who waits for a position has the owner show it, and returns when it was.
func TestWaitingHasTheOwnerShow(t *testing.T) {
	t.Parallel()
	_, js := startBroker(t).behind(faultynats.Faults{})
	s := openSnapshots(t, js, true)
	ctx := within(t)
	wanted := make(chan int, 8)
	s.OnWanted(func(partition int) {
		select {
		case wanted <- partition:
		default:
		}
	})
	v := watchFed(t, s)
	if err := v.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- v.WaitPosition(ctx, 7, 3) }()
	if p := <-wanted; p != 7 {
		t.Errorf("partition %d is wanted", p)
	}
	s.Show(7, []projection.Entry{statOf(t, "a", 3, 0)}, &projection.Reached{Position: 3})
	if err := <-waited; err != nil {
		t.Fatal(err)
	}
	if at := positionAt(t, v, "a"); at != 3 {
		t.Errorf("a is at %d", at)
	}
	if s.Watches("a") || s.WatchesAll() {
		t.Error("it is watched, and nobody watches")
	}
	v.WatchedBy(watchedKeys{"a": true})
	if !s.Watches("a") || s.Watches("b") || s.WatchesAll() {
		t.Error("what is watched is not told")
	}
	before := s.Feeds()
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if before == 0 || s.Feeds() != 0 || s.Watches("a") {
		t.Errorf("feeds %d, and %d after the view was closed", before, s.Feeds())
	}
	s.Show(7, []projection.Entry{statOf(t, "a", 9, 0)}, nil)
	if at := positionAt(t, v, "a"); at != 3 {
		t.Errorf("a closed view has a at %d", at)
	}
}

type watchedKeys map[string]bool

func (w watchedKeys) WatchesAll() bool        { return false }
func (w watchedKeys) Watches(key string) bool { return w[key] }
