package testwait

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMain(m *testing.M) { os.Exit(Watch(m).Run()) }

// runs is a Runner that does nothing but what a test gives it.
type runs func() int

func (r runs) Run() int { return r() }

// hanging makes a goroutine look like that of a test that waits for done.
//
//go:noinline
func hanging(t *testing.T, done <-chan struct{}) {
	t.Run("hangs", func(t *testing.T) { waitFor(done) })
}

//go:noinline
func waitFor(done <-chan struct{}) { <-done }

// A test that waits for what never comes ends the run with its name and its place.
func TestAHangIsReported(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	end := sync.OnceFunc(func() { close(done) })
	defer end()
	var out lockedBuilder
	codes := make(chan int, 1)
	w := &watchdog{
		stuck: 100 * time.Millisecond, polling: time.Hour, longest: time.Hour, every: 5 * time.Millisecond, out: &out,
		exit: func(code int) { codes <- code; end() },
		tests: runs(func() int {
			hanging(t, done)
			return 0
		}),
	}
	if code := w.Run(); code != 0 {
		t.Errorf("exit %d", code)
	}
	select {
	case code := <-codes:
		if code != exitCode {
			t.Errorf("exit %d, want %d", code, exitCode)
		}
	default:
		t.Fatal("the watchdog has not ended the process")
	}
	for _, want := range []string{"testwait: testwait.hanging.func1 has waited for ", " in holdmetrics/internal/testwait.waitFor at ", "testwait_test.go:", "all goroutines:"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %.1000s", want, out.String())
		}
	}
}

// stackOf is a goroutine of a test, as a dump shows it.
func stackOf(id, state, inner string) string {
	return "goroutine " + id + " [" + state + "]:\n" + inner +
		"pkg.TestX(0x1)\n\t/src/x_test.go:9 +0x1\ntesting.tRunner(0x1, 0x2)\n\t/go/testing.go:2036 +0x1\ncreated by testing.(*T).Run in goroutine 1\n\t/go/testing.go:2101 +0x1"
}

// polls is a test in a function that polls, at a line of it.
func polls(line int, state string) string {
	sleep := ""
	if state == "sleep" {
		sleep = "time.Sleep(0xf4240)\n\t/go/time.go:1 +0x1\n"
	}
	return stackOf("7", state, sleep+fmt.Sprintf("pkg.poll(0x%d)\n\t/src/poll.go:%d +0x1\n", line, line))
}

func TestLook(t *testing.T) {
	t.Parallel()
	const wait = "pkg.wait(0x7)\n\t/src/wait.go:3 +0x1\n"
	begin := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		dumps  []string // one each half second
		report string
	}{
		"waits": {
			dumps:  []string{stackOf("7", "select", wait), stackOf("7", "select", wait), stackOf("7", "select", wait)},
			report: "pkg.TestX has waited for 1s in pkg.wait at /src/wait.go:3",
		},
		"goes on": {
			dumps: []string{stackOf("7", "select", wait), stackOf("7", "select", strings.ReplaceAll(wait, "0x7", "0x8")), stackOf("7", "select", wait), stackOf("7", "select", wait)},
		},
		"computes": {
			dumps: []string{stackOf("7", "runnable", wait), stackOf("7", "running", wait), stackOf("7", "runnable", wait), stackOf("7", "runnable", wait)},
		},
		"computes for too long": {
			dumps:  []string{stackOf("7", "runnable", wait), stackOf("7", "running", wait), stackOf("7", "runnable", wait), stackOf("7", "runnable", wait), stackOf("7", "runnable", wait), stackOf("7", "runnable", wait), stackOf("7", "runnable", wait)},
			report: "pkg.TestX has run for 3s, and is in pkg.wait at /src/wait.go:3",
		},
		"waits for a subtest": {
			dumps: []string{stackOf("7", "chan receive", "testing.(*T).Run(0x1)\n\t/go/testing.go:1 +0x1\n"), stackOf("7", "chan receive", "testing.(*T).Run(0x1)\n\t/go/testing.go:1 +0x1\n"), stackOf("7", "chan receive", "testing.(*T).Run(0x1)\n\t/go/testing.go:1 +0x1\n")},
		},
		"polls": {
			dumps:  []string{polls(3, "sleep"), polls(3, "sleep"), polls(3, "sleep"), polls(3, "sleep"), polls(4, "runnable"), polls(3, "sleep")},
			report: "pkg.TestX has polled for 2.5s in pkg.poll at /src/poll.go:3",
		},
		"polls for one thing after the other": {
			dumps: []string{polls(3, "sleep"), polls(3, "sleep"), polls(7, "sleep"), polls(7, "sleep"), polls(3, "sleep"), polls(3, "sleep")},
		},
		"has polled, and goes on": {
			dumps: []string{polls(3, "sleep"), polls(3, "sleep"), stackOf("7", "select", wait), stackOf("7", "runnable", wait), polls(3, "sleep"), polls(3, "sleep")},
		},
		"another test by the same number": {
			dumps: []string{stackOf("7", "select", wait), "", stackOf("7", "select", wait), stackOf("7", "select", wait)},
		},
		"no test": {
			dumps: []string{"goroutine 1 [select]:\nmain.main()\n\t/src/main.go:1 +0x1", "goroutine 1 [select]:\nmain.main()\n\t/src/main.go:1 +0x1", "goroutine 1 [select]:\nmain.main()\n\t/src/main.go:1 +0x1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &watchdog{stuck: time.Second, polling: 5 * time.Second / 2, longest: 3 * time.Second}
			seen := map[string]*progress{}
			report := ""
			for i, dump := range c.dumps {
				if report != "" {
					t.Fatalf("reported after %d dumps: %s", i, report)
				}
				report = w.look(seen, dump, begin.Add(time.Duration(i)*time.Second/2))
			}
			if c.report == "" && report != "" || !strings.Contains(report, c.report) {
				t.Errorf("got %q, want %q", report, c.report)
			}
		})
	}
}

// A test that is at one place at each look is stuck only if it has been blocked there
// all the time: one that calls the same thing over and over is slow.
func TestALoopIsNotStuck(t *testing.T) {
	t.Parallel()
	const wait = "rooms.wait(0x7)\n\t/src/wait.go:3 +0x1\n"
	for _, c := range []struct {
		state    string
		reported bool
	}{
		{"select", false},
		{"select, locked to thread", false},
		{"select, 1 minutes", true},
		{"chan receive, 2 minutes, locked to thread", true},
	} {
		w := &watchdog{stuck: time.Minute, longest: time.Hour}
		seen := map[string]*progress{}
		report := ""
		for i := range 3 {
			report = w.look(seen, stackOf("7", c.state, wait), time.Unix(0, 0).Add(time.Duration(i)*45*time.Second))
		}
		if (report != "") != c.reported {
			t.Errorf("%s: %q", c.state, report)
		}
	}
}

// A test that is allowed more time is not ended by the common limits.
func TestAllow(t *testing.T) {
	t.Parallel()
	Allow(t, time.Hour)
	id := goroutineID(ownStack())
	w := &watchdog{stuck: time.Second, polling: time.Second, longest: time.Second}
	seen := map[string]*progress{}
	stack := stackOf(id, "select", "")
	for _, after := range []time.Duration{0, time.Minute} {
		if report := w.look(seen, stack, time.Unix(0, 0).Add(after)); report != "" {
			t.Fatal(report)
		}
	}
	if report := w.look(seen, stack, time.Unix(0, 0).Add(time.Hour)); report == "" {
		t.Error("an hour is over, and nothing is reported")
	}
}

// A test that polls for what never comes ends the run too, though its place changes.
func TestAPollWithoutEndIsReported(t *testing.T) {
	t.Parallel()
	var over atomic.Bool
	var out lockedBuilder
	codes := make(chan int, 1)
	w := &watchdog{
		stuck: time.Hour, polling: 100 * time.Millisecond, longest: time.Hour, every: 5 * time.Millisecond, out: &out,
		exit: func(code int) { codes <- code; over.Store(true) },
		tests: runs(func() int {
			t.Run("polls", func(t *testing.T) { pollUntil(&over) })
			return 0
		}),
	}
	w.Run()
	select {
	case <-codes:
	default:
		t.Fatal("the watchdog has not ended the process")
	}
	for _, want := range []string{"has polled for ", " in holdmetrics/internal/testwait.pollUntil at "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %.1000s", want, out.String())
		}
	}
}

//go:noinline
func pollUntil(over *atomic.Bool) {
	for !over.Load() {
		time.Sleep(time.Millisecond)
	}
}

// The goroutines that a NATS server does not wait for are waited for, but not for long.
func TestAwaitEnds(t *testing.T) {
	t.Parallel()
	running := "goroutine 8 [select]:\ngithub.com/nats-io/nats-server/v2/server.(*stream).internalLoop(0x1)\n\t/src/stream.go:1 +0x1"
	looks := 0
	awaitEnds(func() string {
		if looks++; looks < 3 {
			return running
		}
		return "goroutine 1 [running]:\nmain.main()\n\t/src/main.go:1 +0x1"
	}, time.Hour)
	if looks != 3 {
		t.Errorf("%d looks", looks)
	}
	looks = 0
	awaitEnds(func() string { looks++; return running }, 5*time.Millisecond)
	if looks == 0 {
		t.Error("no look")
	}
}

// recorder is a test that fails without failing this one.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}
func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	panic(r)
}

// Poll ends by itself, and says what it waited for.
func TestPoll(t *testing.T) {
	t.Parallel()
	tries := 0
	Poll(t, "the third try", func() error {
		if tries++; tries < 3 {
			return errors.New("too early")
		}
		return nil
	})
	r := &recorder{}
	func() {
		defer func() {
			if recover() != r {
				t.Error("it did not fail")
			}
		}()
		pollFor(r, 10*time.Millisecond, "the flood recedes", func() error { return errors.New("the water is at 3 m") })
	}()
	if !strings.HasPrefix(r.failure, "waited ") || !strings.HasSuffix(r.failure, " until the flood recedes: the water is at 3 m") {
		t.Errorf("failed with %q", r.failure)
	}
}

// lockedBuilder is a strings.Builder for two goroutines.
type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
