package grpcapi

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// Answers that come in any order, from any goroutine, are sent in the order of
// their questions, and no more questions are open than the queue has places.
func TestReplyQueueKeepsOrder(t *testing.T) {
	t.Parallel()
	const places, questions, answerers = 100, 5000, 4
	l := newReplies[uint64](places, places)
	asked := make(chan uint64, places)
	var all sync.WaitGroup
	all.Go(func() {
		for range questions {
			seq, err := l.take(t.Context(), 1)
			if err != nil {
				t.Error(err)
				return
			}
			asked <- seq
		}
		close(asked)
		l.close(nil)
	})
	// A holder of a question never waits for another one, so the queue
	// cannot stand still for want of an answer.
	for range answerers {
		all.Go(func() {
			for seq := range asked {
				mine := []uint64{seq}
				for len(mine) > 0 {
					select {
					case seq, ok := <-asked:
						if ok {
							mine = append(mine, seq)
						}
					default:
					}
					i := rand.IntN(len(mine))
					l.answer(mine[i], mine[i])
					mine = slices.Delete(mine, i, i+1)
				}
			}
		})
	}
	var got uint64
	err := l.send(t.Context(), time.Minute, func(v uint64) error {
		if v != got {
			t.Errorf("got %d, want %d", v, got)
		}
		got++
		return nil
	})
	all.Wait()
	if err != nil || got != questions {
		t.Fatalf("%d answers, %v", got, err)
	}
}

// What is in flight weighs no more than the queue bears, but for one that is
// heavier and goes alone.
func TestReplyQueueIsBoundedByWeight(t *testing.T) {
	t.Parallel()
	const bears = 10
	l := newReplies[int](8, bears)
	full, cancel := context.WithCancel(t.Context())
	cancel()
	for _, some := range [][]int{{25}, {4, 6}, {bears}, {1, 1, 1, 1, 1, 1, 1, 1}, {0, 10, 0}} {
		for _, weight := range some {
			if _, err := l.take(t.Context(), weight); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := l.take(full, bears); err == nil {
			t.Fatalf("another one went beside %v", some)
		}
		for i := range some {
			l.answer(l.head+uint64(i), i)
		}
		if got, _, _ := l.drain(nil); len(got) != len(some) || l.weight != 0 {
			t.Fatalf("%d answers of %v, %d is in flight", len(got), some, l.weight)
		}
	}
	if len(l.ring) != repliesBegin {
		t.Errorf("the ring has grown to %d", len(l.ring))
	}
}

func TestReplyQueueEnds(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	l := newReplies[int](2, 2)
	for range 2 {
		if _, err := l.take(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if _, err := l.take(ended, 1); !errors.Is(err, broken) {
		t.Errorf("take of a full queue: %v", err)
	}
	if err := l.send(ended, time.Minute, func(int) error { return nil }); !errors.Is(err, broken) {
		t.Errorf("send of an unanswered queue: %v", err)
	}
	l.answer(1, 1)
	l.answer(0, 0)
	l.close(broken)
	sent := 0
	if err := l.send(t.Context(), time.Minute, func(int) error { sent++; return nil }); !errors.Is(err, broken) || sent != 2 {
		t.Errorf("send of a closed queue: %v after %d", err, sent)
	}
}
