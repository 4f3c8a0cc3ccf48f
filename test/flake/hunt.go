package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdmetrics/internal/backoff"
	"holdmetrics/internal/testseed"
	"holdmetrics/test/build"
)

// target is a package with its test binary.
type target struct {
	name   string // its path below the module's
	dir    string
	binary string
	draws  bool // package rapid is in it
}

// result is what became of the runs of a package.
type result struct {
	name           string
	runs, failures int
	slowest, total time.Duration
	cpu            time.Duration // of all runs
}

// hunt builds the packages and runs them until the plan is carried out or ctx ends.
// What it returns beside an error is true of what was run.
func hunt(ctx context.Context, p *plan, progress io.Writer) ([]result, error) {
	dir, err := os.MkdirTemp("", "holdmetrics-flake-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	targets, env, err := prepare(ctx, p, dir, progress)
	if err != nil || len(targets) == 0 {
		return nil, errors.Join(err, ctx.Err())
	}
	h := &hunter{plan: p, env: env, results: make([]result, len(targets)), progress: progress, began: time.Now()}
	for i, t := range targets {
		h.results[i].name = t.name
	}
	stopBusy := busyLoops(p.busy)
	defer stopBusy()

	todo := make(chan job)
	var all sync.WaitGroup
	for range p.parallel {
		all.Go(func() {
			for j := range todo {
				h.run(ctx, targets[j.target], j)
			}
		})
	}
	h.feed(ctx, todo, len(targets))
	close(todo)
	all.Wait()
	return h.results, h.err
}

// job is one run of one package.
type job struct{ target, round int }

// hunter runs jobs. Its results are guarded by mu.
type hunter struct {
	plan     *plan
	env      []string
	progress io.Writer
	began    time.Time

	mu      sync.Mutex
	results []result
	err     error // the first failure of the hunt itself
}

// feed gives the jobs, a round of all packages after the other, until the plan is
// carried out, its time is over, or ctx ends.
func (h *hunter) feed(ctx context.Context, todo chan<- job, targets int) {
	if h.plan.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, h.plan.duration)
		defer cancel()
	}
	for round := 0; h.plan.runs == 0 || round < h.plan.runs; round++ {
		for i := range targets {
			for h.plan.load > 0 && loadAverage() > h.plan.load {
				if backoff.Wait(ctx, loadAgain) != nil {
					return
				}
			}
			select {
			case todo <- job{i, round}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// loadAgain is the pause between two looks at the load of the machine.
const loadAgain = time.Second

// loadAverage is the machine's load of the last minute; 0 if the system does not tell.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		return 0
	}
	return load
}

// run runs a test binary once, and keeps its output if it fails. A run that Ctrl-C
// ended does not count.
func (h *hunter) run(ctx context.Context, t target, j job) {
	procs := h.plan.procs[j.round%len(h.plan.procs)]
	args := []string{"-test.timeout", h.plan.limit.String(), "-test.shuffle", "on"}
	if h.plan.run != "" {
		args = append(args, "-test.run", h.plan.run)
	}
	if h.plan.short {
		args = append(args, "-test.short")
	}
	if h.plan.draws > 0 && t.draws {
		args = append(args, "-rapid.checks", strconv.Itoa(h.plan.draws))
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, t.binary, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = t.dir, &out, &out
	cmd.Env = append(slices.Clip(h.env), fmt.Sprintf("GOMAXPROCS=%d", procs))
	seed := ""
	if h.plan.seed > 0 {
		seed = fmt.Sprintf("%s=%d", testseed.Variable, h.plan.seed+uint64(j.round))
		cmd.Env = append(cmd.Env, seed)
	}
	ownGroup(cmd)
	cmd.WaitDelay = 10 * time.Second
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	if ctx.Err() != nil {
		return
	}
	var kept error
	if err != nil {
		name := fmt.Sprintf("%s-%d.log", strings.ReplaceAll(t.name, "/", "_"), j.round+1)
		head := fmt.Sprintf("%s, run %d, GOMAXPROCS=%d %s, %v after %v: %s %s\n\n", t.name, j.round+1, procs, seed, err, took.Round(time.Millisecond), t.binary, strings.Join(args, " "))
		kept = keep(filepath.Join(h.plan.keep, name), head, out.Bytes())
	}
	cpu := time.Duration(0)
	if s := cmd.ProcessState; s != nil {
		cpu = s.UserTime() + s.SystemTime()
	}
	h.record(j, procs, took, cpu, err, kept)
}

// record takes a run into the results, and reports it.
func (h *hunter) record(j job, procs int, took, cpu time.Duration, err, kept error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := &h.results[j.target]
	r.runs++
	r.total += took
	r.cpu += cpu
	r.slowest = max(r.slowest, took)
	outcome := "ok"
	if err != nil {
		r.failures++
		outcome = "FAILED: " + err.Error()
	}
	if kept != nil && h.err == nil {
		h.err = kept
	}
	of := ""
	if h.plan.runs > 0 {
		of = fmt.Sprintf("/%d", h.plan.runs)
	}
	fmt.Fprintf(h.progress, "%7s  %s %d%s, GOMAXPROCS=%d, %.1fs: %s\n", time.Since(h.began).Round(time.Second), r.name, j.round+1, of, procs, took.Seconds(), outcome)
}

// keep writes the output of a failed run.
func keep(path, head string, out []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte(head), out...), 0o644)
}

// prepare builds the test binaries, and the product for the tests that run it as a
// process, and returns them with the environment of the runs.
func prepare(ctx context.Context, p *plan, dir string, progress io.Writer) (all []target, env []string, err error) {
	list := exec.CommandContext(ctx, "go", append([]string{"list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}} {{.Dir}}{{end}}"}, p.packages...)...)
	list.Stderr = progress
	text, err := list.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("listing packages: %w", err)
	}
	env = append(os.Environ(), build.QuickEnd()...)
	if bytes.Contains(text, []byte("holdmetrics/cmd/")) || bytes.Contains(text, []byte("holdmetrics/test")) {
		product := filepath.Join(dir, "holdmetrics")
		fmt.Fprintln(progress, "building the product")
		if err := build.To(ctx, product, p.race); err != nil {
			return nil, nil, err
		}
		env = append(env, build.Variable+"="+product)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		path, source, ok := strings.Cut(line, " ")
		if !ok {
			continue
		}
		t := target{name: strings.TrimPrefix(path, "holdmetrics/"), dir: source}
		t.binary = filepath.Join(dir, strings.ReplaceAll(t.name, "/", "_")+".test")
		fmt.Fprintln(progress, "building the tests of", t.name)
		args := []string{"test", "-c", "-o", t.binary}
		if p.race {
			args = append(args, "-race")
		}
		if out, err := exec.CommandContext(ctx, "go", append(args, path)...).CombinedOutput(); err != nil {
			return nil, nil, fmt.Errorf("building the tests of %s: %w\n%s", t.name, err, out)
		}
		code, err := os.ReadFile(t.binary)
		if err != nil {
			return nil, nil, err
		}
		t.draws = bytes.Contains(code, []byte("rapid.checks")) // the name of its flag
		all = append(all, t)
	}
	return all, env, nil
}

// busyLoops starts loops that keep a processor busy each, until stop is called.
func busyLoops(n int) (stop func()) {
	var done atomic.Bool
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for !done.Load() {
			}
		})
	}
	return func() {
		done.Store(true)
		all.Wait()
	}
}
