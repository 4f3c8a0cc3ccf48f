package projection_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/testseed"
	"holdmetrics/projection"
)

// watchOn is a view over a connection of its own, with little patience.
func watchOn(t *testing.T, s *projection.Snapshots, js jetstream.JetStream) *projection.View {
	t.Helper()
	v, err := s.WatchOn(within(t), js, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

func waitPosition(t *testing.T, v *projection.View, partition int, position uint64) {
	t.Helper()
	if err := v.WaitPosition(within(t), partition, position); err != nil {
		t.Fatal(err)
	}
}

// The last message of a quiet bucket says that more is pending. Nothing more comes,
// and the position is shown all the same.
func TestPositionNeedsNoFurtherMessage(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	s := openSnapshots(t, b.connect(), true)
	publish(t, s, 3, entries(2, "first"), 4)
	_, js := b.behind(faultynats.Faults{PendingHigh: 1})
	v := watchOn(t, s, js)
	waitPosition(t, v, 3, 4)
	publish(t, s, 3, entries(3, "second"), 5)
	waitPosition(t, v, 3, 5)
	if got := contents(v); !maps.Equal(got, contentsOf(entries(3, "second"))) {
		t.Errorf("the view has %v", got)
	}
}

// A mark that is late is waited for, as readiness does: over a broker that delivers all
// late, a view has not heard it when Mark returns.
func TestMarkIsHeard(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	s := openSnapshots(t, b.connect(), true)
	publish(t, s, 3, entries(2, "first"), 4)
	_, js := b.behind(faultynats.Faults{Late: 1, MaxDelay: 300 * time.Millisecond})
	v := watchOn(t, s, js)
	asked := time.Now()
	sequence, err := v.Mark(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := v.WaitHeard(t.Context(), sequence, asked); err != nil {
		t.Error(err)
	}
	if heard, at := v.Heard(); heard < sequence || at.Before(asked) {
		t.Errorf("the view has heard %d at %v, want %d after %v", heard, at, sequence, asked)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.WaitHeard(ended, sequence+1_000_000, asked); !errors.Is(err, context.Canceled) {
		t.Errorf("of a message that never came: %v", err)
	}
}

// A consumer delivers nothing from some message on; its heartbeats go on, or do not.
// The view finds out by itself.
func TestViewLeavesASilentConsumer(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]faultynats.Faults{
		"silent": {Silent: 1, Most: 1}, "mute": {Mute: 1, Most: 1}, "lost": {Lost: 1, Most: 1}, "late": {Late: 1, MaxDelay: 300 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBroker(t)
			s := openSnapshots(t, b.connect(), false)
			publish(t, s, 0, entries(10, "first"), 1)
			liar, js := b.behind(faultynats.Faults{})
			v := watchOn(t, s, js)
			waitPosition(t, v, 0, 1)
			liar.Set(f)
			publish(t, s, 0, entries(10, "second"), 2)
			waitPosition(t, v, 0, 2)
			if got := contents(v); !maps.Equal(got, contentsOf(entries(10, "second"))) {
				t.Errorf("the view has %v", got)
			}
			if c := liar.Counts(); c.Silent+c.Lost+c.Late == 0 {
				t.Error("nothing was wrong")
			}
		})
	}
}

// A view whose consumer falls silent asks the broker, whose answers are lost.
func TestViewAsksAgain(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	s := openSnapshots(t, b.connect(), false)
	publish(t, s, 0, entries(10, "first"), 1)
	liar, js := b.behind(faultynats.Faults{})
	v := watchOn(t, s, js)
	waitPosition(t, v, 0, 1)
	liar.Set(faultynats.Faults{Mute: 1, LostReplies: 1, Most: 2})
	publish(t, s, 0, entries(10, "second"), 2)
	waitPosition(t, v, 0, 2)
	if c := liar.Counts(); c.LostReplies != 2 || c.Silent != 2 {
		t.Errorf("%+v, want two of each", c)
	}
}

// A wait that is given up says what it waited for, and what was last heard.
func TestWaitPositionSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	b := startBroker(t)
	s := openSnapshots(t, b.connect(), false)
	publish(t, s, 2, entries(1, "x"), 7)
	liar, js := b.behind(faultynats.Faults{})
	v := watchOn(t, s, js)
	waitPosition(t, v, 2, 7)
	liar.Stall()
	publish(t, s, 2, entries(1, "y"), 8)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := v.WaitPosition(ctx, 2, 8)
	var wait *projection.WaitError
	if !errors.As(err, &wait) || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error %v", err)
	}
	if wait.Partition != 2 || wait.Wanted != 8 || wait.Reached != 7 || wait.LastSequence == 0 || time.Since(wait.LastHeard) > time.Minute {
		t.Errorf("%+v", wait)
	}
	for _, part := range []string{"position 8", "partition 2", "is at 7", "last message was"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
	liar.Resume()
	waitPosition(t, v, 2, 8)
}

// Whatever the broker says and loses: a position is shown only when every snapshot of
// before it is, and it is shown in the end.
func TestPositionsAreTrue(t *testing.T) {
	t.Parallel()
	const rounds = 300
	for seed := range testseed.Seeds(t.Name(), 4) {
		for name, f := range map[string]faultynats.Faults{
			"low":  {Seed: seed, PendingLow: 1},
			"mild": faultynats.Mild(seed),
			"hard": faultynats.Hard(seed),
		} {
			t.Run(fmt.Sprint(name, "-", seed), func(t *testing.T) {
				t.Parallel()
				b := startBroker(t)
				s := openSnapshots(t, b.connect(), seed%2 == 0)
				_, js := b.behind(f)
				v := watchOn(t, s, js)
				// written[i][k] is the value of holder k at position i.
				written := make([][]int, rounds+1)
				random := rand.New(rand.NewPCG(seed, 1))
				batches := make([][]projection.Entry, rounds+1)
				all := entries(8, "")
				for i := 1; i <= rounds; i++ {
					written[i] = make([]int, len(all))
					copy(written[i], written[i-1])
					for k, e := range all {
						if random.IntN(3) == 0 {
							written[i][k] = i
							batches[i] = append(batches[i], projection.Entry{Key: e.Key, Value: strconv.AppendInt(nil, int64(i), 10)})
						}
					}
				}
				failed := make(chan error, 1)
				go func() {
					for i := uint64(1); i <= rounds; i++ {
						if err := s.Publish(within(t), 0, batches[i], projection.Reached{Position: i}); err != nil {
							failed <- err
							return
						}
					}
					failed <- nil
				}()
				for at := uint64(0); at < rounds; {
					waitPosition(t, v, 0, at+1)
					at = v.Position(0)
					for k, want := range written[at] {
						value, _ := v.Get(all[k].Key)
						if got, _ := strconv.Atoi(string(value)); got < want {
							t.Fatalf("at position %d, %s is of %d, want %d or later", at, all[k].Key, got, want)
						}
					}
				}
				if err := <-failed; err != nil {
					t.Error(err)
				}
			})
		}
	}
}
