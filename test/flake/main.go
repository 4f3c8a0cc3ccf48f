// Command flake looks for tests that fail once in a while. It builds the test binary
// of each package once, under the race detector, and runs it again and again with
// the machine starved: GOMAXPROCS goes through 1, 2 and 4, a busy loop competes for
// the processor, and the tests of a package come in another order each time.
//
// Tests that draw at random draw a little in each run, by a seed that no other run has:
// so many short runs try more than one long one. A run is repeated with
// HOLDMETRICS_TEST_SEED set to its seed.
//
// It prints a table of packages with their runs, failures, slowest run and processor time,
// and keeps the output of every failed run. It exits with 1 if a run has failed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `Usage: go run ./test/flake [flags] [package ...]

Runs the tests of packages again and again on a starved machine, and shows how
often they failed. Without packages: all of them. Ctrl-C ends it with the table.

Examples:
  go run ./test/flake -runs 300 ./ingest ./projection
  go run ./test/flake -duration 30m -parallel 4
  go run ./test/flake -runs 1000 -run 'TestWatchersCross$' ./gateway

Flags:
`

// plan is what the command line asks for.
type plan struct {
	packages []string
	runs     int           // of each package; 0: until duration is over
	duration time.Duration // 0: until all runs are made
	parallel int           // test processes at once
	procs    []int         // values of GOMAXPROCS, one after the other
	busy     int           // busy loops beside
	race     bool
	short    bool
	run      string // the tests to run; empty: all
	seed     uint64 // of the first round; 0: tests draw the same in every run
	draws    int    // of each property of rapid; 0: its default
	load     float64
	limit    time.Duration
	keep     string // the directory of failed outputs
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(command(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// command runs one command line and returns its exit code.
func command(ctx context.Context, args []string, out, progress io.Writer) int {
	p, err := parse(args, progress)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(progress, "flake:", err)
		return 2
	}
	results, err := hunt(ctx, p, progress)
	writeTable(out, results)
	if err != nil {
		fmt.Fprintln(progress, "flake:", err)
		return 1
	}
	for _, r := range results {
		if r.failures > 0 {
			fmt.Fprintf(progress, "flake: the output of failed runs is in %s\n", p.keep)
			return 1
		}
	}
	return 0
}

// parse reads the command line.
func parse(args []string, out io.Writer) (*plan, error) {
	p := &plan{}
	f := flag.NewFlagSet("flake", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.IntVar(&p.runs, "runs", 10, "runs of each package; 0: as many as -duration allows")
	f.DurationVar(&p.duration, "duration", 0, "stop starting runs after this time (default: no limit)")
	f.IntVar(&p.parallel, "parallel", 2, "test processes at once")
	procs := f.String("procs", "1,2,4", "values of GOMAXPROCS, which the runs go through")
	f.IntVar(&p.busy, "busy", 1, "busy loops that compete for the processor")
	f.BoolVar(&p.race, "race", true, "build with the race detector")
	f.BoolVar(&p.short, "short", false, "pass -short to the tests")
	f.StringVar(&p.run, "run", "", "regular `expression` of the tests to run (default: all)")
	f.Uint64Var(&p.seed, "seed", rand.Uint64N(1<<32)+1, "`seed` of the first round, which the next ones follow; 0: all draw the same")
	f.IntVar(&p.draws, "draws", 10, "draws of each property that package rapid checks; 0: its default, 100")
	f.Float64Var(&p.load, "load", 0, "start no run while the machine's load average is above this; 0: do not look")
	f.DurationVar(&p.limit, "timeout", 10*time.Minute, "time limit of one run of a package")
	f.StringVar(&p.keep, "keep", "flake-failures", "`directory` for the output of failed runs")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(out, usage)
			f.SetOutput(out)
			f.PrintDefaults()
		}
		return nil, err
	}
	for _, text := range strings.Split(*procs, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-procs: %q is not a number of processors", text)
		}
		p.procs = append(p.procs, n)
	}
	switch {
	case p.runs < 0 || p.parallel < 1 || p.busy < 0 || p.draws < 0:
		return nil, errors.New("-runs, -busy and -draws must not be negative, and -parallel must be at least 1")
	case p.runs == 0 && p.duration <= 0:
		return nil, errors.New("-runs 0 runs for ever: give a -duration")
	}
	if p.packages = f.Args(); len(p.packages) == 0 {
		p.packages = []string{"./..."}
	}
	return p, nil
}
