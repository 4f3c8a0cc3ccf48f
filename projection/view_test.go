package projection_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"holdmetrics/projection"
)

func TestViewFollows(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	s := openSnapshots(t, js, true)
	v := watch(t, s)
	ctx := within(t)
	if err := v.Wait(ctx); err != nil { // an empty bucket is complete
		t.Fatal(err)
	}
	if v.Len() != 0 {
		t.Errorf("%d holders in an empty bucket", v.Len())
	}
	all := append(entries(500, "x"), projection.Entry{Key: "_", Value: []byte("1")}, projection.Entry{Key: "=YQ", Value: []byte("2")}, projection.Entry{Key: "_pos", Value: []byte("3")})
	for round := uint64(1); round <= 5; round++ {
		for i := range all {
			all[i].Value = binary.AppendUvarint(nil, round*uint64(i))
		}
		publish(t, s, 2, all, round)
		if err := v.WaitPosition(ctx, 2, round); err != nil {
			t.Fatal(err)
		}
		if got := contents(v); !maps.Equal(got, contentsOf(all)) {
			t.Errorf("round %d: the view has %d holders, or old values", round, len(got))
		}
	}
	var keys []string
	v.All(func(key string, _ []byte) bool {
		keys = append(keys, key)
		return true
	})
	if !slices.IsSorted(keys) || len(keys) != v.Len() {
		t.Errorf("%d keys, sorted %v; Len is %d", len(keys), slices.IsSorted(keys), v.Len())
	}
	if value, ok := v.Get("holder-000003"); !ok || string(value) != string(all[3].Value) {
		t.Errorf("get: %q, %v", value, ok)
	}
	if _, ok := v.Get("nobody"); ok {
		t.Error("get of nobody")
	}
	kv, err := js.KeyValue(ctx, "HOLD_STATS_g1")
	if err != nil {
		t.Fatal(err)
	}
	if err := kv.Delete(ctx, "holder-000003"); err != nil {
		t.Fatal(err)
	}
	publish(t, s, 2, nil, 6)
	if err := v.WaitPosition(ctx, 2, 6); err != nil {
		t.Fatal(err)
	}
	if _, ok := v.Get("holder-000003"); ok || v.Len() != len(all)-1 {
		t.Errorf("a deleted key is still there; %d holders", v.Len())
	}
}

func TestViewAllLocksNothing(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	s := openSnapshots(t, js, true)
	publish(t, s, 0, entries(2000, "old"), 1)
	v := watch(t, s)
	ctx := within(t)
	if err := v.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	n := 0
	v.All(func(key string, value []byte) bool {
		if n++; n == 10 {
			publish(t, s, 0, entries(2500, "new"), 2)
			if err := v.WaitPosition(ctx, 0, 2); err != nil {
				t.Error(err)
			}
		}
		return true
	})
	if n != 2000 {
		t.Errorf("the walk saw %d holders, want the 2000 that were there all the time", n)
	}
	if v.Len() != 2500 {
		t.Errorf("%d holders, want 2500", v.Len())
	}
}

func TestViewChanges(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	s := openSnapshots(t, js, true)
	v := watch(t, s)
	ctx := within(t)
	got := map[string]string{} // what a watcher knows
	var after uint64
	drain := func() (n int) {
		for {
			changes, next := v.Changes(after, 100)
			if next == after {
				return n
			}
			after = next
			n += len(changes)
			for _, c := range changes {
				if c.Gone {
					delete(got, c.Key)
				} else {
					got[c.Key] = string(c.Value)
				}
			}
		}
	}
	for round := uint64(1); round <= 20; round++ {
		all := entries(300, fmt.Sprint(round))
		publish(t, s, 0, all, round)
		if err := v.WaitPosition(ctx, 0, round); err != nil {
			t.Fatal(err)
		}
		if round%5 != 0 { // a slow one
			continue
		}
		if n := drain(); n != 300 {
			t.Errorf("round %d: %d changes, want one for each holder", round, n)
		}
		if !maps.Equal(got, contentsOf(all)) {
			t.Errorf("round %d: the watcher has old values", round)
		}
	}
	changed := v.Changed()
	publish(t, s, 0, entries(1, "wake"), 21)
	select {
	case <-changed:
	case <-ctx.Done():
		t.Fatal("nobody was woken")
	}
}

// The broker is stopped, what it had is changed or lost, and it is started again.
func TestViewSurvives(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	js := b.connect()
	s := openSnapshots(t, js, false)
	v := watch(t, s)
	ctx := within(t)
	publish(t, s, 0, entries(1000, "before"), 1)
	if err := v.WaitPosition(ctx, 0, 1); err != nil {
		t.Fatal(err)
	}

	b.stop()
	if v.Len() != 1000 {
		t.Errorf("%d holders while the broker is away, want 1000", v.Len())
	}
	b.start()
	publishUntil(ctx, t, s, entries(1200, "after"), 2)
	if err := v.WaitPosition(ctx, 0, 2); err != nil {
		t.Fatal(err)
	}
	if got := contents(v); !maps.Equal(got, contentsOf(entries(1200, "after"))) {
		t.Errorf("after a restart the view has %d holders", len(got))
	}

	// The bucket is created again with fewer holders: its sequences begin again.
	if err := js.DeleteStream(ctx, "KV_HOLD_STATS_g1"); err != nil {
		t.Fatal(err)
	}
	again := openSnapshots(t, b.connect(), false)
	publishUntil(ctx, t, again, entries(10, "again"), 3)
	if err := v.WaitPosition(ctx, 0, 3); err != nil {
		t.Fatal(err)
	}
	if got := contents(v); !maps.Equal(got, contentsOf(entries(10, "again"))) {
		t.Errorf("after the bucket was created again the view has %d holders", len(got))
	}
	if err := v.Err(); err != nil {
		t.Errorf("error: %v", err)
	}
}

// publishUntil publishes again while the connection is coming back.
func publishUntil(ctx context.Context, t *testing.T, s *projection.Snapshots, all []projection.Entry, position uint64) {
	t.Helper()
	for {
		// What was sent as the connection broke is never acknowledged.
		once, cancel := context.WithTimeout(ctx, time.Second)
		err := s.Publish(once, 0, all, projection.Reached{Position: position})
		cancel()
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("publish: %v", err)
		}
	}
}

func TestViewCloses(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	s := openSnapshots(t, js, true)
	publish(t, s, 0, entries(5, "x"), 1)
	v := watch(t, s)
	ctx := within(t)
	if err := v.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	go func() { waiting <- v.WaitPosition(ctx, 0, 99) }()
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := v.WaitPosition(short, 0, 99); !errors.Is(err, context.Canceled) {
		t.Errorf("wait whose context ended: %v", err)
	}
	for range 2 {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-waiting; !errors.Is(err, projection.ErrClosed) {
		t.Errorf("wait on a closed view: %v", err)
	}
	if v.Len() != 5 {
		t.Errorf("%d holders after close, want 5", v.Len())
	}
	for range 100 { // a request that began before a switch of generations still gets its answer
		if err := v.Wait(ctx); err != nil {
			t.Fatalf("a view that was ready before it was closed: %v", err)
		}
	}
}

// A view becomes ready on a machine that is slower than its patience, whose first passes
// all end before their answers have come.
func TestViewOfASlowMachine(t *testing.T) {
	t.Parallel()
	js := startBroker(t).connect()
	s := openSnapshots(t, js, false)
	all := entries(50, "value")
	publish(t, s, 0, all, 1)
	v, err := s.WatchOn(within(t), js, 100*time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	select {
	case <-v.Ready():
	case <-within(t).Done():
		t.Fatalf("the view never became ready: %v", v.Err())
	}
	if got := contents(v); !maps.Equal(got, contentsOf(all)) {
		t.Errorf("the view has %d holders, or other values", len(got))
	}
}
