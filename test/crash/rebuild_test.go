package crash

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"

	"holdmetrics/internal/natstest"
	"holdmetrics/processor/generation"
	holdpb "holdmetrics/proto"
	"holdmetrics/test/build"
)

// rebuildEvents is how much is rebuilt, and rebuildRate how many a second, so that
// there mostly is time to kill it.
const (
	rebuildEvents = 40_000
	rebuildRate   = 10_000
)

// TestRebuildSurvives kills a rebuild three times, the server that does it and the
// command that waits for it, and compares what comes of it with what is read.
func TestRebuildSurvives(t *testing.T) {
	t.Parallel()
	at := ports(t, 3)
	dir := t.TempDir()
	p := run(t, "serve", binary, "serve", "--data-dir", dir,
		"--grpc-address", at[0], "--http-address", at[1], "--nats-address", at[2])
	awaitUp(t, p)
	file := filepath.Join(t.TempDir(), "events.ndjson")
	var text strings.Builder
	for i := range rebuildEvents {
		fmt.Fprintf(&text, "{\"token_id\":\"T%d\",\"holder_id\":\"h%d\",\"start\":%d,\"end\":%d}\n", i%7, i%1999, 1000+i%5000, 1010+i%6007+i%5000)
	}
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := command(t.Context(), "import", "events", file, "--server", at[0]).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	url := "nats://" + at[2]
	imported := appliedEvents(t, dial(t, at[0]))
	for n, kills := 1, 0; kills < 3; n++ {
		if n > 10 {
			t.Fatalf("nine of %d rebuilds were over before they could be killed", n-1)
		}
		name := fmt.Sprint("again-", n)
		waiting := command(t.Context(), "rebuild", "--nats-url", url, "--name", name, "--max-rate", fmt.Sprint(rebuildRate))
		if err := waiting.Start(); err != nil {
			t.Fatal(err)
		}
		before := uint64(0)
		for kills < 3 {
			events := awaitProgress(t, url, dir, name, before)
			if events >= rebuildEvents {
				break // on a slow machine; another one is begun
			}
			t.Logf("%s: killed at %d of %d events", name, events, rebuildEvents)
			p.kill()
			_ = waiting.Process.Kill()
			kills++
			awaitUp(t, p)
			before = events
		}
		_ = waiting.Wait()
		out, err := command(t.Context(), "rebuild", "--nats-url", url, "--resume", name, "--verify").CombinedOutput()
		if err != nil || !strings.Contains(string(out), fmt.Sprintf("generation %s is built: %d events, 0 rejected", name, imported)) ||
			!strings.Contains(string(out), "1999 holders compared, 0 differ") {
			t.Errorf("%v: %s", err, out)
		}
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
}

// appliedEvents returns how many events the log has: those of the import, and the ones
// that it sent twice since a busy server was slow to acknowledge them.
func appliedEvents(t *testing.T, conn *grpc.ClientConn) (events uint64) {
	t.Helper()
	settle(t, conn)
	status, err := holdpb.NewHoldMetricsQueryClient(conn).Status(t.Context(), &holdpb.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range status.Partitions {
		events += p.Events
	}
	if events < rebuildEvents {
		t.Fatalf("%d events are applied, %d were imported", events, rebuildEvents)
	}
	return events
}

// command is a command line of the binary under test.
func command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = build.Environment()
	return c
}

// awaitUp waits until a process is up.
func awaitUp(t *testing.T, p *process) {
	t.Helper()
	select {
	case <-p.up:
	case err := <-p.ended:
		p.ended <- err
		t.Fatalf("%s ended by itself: %v", p.name, err)
	case <-time.After(patience):
		t.Fatalf("%s does not come up", p.name)
	}
}

// awaitProgress waits, as the operator of a data directory, until more events of a rebuild are stored than before, and
// says how many are.
func awaitProgress(t *testing.T, url, dir, name string, before uint64) (events uint64) {
	t.Helper()
	conn, err := nats.Connect(url, natstest.Operator(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	registry, err := generation.Find(ctx, js)
	if err != nil {
		t.Fatal(err)
	}
	changed := registry.WatchAll(ctx)
	defer func() {
		cancel()
		for range changed {
		}
	}()
	for range changed {
		all, err := registry.Progress(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		events = 0
		stored := false
		for _, w := range all {
			for _, p := range w.Partitions {
				events += p.Events
				stored = stored || p.Position > 0
			}
		}
		if stored && events > before {
			return events
		}
	}
	t.Fatal("the rebuild does not get on")
	return 0
}
