package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"holdmetrics/ingest"
	"holdmetrics/processor/hold"
	"holdmetrics/projection"
	"holdmetrics/projection/generation"
	holdpb "holdmetrics/proto"
)

// started is a server within the test, stopped by what is returned.
func started(t *testing.T, dir string) (*plant, func()) {
	t.Helper()
	p, err := startPlant(t.Context(), &settings{
		dataDir: dir, grpcAddress: "127.0.0.1:0", httpAddress: "127.0.0.1:0", natsAddress: "127.0.0.1:0",
		limits: hold.DefaultLimits(), gcInterval: time.Minute,
	}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		if err := p.stop(); err != nil && !errors.Is(err, projection.ErrClosed) {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return p, stop
}

// awaitReady looks until the server is ready, or is not.
func awaitReady(t *testing.T, p *plant, want bool) error {
	t.Helper()
	for began := time.Now(); ; {
		err := p.ready(t.Context())
		if (err == nil) == want {
			return err
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("ready: %v", err)
		}
		time.Sleep(time.Millisecond) // a look has no event to wait for
	}
}

// A store that is made again says the same as the snapshots, from the moment
// that the server is ready, though nobody sends an event. That the former store
// said something else is made true by changing the policy under it.
func TestSnapshotsFollowAStoreThatIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p, stop := started(t, dir)
	var at uint64
	for _, end := range []int64{110, 120} {
		d := hold.Draft{Token: "T", Holder: "h", Start: hold.StampOf(100e9), End: hold.StampOf(end * 1e9)}
		var err error
		if at, err = p.producer.Record(t.Context(), &d); err != nil {
			t.Fatal(err)
		}
	}
	partition := ingest.Partition("h", p.events.Partitions())
	if err := p.view.WaitPosition(t.Context(), partition, at); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, p).ScoreExact; got != "20" {
		t.Fatalf("score %s", got)
	}
	err := p.records.Change(t.Context(), generation.First, func(g *generation.Record) error {
		g.Policy = "sum"
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()

	if err := os.RemoveAll(filepath.Join(dir, "store")); err != nil {
		t.Fatal(err)
	}
	p, _ = started(t, dir)
	awaitReady(t, p, true)
	h, err := p.opened.Store.Holder(t.Context(), partition, "h")
	if err != nil {
		t.Fatal(err)
	}
	if h.Figures.Settled.Score.String() != "30" {
		t.Fatalf("the store says %v", h.Figures.Settled.Score)
	}
	// The bucket has it; the view gets it as it comes.
	for changed := p.view.Changed(); snapshot(t, p).ScoreExact != "30"; changed = p.view.Changed() {
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("the snapshot stays at %v", snapshot(t, p))
		}
	}
}

func snapshot(t *testing.T, p *plant) *holdpb.HoldStat {
	t.Helper()
	value, _ := p.view.Get("h")
	s := &holdpb.HoldStat{}
	if err := proto.Unmarshal(value, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// A server whose store is gone is not ready.
func TestNotReadyWithoutTheStore(t *testing.T) {
	t.Parallel()
	p, stop := started(t, t.TempDir())
	awaitReady(t, p, true)
	if err := p.opened.Store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := awaitReady(t, p, false); !errors.Is(err, projection.ErrClosed) {
		t.Errorf("ready: %v", err)
	}
	stop()
	if err := p.ready(context.Background()); err == nil {
		t.Error("ready after the stop")
	}
}
