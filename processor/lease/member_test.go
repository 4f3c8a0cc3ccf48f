package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }

// patience is how long a test waits for what must come; only a failure takes it.
const patience = time.Minute

// connect connects to a server by way of a broker with faults.
func connect(t *testing.T, s *server.Server) jetstream.JetStream {
	t.Helper()
	return natstest.JetStream(t, natstest.Mild(t, s))
}

func join(t *testing.T, js jetstream.JetStream, cfg Config) *Member {
	t.Helper()
	if cfg.Generation == "" {
		cfg.Generation = "1"
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	m, err := Join(ctx, js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = m.Close(ctx)
	})
	return m
}

// until waits for something that a view shows.
func until(t *testing.T, v *View, what string, ok func() bool) {
	t.Helper()
	over := time.After(patience)
	for {
		changed := v.Changed()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-over:
			t.Fatalf("never came: %s", what)
		}
	}
}

func claim(t *testing.T, m *Member, partition int) *Lease {
	t.Helper()
	l, err := m.Claim(t.Context(), partition)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestClaimAndHandOver(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	a := join(t, connect(t, s), Config{Worker: "a", Lease: time.Minute})
	b := join(t, connect(t, s), Config{Worker: "b", Lease: time.Minute})
	until(t, a.View(), "b is known to a", func() bool { return len(a.View().Workers()) == 2 })

	first := claim(t, a, 3)
	if _, err := b.Claim(t.Context(), 3); !errors.Is(err, ErrTaken) {
		t.Fatalf("claimed twice: %v", err)
	}
	if err := first.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, b.View(), "a owns", func() bool { return b.View().Owners()[3].Worker == "a" })
	if len(a.Target(4)) != 2 || len(b.Target(4)) != 2 || !a.Target(4)[3] {
		t.Fatalf("targets %v and %v", a.Target(4), b.Target(4))
	}

	if err := a.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, b.View(), "b is to have all", func() bool { return len(b.Target(4)) == 4 })
	if len(a.Target(4)) != 0 || first.Err() != nil {
		t.Fatalf("target %v, %v", a.Target(4), first.Err())
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, b.View(), "it is free", func() bool { _, owned := b.View().Owners()[3]; return !owned })
	second := claim(t, b, 3)
	if second.Revision() <= first.Revision() || !errors.Is(first.Err(), ErrLost) || !errors.Is(first.Confirm(t.Context()), ErrLost) {
		t.Fatalf("revisions %d and %d, first %v", first.Revision(), second.Revision(), first.Err())
	}
	if err := first.Release(t.Context()); err != nil || second.Confirm(t.Context()) != nil {
		t.Fatalf("a second release: %v, %v", err, second.Err())
	}
}

// A renewal that nobody waited for any more stands all the same, and must not
// keep the partition from being released.
func TestReleaseAfterRenewalUnknown(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	js := connect(t, s)
	m := join(t, js, Config{Worker: "a", Lease: time.Minute})
	l := claim(t, m, 0)
	at := l.Last()
	if _, err := put(t.Context(), js, Bucket("1"), partitionKey(0), m.claim, &at, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := l.Confirm(t.Context()); err != nil {
		t.Fatalf("after a renewal whose answer was lost: %v", err)
	}
	at = l.Last()
	if _, err := put(t.Context(), js, Bucket("1"), partitionKey(0), m.claim, &at, time.Minute); err != nil {
		t.Fatal(err)
	}
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, m.View(), "it is free", func() bool { _, owned := m.View().Owners()[0]; return !owned })
}

// A worker that dies is not heard any more, and its partition is free when its
// lease has run out, which every other sees without asking.
func TestRunsOut(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	js := connect(t, s)
	a := join(t, js, Config{Worker: "a", Lease: time.Second})
	b := join(t, connect(t, s), Config{Worker: "b", Lease: time.Second})
	l := claim(t, a, 0)
	until(t, b.View(), "a owns", func() bool { return b.View().Owners()[0].Worker == "a" })
	js.Conn().Close()
	until(t, b.View(), "a is gone", func() bool {
		_, owned := b.View().Owners()[0]
		return !owned && len(b.View().Workers()) == 1 && len(b.Target(1)) == 1
	})
	<-l.Lost() // by its own clock
	if !errors.Is(l.Err(), ErrLost) {
		t.Fatal(l.Err())
	}
	if later := claim(t, b, 0); later.Revision() <= l.Revision() {
		t.Fatalf("revisions %d and %d", l.Revision(), later.Revision())
	}
}

// A worker that slept and whose clock stood still with it, learns that its lease
// is gone when it asks, and when it sees who has it now.
func TestSleeper(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	began := time.Now()
	asleep, wake := make(chan struct{}), make(chan struct{})
	defer close(wake)
	naps := 0
	a := join(t, connect(t, s), Config{
		Worker: "a", Lease: time.Second,
		Now: func() time.Time { return began },
		Report: func() json.RawMessage {
			if naps++; naps == 2 {
				close(asleep)
				<-wake
			}
			return nil
		},
	})
	l := claim(t, a, 0)
	<-asleep
	b := join(t, connect(t, s), Config{Worker: "b", Lease: time.Minute})
	until(t, b.View(), "it is free", func() bool { _, owned := b.View().Owners()[0]; return !owned })
	l2 := claim(t, b, 0)
	if err := l.Confirm(t.Context()); !errors.Is(err, ErrLost) {
		t.Fatal(err)
	}
	<-l.Lost()
	if err := l2.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestReportsAndView(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	js := connect(t, s)
	v := Watch(js, "1", nil)
	defer v.Close()
	m := join(t, js, Config{Worker: "a", Lease: time.Minute, Version: "9", Report: func() json.RawMessage { return json.RawMessage(`{"x":1}`) }})
	until(t, v, "the worker", func() bool { return len(v.Workers()) == 1 })
	if w := v.Workers()[0]; w.ID != "a" || w.Version != "9" || string(w.Report) != `{"x":1}` || w.Heard.IsZero() {
		t.Fatalf("%+v", w)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, v, "nobody", func() bool { return len(v.Workers()) == 0 })
}

// The bucket may be deleted under everybody; it is made again.
func TestBucketIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	js := connect(t, s)
	m := join(t, js, Config{Worker: "a", Lease: time.Second})
	l := claim(t, m, 0)
	if err := js.DeleteKeyValue(t.Context(), Bucket("1")); err != nil {
		t.Fatal(err)
	}
	<-l.Lost()
	if err := l.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := Watch(connect(t, s), "1", nil)
	defer again.Close()
	until(t, again, "the worker is known again", func() bool { return len(again.Workers()) == 1 })
	claim(t, m, 0)
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Worker: "a.b"}, {Worker: "a", Lease: 1500 * time.Millisecond}, {Worker: "a", Lease: time.Millisecond}} {
		if err := c.setDefaults(); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Whatever a broker counts as pending, a view of a quiet bucket is complete, and shows
// every worker.
func TestViewOfABrokerThatMiscounts(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]faultynats.Faults{
		"too many": {Seed: 1, PendingHigh: 1},
		"none":     {Seed: 1, PendingLow: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t)
			js := connect(t, s)
			kv, err := openBucket(t.Context(), js, "1", 1)
			if err != nil {
				t.Fatal(err)
			}
			const workers = 20 // of which none writes any more
			for i := range workers {
				if _, err := kv.PutString(t.Context(), workerKey(fmt.Sprint("w", i)), `{"id":"x"}`); err != nil {
					t.Fatal(err)
				}
			}
			broker, err := faultynats.Start(s, faults)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = broker.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), patience/2)
			defer cancel()
			got, err := Workers(ctx, natstest.JetStream(t, broker), "1")
			if err != nil || len(got) != workers {
				t.Fatalf("%d workers of %d, %v", len(got), workers, err)
			}
		})
	}
}

// A view that cannot be read says so within its caller's time, with the reason.
func TestWorkersOfABrokerThatIsSilent(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t)
	direct := connect(t, s)
	testwait.Poll(t, "the bucket is made", func() error { // a busy machine takes longer than a request may
		_, err := openBucket(t.Context(), direct, "1", 1)
		return err
	})
	broker, err := faultynats.Start(s, faultynats.Faults{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	js := natstest.JetStream(t, broker)
	broker.Stall()
	defer broker.Resume()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Workers(ctx, js, "1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
