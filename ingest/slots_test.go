package ingest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"holdmetrics/hold"
	"holdmetrics/internal/testwait"
)

// ofPartition gives n holders of a partition.
func ofPartition(partition, partitions, n int) (holders []string) {
	for i := 0; len(holders) < n; i++ {
		if h := fmt.Sprint("holder", i); Partition(h, partitions) == partition {
			holders = append(holders, h)
		}
	}
	return holders
}

// TestFramesFillWhileTheLogIsBusy: as many frames as keep the log busy are under
// way; the others stay open, and leave in the order in which they began.
func TestFramesFillWhileTheLogIsBusy(t *testing.T) {
	t.Parallel()
	const partitions = leastSlots + 2
	s := newSlowLog()
	p := startProducer(s, partitions, MaxFrameBytes, ProducerOptions{Now: testClock})
	p.slots.wait = time.Hour
	f := make(fates, 100)
	send := func(partition, i int) {
		t.Helper()
		d := open("gold", ofPartition(partition, partitions, 1)[0], int64(i+1))
		if err := p.Send(t.Context(), &d, func(_ uint64, err error) { f <- err }); err != nil {
			t.Fatal(err)
		}
	}
	count := func(frame []byte) int {
		events, r := readAll(frame)
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
		return len(events)
	}
	for i := range leastSlots {
		send(i, 0)
		if n := count(<-s.arrived); n != 1 {
			t.Fatalf("a lone event left in a frame of %d", n)
		}
	}
	send(leastSlots, 0)
	p.slots.await(t, 1) // its batcher is in line, its frame still open
	for i := range 4 {
		send(leastSlots, 1+i)
	}
	send(leastSlots+1, 0)
	p.slots.await(t, 2)
	for _, want := range []int{5, 1} {
		s.answer <- nil
		if n := count(<-s.arrived); n != want {
			t.Errorf("a frame of %d events, want %d", n, want)
		}
	}
	for range leastSlots {
		s.answer <- nil
	}
	mustClose(t, p)
	for range leastSlots + 5 + 1 {
		if err := <-f; err != nil {
			t.Fatal(err)
		}
	}
}

func (s *slots) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.line.Len()
}

// await waits until so many are in line.
func (s *slots) await(t *testing.T, n int) {
	t.Helper()
	testwait.Poll(t, fmt.Sprintf("%d are in line", n), func() error {
		if waiting := s.waiting(); waiting != n {
			return fmt.Errorf("%d are", waiting)
		}
		return nil
	})
}

// TestSlotIsNotWaitedForForEver: a log that does not answer keeps no batcher from trying.
func TestSlotIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	s := newSlots(4)
	s.wait = time.Millisecond
	l := &batcher{most: MaxFrameBytes, wake: make(chan struct{}, 1)}
	d := hold.Draft{Token: "gold", Holder: "alice"}
	l.put(&d, sizeEvent(&d), nil, entry{}, nil, func() *openFrame { return new(openFrame) })
	for range leastSlots {
		if !s.take(t.Context(), l) {
			t.Fatal("no slot")
		}
	}
	if s.take(t.Context(), l) {
		t.Error("a slot too many")
	}
	s.wait = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s.take(ctx, l) || s.waiting() != 0 {
		t.Error("a slot for who has left")
	}
	s.give(0)
	if !s.take(ctx, l) {
		t.Error("no slot though one was given back")
	}
}

// TestFullFrameNeedsNoSlot: a frame that is full, or becomes so, has no reason to wait.
func TestFullFrameNeedsNoSlot(t *testing.T) {
	t.Parallel()
	s := newSlots(4)
	s.wait = time.Hour
	l := &batcher{most: MaxFrameBytes, wake: make(chan struct{}, 1)}
	d := hold.Draft{Token: "gold", Holder: "alice"}
	put := func() {
		l.put(&d, sizeEvent(&d), nil, entry{}, nil, func() *openFrame { return new(openFrame) })
		l.rouse()
	}
	put()
	for range leastSlots {
		s.take(t.Context(), l)
	}
	took := make(chan bool)
	go func() { took <- s.take(t.Context(), l) }()
	s.await(t, 1)
	for range MaxFrameEvents {
		put()
	}
	if <-took || s.waiting() != 0 {
		t.Error("it took a slot")
	}
	if s.take(t.Context(), l) {
		t.Error("it took a slot")
	}
}

// TestSlotsFitTheLog simulates logs in which a frame travels for a while and is
// stored for a while, one at a time.
func TestSlotsFitTheLog(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		travel, store   time.Duration
		fewest, highest int
	}{
		{"an fsync at hand", 20 * time.Microsecond, 200 * time.Microsecond, leastSlots, 3},
		{"far away", 20 * time.Millisecond, 20 * time.Microsecond, 16, 16},
		{"near, with an fsync", time.Millisecond, 200 * time.Microsecond, 5, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSlots(16)
			s.line.PushBack(make(chan struct{})) // somebody always waits
			type flight struct{ sent, done time.Duration }
			var inFlight []flight
			var now, free time.Duration
			for range 20_000 {
				for s.taken < s.limit {
					s.taken++
					free = max(free, now+c.travel/2) + c.store
					inFlight = append(inFlight, flight{now, free + c.travel/2})
				}
				f := inFlight[0]
				inFlight = inFlight[1:]
				now = f.done
				s.learn(now - f.sent)
				s.taken--
			}
			if s.limit < c.fewest || s.limit > c.highest {
				t.Errorf("%d slots, want %d to %d", s.limit, c.fewest, c.highest)
			}
		})
	}
}
