package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"holdmetrics/audit/immutest"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/natstest"
	"holdmetrics/internal/testwait"
)

// output is what a command prints. A test can wait until it says something.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	grew chan struct{}
}

func newOutput() *output { return &output{grew: make(chan struct{}, 1)} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.grew <- struct{}{}:
	default:
	}
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// follower is a follower that runs within a test.
type follower struct {
	t    *testing.T
	out  *output
	stop context.CancelFunc
	code chan int
}

// follow starts a follower that the test ends.
func (c *cluster) follow(args ...string) *follower {
	ctx, cancel := context.WithCancel(c.t.Context())
	f := &follower{c.t, newOutput(), cancel, make(chan int, 1)}
	args = append([]string{"follow", "--states", "3"}, args...)
	env := map[string]string{}
	for _, name := range []string{"NATS_URL", "IMMUDB_URL", "IMMUDB_USER", "IMMUDB_PASSWORD", "AUDIT_STATE"} {
		env[name] = c.getenv(name)
	}
	go func() { f.code <- run(ctx, args, func(name string) string { return env[name] }, f.out, f.out) }()
	c.t.Cleanup(cancel)
	return f
}

// says waits until the follower has said something.
func (f *follower) says(text string) {
	f.t.Helper()
	late := time.After(testwait.PollLimit)
	for !strings.Contains(f.out.String(), text) {
		select {
		case <-f.out.grew:
		case code := <-f.code:
			f.code <- code
			if strings.Contains(f.out.String(), text) {
				return
			}
			f.t.Fatalf("it ended with %d without %q:\n%s", code, text, f.out)
		case <-late:
			f.t.Fatalf("it does not say %q:\n%s", text, f.out)
		}
	}
}

// ends waits until the follower has ended.
func (f *follower) ends(want int) {
	f.t.Helper()
	select {
	case code := <-f.code:
		f.code <- code
		if code != want {
			f.t.Errorf("it ended with %d, want %d:\n%s", code, want, f.out)
		}
	case <-time.After(testwait.PollLimit):
		f.t.Fatalf("it does not end:\n%s", f.out)
	}
}

// copied waits until verify finds no difference in so many messages.
func (c *cluster) copied(messages int, args ...string) {
	c.t.Helper()
	testwait.Poll(c.t, fmt.Sprintf("%d messages are copied", messages), func() error {
		if out := c.run(append([]string{"verify"}, args...)...); !strings.Contains(out, fmt.Sprintf("; %d messages with", messages)) {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

func TestAnImmudbThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(5)
	c.run("follow", "--once")
	c.immudb.Stop()
	c.send(5)
	f := c.follow("--once")
	f.says("immudb is away; waiting")
	c.immudb = immutest.StartAt(t, c.immuDir, c.immudb.Address)
	f.ends(0)
	if out := c.run("verify", "--no-scores"); !strings.Contains(out, "10 messages") {
		t.Error(out)
	}
	// And while it runs.
	f = c.follow()
	f.says("Ctrl-C")
	c.immudb.Stop()
	c.send(5)
	f.says("immudb is away; waiting")
	c.immudb = immutest.StartAt(t, c.immuDir, c.immudb.Address)
	f.says("immudb answers again")
	c.copied(15, "--no-scores")
	f.stop()
	f.ends(0)
}

// stopNATS stops the server, and returns what starts it at the same address.
func (c *cluster) stopNATS() (start func()) {
	c.t.Helper()
	dir, address := c.nats.StoreDir(), c.nats.Addr().(*net.TCPAddr)
	c.nats.Shutdown()
	c.nats.WaitForShutdown()
	return func() {
		c.t.Helper()
		c.startNATS(strings.TrimSuffix(dir, "/jetstream"), func(o *server.Options) { o.Host, o.Port = address.IP.String(), address.Port })
	}
}

func TestALogThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(5)
	start := c.stopNATS()
	f := c.follow()
	f.says("NATS is away; waiting")
	if out, err := c.try("follow", "--once"); err == nil || !strings.Contains(out, "name the servers with --nats-url") {
		t.Errorf("once: %s", out)
	}
	start()
	f.says("Ctrl-C")
	c.copied(5, "--no-scores")
	start = c.stopNATS()
	f.says("the log does not answer; waiting")
	start()
	c.send(5)
	f.says("the log answers again")
	c.copied(10, "--no-scores")
	f.stop()
	f.ends(0)
}

// TestAFollowerIsStoppedWhileItWaits wants no error then.
func TestAFollowerIsStoppedWhileItWaits(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(1)
	c.immudb.Stop()
	f := c.follow()
	f.says("immudb is away; waiting")
	f.stop()
	f.ends(0)
	c.stopNATS()
	f = c.follow()
	f.says("NATS is away; waiting")
	f.stop()
	f.ends(0)
}

// TestALogThatIsMadeAgainUnderAFollower ends it, also if the new one is longer.
func TestALogThatIsMadeAgainUnderAFollower(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(3)
	start := func() *follower {
		f := c.follow()
		f.says("Ctrl-C")
		c.copied(3, "--no-scores")
		return f
	}
	f := start()
	if err := c.js.DeleteStream(t.Context(), ingest.StreamName); err != nil {
		t.Fatal(err)
	}
	f.ends(1)
	f.says("the log was deleted, or made again")

	// Another server takes the place of the first, with more messages.
	c = newCluster(t)
	c.send(3)
	f = start()
	port := c.nats.Addr().(*net.TCPAddr).Port
	c.stopNATS()
	dir := natstest.Dir(t)
	c.startNATS(dir)
	c.send(9)
	c.stopNATS()
	c.startNATS(dir, func(o *server.Options) { o.Port = port })
	f.ends(1)
	f.says("the log was deleted, or made again")
	if out, err := c.try("verify", "--no-scores"); err == nil || !strings.Contains(out, "is of another log") {
		t.Error(out)
	}
}

// TestLimitsChangeUnderAFollower changes what is refused while a follower runs.
func TestLimitsChangeUnderAFollower(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.send(3)
	f := c.follow()
	f.says("Ctrl-C")
	c.copied(3, "--no-scores")
	limits := hold.DefaultLimits()
	limits.MaxFutureEnd = int64(time.Minute)
	if err := c.log.SetLimits(t.Context(), limits); err != nil {
		t.Fatal(err)
	}
	var w ingest.FrameWriter
	now := time.Now().Unix()
	w.AppendDraft(&hold.Draft{Token: "T", Holder: "holder-1", Start: hold.Stamp{Set: true, Seconds: now}, End: hold.Stamp{Set: true, Seconds: now + 200}})
	if _, err := c.js.Publish(t.Context(), ingest.LogSubject(ingest.Partition("holder-1", 4)), w.Bytes()); err != nil {
		t.Fatal(err)
	}
	c.copied(4, "--no-scores")
	f.stop()
	f.ends(0)
	if value, err := c.value("holdmetrics:event:00000000000000000004:000000"); err != nil || !strings.Contains(value, `"refused":true`) {
		t.Errorf("the event is not refused: %s, %v", value, err)
	}
}

// value reads a key of the copy.
func (c *cluster) value(key string) (string, error) {
	cfg := c.immudb.Config(c.t)
	cfg.First = true
	value, err := immutest.Open(c.t, cfg).Get(c.t.Context(), []byte(key))
	return string(value), err
}

// TestAnEmptyLog has nothing to copy and nothing to compare, and that is no error.
func TestAnEmptyLog(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	if out, err := c.try("verify", "--no-scores"); err == nil || !strings.Contains(out, "has no copy of a log: run 'holdmetrics-audit follow' first") {
		t.Errorf("before the copy: %s", out)
	}
	c.run("follow", "--once")
	c.run("follow", "--once")
	if out := c.run("verify", "--no-scores"); !strings.Contains(out, "0 messages with 0 events") {
		t.Error(out)
	}
	c.send(2)
	c.run("follow", "--once")
	c.copied(2, "--no-scores")
}
