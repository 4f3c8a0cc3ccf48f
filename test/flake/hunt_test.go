package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

// fake is a test binary that fails in the runs with GOMAXPROCS=2.
const fake = `#!/bin/sh
echo "processors: $GOMAXPROCS, $@"
[ "$GOMAXPROCS" != 2 ]
`

func fakeTarget(t *testing.T, script string) target {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "fake.test")
	if err := os.WriteFile(binary, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return target{name: "some/package", dir: dir, binary: binary}
}

// Failures are counted, their output is kept, and the table has them.
func TestFailuresAreCountedAndKept(t *testing.T) {
	t.Parallel()
	var progress bytes.Buffer
	p := &plan{procs: []int{1, 2, 4}, runs: 6, parallel: 1, limit: time.Minute, keep: filepath.Join(t.TempDir(), "kept"), run: "TestX"}
	h := &hunter{plan: p, env: os.Environ(), results: []result{{name: "some/package"}}, progress: &progress, began: time.Now()}
	for round := range p.runs {
		h.run(t.Context(), fakeTarget(t, fake), job{0, round})
	}
	if h.err != nil || h.results[0].runs != 6 || h.results[0].failures != 2 {
		t.Fatalf("%+v, %v", h.results, h.err)
	}
	kept, err := os.ReadDir(p.keep)
	if err != nil || len(kept) != 2 || kept[0].Name() != "some_package-2.log" || kept[1].Name() != "some_package-5.log" {
		t.Fatal(kept, err)
	}
	text, err := os.ReadFile(filepath.Join(p.keep, "some_package-2.log"))
	if err != nil || !strings.Contains(string(text), "processors: 2, -test.timeout 1m0s -test.shuffle on -test.run TestX") || !strings.Contains(string(text), "exit status 1") {
		t.Errorf("%s, %v", text, err)
	}
	var table bytes.Buffer
	writeTable(&table, h.results)
	if !regexp.MustCompile(`some/package +6 +2 +\d+\.\ds +\d+\.\ds`).MatchString(table.String()) {
		t.Error(table.String())
	}
	if !strings.Contains(progress.String(), "some/package 2/6, GOMAXPROCS=2") || !strings.Contains(progress.String(), "FAILED: exit status 1") {
		t.Error(progress.String())
	}
}

// Each round has a seed of its own, and a package with properties few draws of each.
func TestRoundsHaveSeeds(t *testing.T) {
	t.Parallel()
	p := &plan{procs: []int{1}, runs: 2, parallel: 1, limit: time.Minute, keep: filepath.Join(t.TempDir(), "kept"), seed: 41, draws: 3}
	h := &hunter{plan: p, env: os.Environ(), results: []result{{name: "some/package"}}, progress: &bytes.Buffer{}}
	drawing := fakeTarget(t, "#!/bin/sh\necho \"seed $HOLDMETRICS_TEST_SEED of $@\"\nfalse\n")
	drawing.draws = true
	for round, want := range []string{"seed 41 of ", "seed 42 of "} {
		h.run(t.Context(), drawing, job{0, round})
		text, err := os.ReadFile(filepath.Join(p.keep, fmt.Sprintf("some_package-%d.log", round+1)))
		if err != nil || !strings.Contains(string(text), want) || !strings.Contains(string(text), "-rapid.checks 3") || !strings.Contains(string(text), "GOMAXPROCS=1 HOLDMETRICS_TEST_SEED=4") {
			t.Errorf("%s, %v", text, err)
		}
	}
}

// On a machine that is too busy no run starts, until the time is over.
func TestABusyMachineIsLeftAlone(t *testing.T) {
	t.Parallel()
	if loadAverage() == 0 {
		t.Skip("the system does not tell its load")
	}
	h := &hunter{plan: &plan{runs: 1, duration: time.Millisecond, load: loadAverage() / 1e9}}
	todo := make(chan job, 1)
	h.feed(t.Context(), todo, 1)
	if len(todo) != 0 {
		t.Error("a run was started")
	}
	h.plan.load, h.plan.duration = 1e9, time.Minute
	h.feed(t.Context(), todo, 1)
	if len(todo) != 1 {
		t.Error("no run was started on an idle machine")
	}
}

// A run that Ctrl-C ends is killed with what it started, and is no failure.
func TestAnInterruptedRunDoesNotCount(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	p := &plan{procs: []int{1}, runs: 1, parallel: 1, limit: time.Minute, keep: filepath.Join(t.TempDir(), "kept")}
	h := &hunter{plan: p, env: os.Environ(), results: []result{{name: "some/package"}}, progress: &bytes.Buffer{}}
	hangs := fakeTarget(t, "#!/bin/sh\ntouch started\nsleep 1000\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.run(ctx, hangs, job{})
	}()
	for {
		if _, err := os.Stat(filepath.Join(hangs.dir, "started")); err == nil {
			break
		}
		time.Sleep(time.Millisecond) // a file appears without an event
	}
	cancel()
	<-done
	if h.results[0].runs != 0 || h.err != nil {
		t.Errorf("%+v, %v", h.results, h.err)
	}
	if _, err := os.Stat(p.keep); err == nil {
		t.Error("its output was kept")
	}
}

// Jobs come a round after the other, and no more of them once the time is over.
func TestFeed(t *testing.T) {
	t.Parallel()
	todo := make(chan job, 10)
	h := &hunter{plan: &plan{runs: 2}}
	h.feed(t.Context(), todo, 2)
	close(todo)
	var got []job
	for j := range todo {
		got = append(got, j)
	}
	if len(got) != 4 || got[1] != (job{1, 0}) || got[2] != (job{0, 1}) {
		t.Error(got)
	}
	h = &hunter{plan: &plan{duration: time.Millisecond}}
	h.feed(t.Context(), make(chan job), 1) // returns though nobody takes a job
}

func TestParse(t *testing.T) {
	t.Parallel()
	p, err := parse([]string{"-procs", "1, 8", "-runs", "3", "./a", "./b"}, &bytes.Buffer{})
	if err != nil || len(p.procs) != 2 || p.procs[1] != 8 || p.runs != 3 || len(p.packages) != 2 || !p.race {
		t.Errorf("%+v, %v", p, err)
	}
	for want, args := range map[string][]string{
		`-procs: "x" is not a number of processors`: {"-procs", "1,x"},
		"-runs 0 runs for ever: give a -duration":   {"-runs", "0"},
		"-parallel must be at least 1":              {"-parallel", "0"},
		"flag provided but not defined: -nonesuch":  {"-nonesuch"},
	} {
		if _, err := parse(args, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
	var help bytes.Buffer
	if code := command(t.Context(), []string{"-h"}, &bytes.Buffer{}, &help); code != 0 || !strings.Contains(help.String(), "-runs") {
		t.Errorf("%d: %s", code, &help)
	}
}
