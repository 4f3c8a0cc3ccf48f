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

	"holdmetrics/cmd/holdmetrics/internal/app"
	"holdmetrics/cmd/holdmetrics/internal/settings"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/testwait"
	"holdmetrics/processor/generation"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// started is a server within the test, stopped by what is returned.
func started(t *testing.T, dir string) (*app.Server, func()) {
	t.Helper()
	patiently(t)
	p := app.NewServer(&settings.Settings{
		DataDir: dir, GRPCAddress: "127.0.0.1:0", HTTPAddress: "127.0.0.1:0", NATSAddress: "127.0.0.1:0",
		Limits: hold.DefaultLimits(), GCInterval: time.Minute, StartTimeout: settings.DefaultStartTimeout,
	}, "test", app.Instruments{Log: zap.NewNop()})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(errors.Join(err, p.Stop()))
	}
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		if err := p.Stop(); err != nil && !errors.Is(err, projection.ErrClosed) {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return p, stop
}

// asOperator are the flags of a command that is run for a server which was started on a
// directory.
func asOperator(dir string) []string {
	return []string{"--nats-creds", filepath.Join(dir, "nats-users", "operator.seed")}
}

// awaitReady looks until the server is ready, or is not.
func awaitReady(t *testing.T, p *app.Server, want bool) error {
	t.Helper()
	for began := time.Now(); ; {
		err := p.Ready(t.Context())
		if (err == nil) == want {
			return err
		}
		if time.Since(began) > clusterPatience {
			t.Fatalf("ready: %v", err)
		}
		testwait.Pause(began) // a look has no event to wait for
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
		if at, err = p.Producer.Record(t.Context(), &d); err != nil {
			t.Fatal(err)
		}
	}
	partition := ingest.Partition("h", p.Events.Partitions())
	view := viewOf(t, p)
	if err := view.WaitPosition(t.Context(), partition, at); err != nil {
		t.Fatal(err)
	}
	if got := snapshot(t, view).ScoreExact; got != "20" {
		t.Fatalf("score %s", got)
	}
	err := p.Records.Change(t.Context(), generation.First, func(g *generation.Record) error {
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
	view = viewOf(t, p)
	h, err := active(t, p).Store.Holder(t.Context(), partition, "h")
	if err != nil {
		t.Fatal(err)
	}
	if h.Figures.Settled.Score.String() != "30" {
		t.Fatalf("the store says %v", h.Figures.Settled.Score)
	}
	// The bucket has it; the view gets it as it comes.
	for changed := view.Changed(); snapshot(t, view).ScoreExact != "30"; changed = view.Changed() {
		select {
		case <-changed:
		case <-time.After(clusterPatience):
			t.Fatalf("the snapshot stays at %v", snapshot(t, view))
		}
	}
}

// active is the generation that is read.
func active(t *testing.T, p *app.Server) *generation.Instance {
	t.Helper()
	g, err := p.Generations.Active()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// viewOf is a view of its snapshots.
func viewOf(t *testing.T, p *app.Server) *projection.View {
	t.Helper()
	view, err := active(t, p).Snapshots.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { view.Close() })
	if err := view.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return view
}

func snapshot(t *testing.T, view *projection.View) *holdpb.HoldStat {
	t.Helper()
	value, _ := view.Get("h")
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
	if err := active(t, p).Store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := awaitReady(t, p, false); !errors.Is(err, projection.ErrClosed) {
		t.Errorf("ready: %v", err)
	}
	stop()
	if err := p.Ready(context.Background()); err == nil {
		t.Error("ready after the stop")
	}
}
