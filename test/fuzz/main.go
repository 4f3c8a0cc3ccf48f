// Command fuzz runs every fuzz test of the module for a while. It finds them by go list,
// so that a new one needs no line anywhere. The binary of a package is built once.
//
// An input that breaks a test is written to testdata/fuzz of its package, where every
// later run of the tests tries it. What extends the coverage is kept in the cache of Go;
// -keep copies some of it to testdata/fuzz too.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const usage = `Usage: go run ./test/fuzz [flags] [package ...]

Runs each fuzz test for an equal part of -time. Without packages: all of them.

Examples:
  go run ./test/fuzz -time 10m
  go run ./test/fuzz -time 1m -limit 3m
  go run ./test/fuzz -time 5m -run FuzzParse ./hold/rules

Flags:
`

// plan is what the command line asks for.
type plan struct {
	packages []string
	total    time.Duration // of fuzzing, over all tests
	limit    time.Duration // of the command; 0: none
	run      *regexp.Regexp
	keep     int // inputs of a test that are copied to testdata/fuzz
	first    int // test to begin with
}

// target is a fuzz test.
type target struct {
	pkg, dir, name string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p := plan{}
	flags := flag.NewFlagSet("fuzz", flag.ExitOnError)
	flags.DurationVar(&p.total, "time", 10*time.Minute, "time of fuzzing, over all tests")
	flags.DurationVar(&p.limit, "limit", 0, "begin no test after this time, building included; 0: no limit")
	run := flags.String("run", ".", "run the tests whose names match")
	flags.IntVar(&p.keep, "keep", 0, "copy so many inputs of each test from the cache to testdata/fuzz")
	flags.IntVar(&p.first, "first", time.Now().YearDay(), "number of the test to begin with, so that a limit does not always spare the same ones")
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage); flags.PrintDefaults() }
	_ = flags.Parse(os.Args[1:]) // it exits
	p.packages = flags.Args()
	if len(p.packages) == 0 {
		p.packages = []string{"./..."}
	}
	var err error
	if p.run, err = regexp.Compile(*run); err == nil {
		err = p.fuzz(ctx, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// fuzz runs the tests and returns an error if one has failed.
func (p *plan) fuzz(ctx context.Context, out io.Writer) error {
	began := time.Now()
	targets, err := p.targets(ctx)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("there is no such fuzz test")
	}
	dir, err := os.MkdirTemp("", "holdmetrics-fuzz-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cache, err := output(ctx, "go", "env", "GOCACHE")
	if err != nil {
		return err
	}
	cache = filepath.Join(strings.TrimSpace(cache), "fuzz")
	each := max(p.total/time.Duration(len(targets)), time.Second)
	fmt.Fprintf(out, "%d fuzz tests, %v each\n", len(targets), each.Round(time.Millisecond))
	binaries := map[string]string{}
	var failed, spared []string
	for i := range targets {
		t := targets[(i+p.first)%len(targets)]
		if ctx.Err() != nil {
			return errors.New("interrupted")
		}
		if p.limit > 0 && time.Since(began) > p.limit {
			spared = append(spared, t.pkg+"."+t.name)
			continue
		}
		if binaries[t.pkg] == "" {
			binary := filepath.Join(dir, fmt.Sprintf("%d.test", len(binaries)))
			if text, err := output(ctx, "go", "test", "-c", "-fuzz=.", "-o", binary, t.pkg); err != nil {
				return fmt.Errorf("building %s: %w\n%s", t.pkg, err, text)
			}
			binaries[t.pkg] = binary
		}
		kept := filepath.Join(cache, t.pkg)
		cmd := exec.CommandContext(ctx, binaries[t.pkg], "-test.run=^$", "-test.fuzz=^"+t.name+"$", "-test.fuzztime="+each.String(), "-test.fuzzcachedir="+kept)
		cmd.Dir = t.dir
		text, err := cmd.CombinedOutput()
		if err != nil {
			failed = append(failed, t.pkg+"."+t.name)
			fmt.Fprintf(out, "FAIL  %s %s\n%s", t.pkg, t.name, text)
			continue
		}
		fmt.Fprintf(out, "ok    %s %s: %s\n", t.pkg, t.name, summary(text))
		if p.keep > 0 {
			if err := t.keep(kept, p.keep); err != nil {
				return err
			}
		}
	}
	if len(spared) > 0 {
		fmt.Fprintf(out, "not run, since %v are over: %s\n", p.limit, strings.Join(spared, ", "))
	}
	if len(failed) > 0 {
		return fmt.Errorf("%d of %d fuzz tests failed: %s: their inputs are in testdata/fuzz", len(failed), len(targets), strings.Join(failed, ", "))
	}
	return nil
}

var declared = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)

// targets returns the fuzz tests of the packages, in order.
func (p *plan) targets(ctx context.Context) ([]target, error) {
	list, err := output(ctx, "go", append([]string{"list", "-f", `{{$p := .}}{{range .TestGoFiles}}{{$p.ImportPath}}	{{$p.Dir}}	{{.}}
{{end}}{{range .XTestGoFiles}}{{$p.ImportPath}}	{{$p.Dir}}	{{.}}
{{end}}`}, p.packages...)...)
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w\n%s", err, list)
	}
	var all []target
	for line := range strings.Lines(list) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			continue
		}
		text, err := os.ReadFile(filepath.Join(fields[1], fields[2]))
		if err != nil {
			return nil, err
		}
		for _, m := range declared.FindAllSubmatch(text, -1) {
			if name := string(m[1]); p.run.MatchString(name) {
				all = append(all, target{pkg: fields[0], dir: fields[1], name: name})
			}
		}
	}
	return all, nil
}

// keep copies the smallest of what extended the coverage of a test to its testdata.
func (t *target) keep(cache string, count int) error {
	found, err := filepath.Glob(filepath.Join(cache, t.name, "*"))
	if err != nil {
		return err
	}
	const mostBytes = 512
	to := filepath.Join(t.dir, "testdata", "fuzz", t.name)
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(text) > mostBytes || count == 0 {
			continue
		}
		count--
		if err := os.MkdirAll(to, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(path)), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// summary returns the last line of what a fuzz test says of its work.
func summary(text []byte) (last string) {
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if line, ok := strings.CutPrefix(s.Text(), "fuzz: elapsed: "); ok {
			last = line
		}
	}
	return last
}

func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String() + stderr.String(), err
	}
	return out.String(), nil
}
