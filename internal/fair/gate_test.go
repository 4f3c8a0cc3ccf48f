package fair_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"holdmetrics/internal/fair"
	"holdmetrics/internal/testwait"
)

// line has turns wait at a gate, one after the other, and records the order in which they
// get places. Each leaves when it is let go.
type line struct {
	t    *testing.T
	gate *fair.Gate
	in   chan string
	turn map[string]*fair.Turn
	wait sync.WaitGroup
}

func newLine(t *testing.T, cfg fair.Config) *line {
	l := &line{t: t, gate: fair.New(cfg), in: make(chan string, 100), turn: map[string]*fair.Turn{}}
	t.Cleanup(l.wait.Wait)
	return l
}

// enter has the turn of a client wait, and returns when it does or has got a place.
func (l *line) enter(name, client string) {
	l.t.Helper()
	turn := l.gate.Turn(client)
	l.turn[name] = turn
	before := l.gate.Waiting()
	var entered atomic.Bool
	l.wait.Go(func() {
		if err := turn.Enter(context.Background()); err != nil {
			l.t.Errorf("%s: %v", name, err)
		}
		entered.Store(true)
		l.in <- name
	})
	testwait.Poll(l.t, name+" waits", func() error {
		if l.gate.Waiting() == before && !entered.Load() {
			return errors.New("not yet")
		}
		return nil
	})
}

func (l *line) next() string {
	l.t.Helper()
	return <-l.in
}

// Clients take turns, however many requests each has.
func TestClientsTakeTurns(t *testing.T) {
	t.Parallel()
	l := newLine(t, fair.Config{Places: 1})
	for _, name := range []string{"a1", "a2", "a3", "a4", "b1", "c1", "b2"} {
		l.enter(name, name[:1])
	}
	var got []string
	for range 7 {
		name := l.next()
		got = append(got, name)
		l.turn[name].Leave()
	}
	if want := []string{"a1", "a2", "b1", "c1", "a3", "b2", "a4"}; !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
}

// A client has no more places than each may have, though some are free.
func TestEach(t *testing.T) {
	t.Parallel()
	l := newLine(t, fair.Config{Places: 3, Each: 2})
	for _, name := range []string{"a1", "a2"} {
		l.enter(name, "a")
		l.next()
	}
	l.enter("a3", "a")
	l.enter("b1", "b")
	if got := l.next(); got != "b1" {
		t.Errorf("%s got the last place", got)
	}
	l.turn["b1"].Leave()
	select {
	case name := <-l.in:
		t.Errorf("%s got a third place", name)
	default:
	}
	l.turn["a1"].Leave()
	if got := l.next(); got != "a3" {
		t.Errorf("%s came in", got)
	}
	l.turn["a2"].Leave()
	l.turn["a3"].Leave()
}

// A turn that pauses for long loses its place if another one wants it, and gets another
// one when it goes on. Short pauses, however many, lose nothing.
func TestPause(t *testing.T) {
	t.Parallel()
	l := newLine(t, fair.Config{Places: 1})
	l.enter("a", "a")
	l.next()
	a := l.turn["a"]
	a.Pause()
	if err := a.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.enter("b", "b")
	a.Pause() // b gets it
	l.next()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Resume(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("resumed: %v", err)
	}
	a.Leave() // has none
	l.enter("c", "c")
	l.turn["b"].Pause()
	if got := l.next(); got != "c" {
		t.Errorf("%s came in", got)
	}
	l.turn["b"].Leave()
	l.turn["c"].Leave()
	if n := l.gate.Held(); n != 0 {
		t.Errorf("%d places are held", n)
	}
}

// A request that must not wait, or has waited long enough, is refused; one that is given up leaves nothing.
func TestFull(t *testing.T) {
	t.Parallel()
	l := newLine(t, fair.Config{Places: 1, Waiting: 3, WaitingEach: 2, Patience: time.Hour})
	l.enter("a1", "a")
	l.next()
	l.enter("a2", "a")
	l.enter("a3", "a")
	if err := l.gate.Turn("a").Enter(t.Context()); !errors.Is(err, fair.ErrFull) {
		t.Errorf("a fourth of a: %v", err)
	}
	l.enter("b1", "b")
	if err := l.gate.Turn("c").Enter(t.Context()); !errors.Is(err, fair.ErrFull) {
		t.Errorf("a fourth that waits: %v", err)
	}
	l.turn["a1"].Leave()
	for range 3 {
		l.turn[l.next()].Leave()
	}
	short := fair.New(fair.Config{Places: 1, Patience: time.Millisecond})
	held := short.Turn("a")
	if err := held.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := short.Turn("b").Enter(t.Context()); !errors.Is(err, fair.ErrFull) || short.Waiting() != 0 {
		t.Errorf("after the patience: %v, %d wait", err, short.Waiting())
	}
	gone, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the client went")
	time.AfterFunc(0, func() { cancel(why) })
	forever := fair.New(fair.Config{Places: 1})
	if err := forever.Turn("a").Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := forever.Turn("b").Enter(gone); !errors.Is(err, why) || forever.Waiting() != 0 {
		t.Errorf("after the client went: %v, %d wait", err, forever.Waiting())
	}
}

// Whatever turns do, there are never more at once than places, and in the end none.
func TestTurnsAtOnce(t *testing.T) {
	t.Parallel()
	const places = 3
	g := fair.New(fair.Config{Places: places, Each: 2})
	var at, most atomic.Int64
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			turn := g.Turn(fmt.Sprint(i % 5))
			for range 200 {
				if err := turn.Enter(t.Context()); err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					n := at.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					at.Add(-1)
					turn.Pause()
					if err := turn.Resume(t.Context()); err != nil {
						t.Error(err)
					}
					if err := turn.Yield(t.Context()); err != nil {
						t.Error(err)
					}
				}
				turn.Leave()
			}
		})
	}
	all.Wait()
	if most.Load() > places || g.Held() != 0 || g.Waiting() != 0 {
		t.Errorf("%d at once, in the end %d with a place and %d that wait", most.Load(), g.Held(), g.Waiting())
	}
}
