package processor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/ingest"
	"holdmetrics/internal/faultynats"
	"holdmetrics/internal/natstest"
)

// lyingBroker is a server, and what lies between it and those who connect to it.
func lyingBroker(t *testing.T, faults faultynats.Faults) (*faultynats.Broker, func() (string, []nats.Option)) {
	t.Helper()
	b := natstest.Before(t, natstest.Start(t), faults)
	return b, func() (string, []nats.Option) {
		return "", []nats.Option{nats.InProcessServer(b), nats.MaxReconnects(-1), nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectJitter(0, 0)}
	}
}

// A broker that counts messages which are not there keeps a quiet partition neither
// from flushing, publishing and sealing nor from saying that it is up with the log.
func TestCountsThatLieDelayNothing(t *testing.T) {
	t.Parallel()
	_, options := lyingBroker(t, faultynats.Faults{Seed: 1, PendingHigh: 1, Only: ingest.StreamName})
	f := openFleet(t, 1, 1, options)
	w, err := newWorker(Config{Log: f.log, Store: f.store, FlushInterval: 20 * time.Millisecond}, jetStreamLog{f.log, 50 * time.Millisecond, nil}, f.bucket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(stop)
	f.send(20)
	f.applied()
	eventually(t, "nothing is pending", func() error {
		if s := w.Status()[0]; s.Pending != 0 || s.Checkpoint != s.Position {
			return fmt.Errorf("%d messages are pending, checkpoint %d of %d", s.Pending, s.Checkpoint, s.Position)
		}
		return nil
	})
	horizon := time.Now().Add(-time.Minute).UnixNano()
	if err := f.log.Seal(t.Context(), horizon, time.Now().UnixNano()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pairs are sealed", func() error {
		if c, _, err := f.store.Checkpoint(t.Context(), 0); err != nil || c.Swept != horizon {
			return fmt.Errorf("checkpoint %+v, %w", c, err)
		}
		return nil
	})
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

// Two workers that share partitions, and a third that comes, over a broker that lies:
// everything that was acknowledged counts once, no snapshot steps back, and nothing
// hangs.
func TestWorkersOverALyingBroker(t *testing.T) {
	t.Parallel()
	hard := func(seed uint64) faultynats.Faults {
		f := faultynats.Hard(seed)
		f.LostReplies, f.LostAcks = 0.003, 0.003
		return f
	}
	silent := func(seed uint64) faultynats.Faults {
		f := faultynats.Mild(seed)
		f.Silent, f.Mute, f.Most = 0.003, 0.003, 2
		return f
	}
	for name, faults := range map[string]func(uint64) faultynats.Faults{"mild": faultynats.Mild, "hard": hard, "silent": silent} {
		for seed := range seeds(t, 9) {
			if name == "silent" && seed%4 > 0 && !allSeeds {
				continue // it takes a quarter of a minute until silence is noticed
			}
			t.Run(fmt.Sprint(name, "/", seed), func(t *testing.T) {
				t.Parallel()
				broker, options := lyingBroker(t, faultynats.Faults{})
				f := openFleet(t, 4, 1, options)
				f.lossy = true
				defer f.forward()()
				broker.Set(faults(seed))
				quick := func(c *Config) { c.Ownership.Lease.Lease = 5 * time.Second }
				a := f.start("a", quick)
				f.send(30)
				b := f.start("b", quick)
				f.send(30)
				f.owned(map[string]int{"a": 2, "b": 2})
				f.send(30)
				f.applied()
				f.finish(a)
				f.send(30)
				f.owned(map[string]int{"b": 4})
				f.applied()
				f.finish(b)
				broker.Set(faultynats.Faults{})
				f.compare()
			})
		}
	}
}

// A worker whose connection stands still, without closing, stops within its time.
func TestStopsWhileTheConnectionStandsStill(t *testing.T) {
	t.Parallel()
	broker, options := lyingBroker(t, faultynats.Faults{})
	f := openFleet(t, 4, 1, options)
	a := f.start("a", func(c *Config) { c.StopTimeout = 100 * time.Millisecond })
	f.owned(map[string]int{"a": 4})
	f.send(30)
	f.applied()
	broker.Stall()
	defer broker.Resume() // before the fleet closes what it has
	began := time.Now()
	a.stop()
	if err := <-a.ended; err != nil && !errors.Is(err, ErrNotFlushed) {
		t.Error(err)
	}
	// The lease is released, the others are notified and the member ends, a second each.
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
}
