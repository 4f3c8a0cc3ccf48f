// Package testwait makes a test that hangs fail within a minute and name what it
// waits for, long before the time limit of its package.
//
// A package opts in with one line:
//
//	func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }
//
// or, beside the leak check:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(testwait.Watch(m)) }
//
// The watchdog looks at the goroutine of every running test once a second. A test
// that waits at one place for [Stuck], sleeps again and again at one place for
// [Polling], or runs for [Longest], ends the process: a goroutine that waits for ever
// cannot be ended by itself. A test that waits for its subtests, or for its turn in
// parallel, is not counted. Nor is one that waits at the same place again and again, as
// a loop does that a busy machine slows down: the runtime knows since when a goroutine
// has been blocked. A test that polls uses [Poll], which fails by itself.
package testwait

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// Stuck is how long a test may be blocked at one place: the same call, with the
	// same arguments, all the way down its stack.
	Stuck = time.Minute
	// Polling is how long a test may sleep at one place, again and again, whatever it
	// does between: the same lines, all the way down its stack.
	Polling = 2 * time.Minute
	// Longest is how long a test may run, however much it moves: a little less than
	// the limit of its package, which would not name it. [Allow] raises it.
	Longest = 8 * time.Minute

	lookEvery = time.Second
	exitCode  = 3
)

// Runner runs the tests of a package, as [testing.M] does.
type Runner interface{ Run() int }

// Watch returns a Runner that runs the tests of m under the watchdog.
func Watch(m Runner) Runner {
	return &watchdog{tests: m, stuck: Stuck, polling: Polling, longest: Longest, every: lookEvery, out: os.Stderr, exit: os.Exit}
}

// allowed are the tests that may take longer, by name, with the time they may take.
var allowed sync.Map

// Allow lets a test, without its subtests, take d in all and at one place. It is for
// tests of the whole system that are long by design.
func Allow(t testing.TB, d time.Duration) {
	t.Helper()
	name := goroutineID(ownStack())
	allowed.Store(name, d)
	t.Cleanup(func() { allowed.Delete(name) })
}

type watchdog struct {
	tests                   Runner
	stuck, polling, longest time.Duration
	every                   time.Duration
	out                     io.Writer
	exit                    func(int)
}

// Run runs the tests and returns their exit code.
func (w *watchdog) Run() int {
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		w.watch(stop)
	}()
	defer func() {
		close(stop)
		<-done
	}()
	code := w.tests.Run()
	awaitEnds(allStacks, endsWithin)
	return code
}

// endsWithin is how long [awaitEnds] waits for goroutines that end by themselves.
const endsWithin = 10 * time.Second

// endless are goroutines of a NATS server that its WaitForShutdown does not wait for: two
// for each stream, one for each file of a stream or consumer. They are asked to end,
// and on a busy machine end seconds later.
var endless = []string{
	"server.(*stream).internalLoop(", "server.(*stream).signalConsumersLoop(",
	"server.(*fileStore).flushStreamStateLoop(", "server.(*msgBlock).flushLoop(", "server.(*consumerFileStore).flushLoop(",
}

// awaitEnds waits until the goroutines of servers that were shut down have ended, so that
// a check for leaks that follows finds those alone which do not end.
func awaitEnds(stacks func() string, within time.Duration) {
	for over := time.Now().Add(within); time.Now().Before(over); time.Sleep(pollFirst) {
		dump := stacks()
		if !slices.ContainsFunc(endless, func(call string) bool { return strings.Contains(dump, call) }) {
			return
		}
	}
}

func (w *watchdog) watch(stop <-chan struct{}) {
	tick := time.NewTicker(w.every)
	defer tick.Stop()
	seen := map[string]*progress{}
	collected := time.Now()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		// The runtime notes with a collection of garbage that a goroutine is blocked.
		if time.Since(collected) >= w.stuck/4 && waits(seen, w.stuck/4) {
			runtime.GC()
			collected = time.Now()
		}
		dump := allStacks()
		if report := w.look(seen, dump, time.Now()); report != "" {
			fmt.Fprintf(w.out, "%s\n\nall goroutines:\n\n%s\n", report, dump)
			w.exit(exitCode)
			return
		}
	}
}

// waits reports whether a test has been seen at one place for d.
func waits(seen map[string]*progress, d time.Duration) bool {
	for _, p := range seen {
		if p.place != "" && time.Since(p.since) >= d {
			return true
		}
	}
	return false
}

// progress is what is known of the goroutine of one test.
type progress struct {
	name  string // of the test function; empty: not seen on its stack yet
	began time.Time
	place string // its stack
	since time.Time
	bed   string    // the lines of its stack when it was last seen asleep; empty: long ago
	slept time.Time // since when it has slept there again and again
	seen  time.Time // asleep there
	alive bool      // in the last dump
}

// look takes a dump into account and returns what is wrong with a test, or "".
func (w *watchdog) look(seen map[string]*progress, dump string, now time.Time) string {
	for _, p := range seen {
		p.alive = false
	}
	var report string
	for _, stack := range strings.Split(dump, "\n\n") {
		id := goroutineID(stack)
		if id == "" || !isTest(stack) {
			continue
		}
		p := seen[id]
		if p == nil {
			p = &progress{began: now}
			seen[id] = p
		}
		p.alive = true
		if name := testName(stack); name != "" {
			p.name = name
		}
		state, frames, _ := strings.Cut(stack, "\n")
		if waitsForOthers(stack) {
			p.began, p.since, p.place, p.bed = now, now, "", ""
			continue
		}
		asleep := p.sleeps(state, frames, now, w.polling/2)
		if asleep || moves(state) || frames != p.place {
			p.since, p.place = now, frames
		}
		stuck, polling, longest := w.stuck, w.polling, w.longest
		if d, ok := allowed.Load(id); ok {
			longest = max(longest, d.(time.Duration))
			stuck, polling = max(stuck, d.(time.Duration)), max(polling, d.(time.Duration))
		}
		switch waited, ran := now.Sub(p.since), now.Sub(p.began); {
		case report != "":
		case waited >= stuck && blocked(state) >= stuck.Truncate(time.Minute):
			report = fmt.Sprintf("testwait: %s has waited for %v in %s:\n\n%s", p.title(), waited.Round(time.Second/10), waitingIn(frames), stack)
		case asleep && now.Sub(p.slept) >= polling:
			report = fmt.Sprintf("testwait: %s has polled for %v in %s:\n\n%s", p.title(), now.Sub(p.slept).Round(time.Second/10), waitingIn(frames), stack)
		case ran >= longest:
			report = fmt.Sprintf("testwait: %s has run for %v, and is in %s:\n\n%s", p.title(), ran.Round(time.Second/10), waitingIn(frames), stack)
		}
	}
	for id, p := range seen {
		if !p.alive {
			delete(seen, id)
		}
	}
	return report
}

// sleeps takes a look into account, and reports whether the test is asleep. Where it was
// not seen asleep at a place for as long as awake, it has left it.
func (p *progress) sleeps(state, frames string, now time.Time, awake time.Duration) bool {
	if !strings.Contains(state, "[sleep") {
		return false
	}
	if lines := linesOf(frames); lines != p.bed || now.Sub(p.seen) > awake {
		p.bed, p.slept = lines, now
	}
	p.seen = now
	return true
}

// linesOf returns the lines of a stack, without arguments and without package time: a
// line of source for each frame, the innermost first.
func linesOf(frames string) string {
	var b strings.Builder
	all := strings.Split(frames, "\n")
	for i := 0; i+1 < len(all); i += 2 {
		if strings.HasPrefix(all[i], "time.") || strings.HasPrefix(all[i], "created by ") {
			continue
		}
		at, _, _ := strings.Cut(strings.TrimSpace(all[i+1]), " +0x")
		b.WriteString(at)
		b.WriteByte('\n')
	}
	return b.String()
}

func (p *progress) title() string {
	if p.name == "" {
		return "a test"
	}
	return p.name
}

// allStacks returns the stacks of all goroutines.
func allStacks() string {
	for size := 1 << 18; ; size *= 2 {
		buf := make([]byte, size)
		if n := runtime.Stack(buf, true); n < size {
			return string(buf[:n])
		}
	}
}

// ownStack returns the stack of the calling goroutine.
func ownStack() string {
	buf := make([]byte, 1<<10)
	return string(buf[:runtime.Stack(buf, false)])
}

// goroutineID returns the number in "goroutine 7 [select]:", or "".
func goroutineID(stack string) string {
	rest, ok := strings.CutPrefix(stack, "goroutine ")
	if !ok {
		return ""
	}
	id, _, _ := strings.Cut(rest, " ")
	return id
}

// isTest reports whether a stack is that of a goroutine which runs a test.
func isTest(stack string) bool {
	return strings.Contains(stack, "\ntesting.tRunner(") && strings.Contains(stack, "\ncreated by testing.(*T).Run")
}

// waitsForOthers reports whether a test waits for a subtest, for its turn in
// parallel, or for its parallel subtests at its end.
func waitsForOthers(stack string) bool {
	for _, call := range []string{"\ntesting.(*T).Parallel(", "\ntesting.(*testState).waitParallel(", "\ntesting.(*T).Run("} {
		if strings.Contains(stack, call) {
			return true
		}
	}
	// The end of a test with parallel subtests: tRunner's own deferred function waits.
	_, frames, _ := strings.Cut(stack, "\n")
	return strings.HasPrefix(frames, "testing.tRunner.func1(")
}

// moves reports whether a goroutine of this state is not waiting.
func moves(state string) bool {
	return strings.Contains(state, "[running") || strings.Contains(state, "[runnable")
}

// blocked returns for how long a goroutine has been blocked, in whole minutes, by the
// first line of its stack: "goroutine 7 [select, 2 minutes]:".
func blocked(state string) time.Duration {
	_, rest, _ := strings.Cut(state, ", ")
	count, _, _ := strings.Cut(rest, " minutes")
	n, _ := strconv.Atoi(count)
	return time.Duration(n) * time.Minute
}

// testName returns the test function that a stack runs: the frame that tRunner called.
func testName(stack string) string {
	lines := strings.Split(stack, "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "testing.tRunner(") || i < 2 {
			continue
		}
		call := lines[i-2]
		if end := strings.LastIndex(call, "("); end > 0 {
			call = call[:end]
		}
		return call[strings.LastIndex(call, "/")+1:]
	}
	return ""
}

// waitingIn returns the innermost call of the code under test or of the test: the
// first frame that is not of the runtime, of sync or of time.
func waitingIn(frames string) string {
	lines := strings.Split(frames, "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		call := lines[i]
		if !isPlumbing(call) {
			if end := strings.LastIndex(call, "("); end > 0 {
				call = call[:end]
			}
			at := strings.TrimSpace(lines[i+1])
			at, _, _ = strings.Cut(at, " +0x")
			return call + " at " + at
		}
	}
	return "an unknown place"
}

func isPlumbing(call string) bool {
	for _, prefix := range []string{"runtime.", "sync.", "time.", "internal/", "os.", "os/exec.", "syscall.", "io.", "bufio.", "net.", "testing."} {
		if strings.HasPrefix(call, prefix) {
			return true
		}
	}
	return false
}
