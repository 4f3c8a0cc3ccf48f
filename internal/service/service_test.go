package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// Parts stop in reverse, all of them, whatever their stops return.
func TestPartsStopInReverse(t *testing.T) {
	t.Parallel()
	var order []string
	first, third := errors.New("first"), errors.New("third")
	g := New()
	add := func(name string, err error) {
		g.Add(name, Func(func() error { order = append(order, name); return err }))
	}
	add("log", first)
	add("store", nil)
	add("server", third)
	err := g.Stop()
	if !slices.Equal(order, []string{"server", "store", "log"}) {
		t.Error(order)
	}
	if !errors.Is(err, first) || !errors.Is(err, third) || err.Error() != "third\nfirst" {
		t.Error(err)
	}
	if again := g.Stop(); again == nil || again.Error() != err.Error() || len(order) != 3 {
		t.Error(again, order)
	}
}

// The first failure is returned once, before what the stops say of it.
func TestTheFirstFailureCounts(t *testing.T) {
	t.Parallel()
	broke, late := errors.New("a server broke"), errors.New("not everything was flushed")
	for _, seen := range []bool{false, true} {
		g := New()
		g.Add("flush", Func(func() error { return late }))
		g.Fail(nil)
		g.Fail(broke)
		g.Fail(errors.New("what follows"))
		if seen {
			<-g.Failed()
		}
		err := g.Wait(t.Context())
		if err == nil || err.Error() != broke.Error()+"\n"+late.Error() || !errors.Is(err, late) {
			t.Errorf("seen %t: %v", seen, err)
		}
	}
}

// A part that hangs is left behind by name; the others stop.
func TestAPartThatHangsIsLeftBehind(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var ended sync.WaitGroup
	ended.Add(1)
	g := New()
	stopped := false
	g.Add("log", Do(func() { stopped = true }))
	g.AddWithin("the store", 10*time.Millisecond, func(context.Context) error {
		defer ended.Done()
		<-release
		return nil
	})
	g.AddWithin("the server", 10*time.Millisecond, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	})
	err := g.Stop()
	if !errors.Is(err, ErrStopTimeout) || !stopped {
		t.Errorf("%v, the log stopped: %t", err, stopped)
	}
	for _, name := range []string{"the store: did not stop in time: waited 10ms", "the server: did not stop in time"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q is not in %v", name, err)
		}
	}
	close(release)
	ended.Wait()
}

// A loop ends with its context. Its failure, or an early end, is the group's.
func TestGo(t *testing.T) {
	t.Parallel()
	broke := errors.New("it broke")
	for name, c := range map[string]struct {
		run  func(context.Context) error
		want string // empty: it runs until it is stopped, without an error
	}{
		"runs":         {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, ""},
		"breaks":       {func(context.Context) error { return broke }, "it broke"},
		"ends":         {func(context.Context) error { return nil }, "the loop ended by itself"},
		"breaks later": {func(ctx context.Context) error { <-ctx.Done(); return broke }, "it broke"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := New()
			g.Go("the loop", c.run)
			if name == "breaks" || name == "ends" {
				<-g.Failed()
			}
			err := g.Stop()
			if c.want == "" && err != nil || c.want != "" && (err == nil || err.Error() != c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := New()
	stopped := false
	g.Add("log", Do(func() { stopped = true }))
	if err := g.Wait(ctx); err != nil || !stopped {
		t.Errorf("%v, stopped %t", err, stopped)
	}
}
