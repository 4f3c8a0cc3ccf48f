package projection_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"

	"holdmetrics/projection"
)

// above answers with an epoch that is one above the former.
func above(_ context.Context, former uint64) (uint64, error) { return former + 1, nil }

func fence(tb testing.TB, s *projection.Snapshots, partition int) *projection.Fence {
	tb.Helper()
	f, err := s.Fence(within(tb), partition, above)
	if err != nil {
		tb.Fatal(err)
	}
	return f
}

func at(position uint64) projection.Reached {
	return projection.Reached{Position: position, LogTime: int64(position)}
}

func TestFence(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	ctx := within(t)
	s := openSnapshots(t, b.connect(), false)
	v := watch(t, s)
	first := fence(t, s, 3)
	if first.Epoch() != 1 || first.Former() != 0 {
		t.Fatalf("epoch %d after %d", first.Epoch(), first.Former())
	}
	// One batch, one that is full, more than one, none.
	position := uint64(10)
	for _, n := range []int{1, 998, 999, 1000, 1998, 3001, 0} {
		position++
		all := entries(n, fmt.Sprint(n))
		if err := first.Publish(ctx, 3, all, at(position)); err != nil {
			t.Fatalf("%d entries: %v", n, err)
		}
		if err := v.WaitPosition(ctx, 3, position); err != nil {
			t.Fatal(err)
		}
		have := contents(v)
		for _, e := range all {
			if have[e.Key] != string(e.Value) {
				t.Fatalf("of %d entries, %s is %q", n, e.Key, have[e.Key])
			}
		}
		if v.Reached(3) != at(position) {
			t.Fatalf("%d entries: reached %+v", n, v.Reached(3))
		}
	}
	before := contents(v)

	elsewhere := fence(t, s, 4)
	second := fence(t, openSnapshots(t, b.connect(), false), 3)
	if second.Epoch() != 2 || second.Former() != 1 {
		t.Fatalf("epoch %d after %d", second.Epoch(), second.Former())
	}
	if have, err := second.Position(ctx, 3); err != nil || have != position {
		t.Fatalf("position %d, %v", have, err)
	}
	// What the former owner sends changes nothing.
	fenced := new(projection.FencedError)
	for _, n := range []int{0, 1, 2000} {
		if err := first.Publish(ctx, 3, entries(n, "late"), at(99)); !errors.As(err, &fenced) || fenced.Stored != 2 || fenced.Mine != 1 {
			t.Fatalf("%d late entries: %v", n, err)
		}
	}
	if err := first.SetOwed(ctx, 3, true); !errors.Is(err, projection.ErrFenced) {
		t.Fatal(err)
	}
	if owed, err := second.Owed(ctx, 3); err != nil || owed {
		t.Fatalf("owed %t, %v", owed, err)
	}
	if err := second.SetOwed(ctx, 3, true); err != nil {
		t.Fatal(err)
	}
	if owed, err := second.Owed(ctx, 3); err != nil || !owed {
		t.Fatalf("owed %t, %v", owed, err)
	}
	if err := elsewhere.Publish(ctx, 4, entries(0, ""), at(7)); err != nil {
		t.Fatal(err)
	}
	if err := second.Publish(ctx, 3, entries(0, ""), at(position+1)); err != nil {
		t.Fatal(err)
	}
	if err := v.WaitPosition(ctx, 3, position+1); err != nil {
		t.Fatal(err)
	}
	sameContents(t, before, contents(v))
	if err := second.Publish(ctx, 4, nil, at(1)); !errors.Is(err, projection.ErrBatch) {
		t.Fatal(err)
	}
}

func sameContents(tb testing.TB, want, got map[string]string) {
	tb.Helper()
	if len(want) != len(got) {
		tb.Fatalf("%d entries, want %d", len(got), len(want))
	}
	for k, v := range want {
		if got[k] != v {
			tb.Fatalf("%s is %q, want %q", k, got[k], v)
		}
	}
}

// The condition on the position: if another writer has written it, be it a batch of our own
// that came late, is noticed, and the batch goes out again after a look.
func TestFenceLooksAgain(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	ctx := within(t)
	js := b.connect()
	s := openSnapshots(t, js, false)
	f := fence(t, s, 0)
	if err := f.Publish(ctx, 0, entries(2, "a"), at(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "$KV."+projection.BucketName(s.Generation())+"._pos.0", []byte("2")); err != nil {
		t.Fatal(err)
	}
	if err := f.Publish(ctx, 0, entries(2, "b"), at(3)); err != nil {
		t.Fatal(err)
	}
	if have, err := s.Position(ctx, 0); err != nil || have != 3 {
		t.Fatalf("position %d, %v", have, err)
	}
}

// Two who put up fences at once get different epochs; who is not the owner any
// more finds out when it is asked again.
func TestFenceRace(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	ctx := within(t)
	s := openSnapshots(t, b.connect(), false)
	other := openSnapshots(t, b.connect(), false)
	lost := errors.New("lost")
	asked := 0
	var between *projection.Fence
	slow := func(ctx context.Context, former uint64) (uint64, error) {
		if asked++; asked == 1 {
			between = fence(t, other, 0)
			return former + 1, nil
		}
		if former != between.Epoch() {
			t.Errorf("former epoch %d, want %d", former, between.Epoch())
		}
		return 0, lost
	}
	if _, err := s.Fence(ctx, 0, slow); !errors.Is(err, lost) || asked != 2 {
		t.Fatalf("%v after %d looks", err, asked)
	}
	if err := between.Publish(ctx, 0, entries(1, "x"), at(1)); err != nil {
		t.Fatal(err)
	}
	// An epoch that is not greater is refused before anything is written.
	if _, err := s.Fence(ctx, 0, func(context.Context, uint64) (uint64, error) { return 1, nil }); !errors.Is(err, projection.ErrFenced) {
		t.Fatal(err)
	}
	if _, err := openSnapshotsOf(t, b, "2", true).Fence(ctx, 0, above); err == nil {
		t.Fatal("a bucket without fences has one")
	}
}

func openSnapshotsOf(tb testing.TB, b *broker, generation string, async bool) *projection.Snapshots {
	tb.Helper()
	s, err := projection.OpenSnapshots(within(tb), b.connect(), projection.SnapshotConfig{Generation: generation, Async: async})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// However an owner is cut off in the middle of many batches: from the new fence
// on nothing of it arrives.
func TestFenceCutsOff(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	ctx := within(t)
	s := openSnapshots(t, b.connect(), false)
	for round := range 5 {
		old := fence(t, s, 0)
		begun, ended := make(chan struct{}), make(chan error, 1)
		go func() {
			for i := uint64(1); ; i++ {
				position := uint64(round)<<32 + i
				if i == 3 {
					close(begun)
				}
				if err := old.Publish(ctx, 0, entries(2500, strconv.FormatUint(position, 10)), at(position)); err != nil {
					ended <- err
					return
				}
			}
		}()
		select {
		case <-begun:
		case err := <-ended:
			t.Fatalf("the owner ended before it was cut off: %v", err)
		}
		f := fence(t, s, 0)
		v, err := s.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		before := contents(v)
		if err := <-ended; !errors.Is(err, projection.ErrFenced) {
			t.Fatal(err)
		}
		have, _ := f.Position(ctx, 0)
		if err := f.Publish(ctx, 0, nil, at(have+1)); err != nil {
			t.Fatal(err)
		}
		if err := v.WaitPosition(ctx, 0, have+1); err != nil {
			t.Fatal(err)
		}
		sameContents(t, before, contents(v))
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
