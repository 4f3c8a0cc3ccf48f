package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
	"holdmetrics/test/bench/internal/report"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == child.Command {
		os.Exit(child.Main(os.Args[2], roles()))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	switch err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); {
	case errors.Is(err, flag.ErrHelp): // it was shown
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// options are the command line.
type options struct {
	json, rows, profile string
	compare             string
	python              string
	list, quick         bool
	repeat              int
}

func parseOptions(args []string, complaints io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(complaints)
	f.StringVar(&o.json, "json", "", "write the table to this `file` as well, as JSON")
	f.StringVar(&o.compare, "compare", "", "print what got worse since the run that -json wrote to this `file`, and exit with 1 if anything did")
	f.StringVar(&o.rows, "rows", "", "run these rows only, `a,b`")
	f.StringVar(&o.profile, "profile", "", "write CPU profiles of what was measured to this `directory`")
	f.StringVar(&o.python, "python", "python3", "`program` that has the package duckdb, for the row files")
	f.BoolVar(&o.list, "list", false, "list the rows")
	f.BoolVar(&o.quick, "quick", false, "smaller sizes: shows that everything runs, not how fast")
	f.IntVar(&o.repeat, "repeat", 3, "repetitions of the rows that are not long; the median is shown")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("what is %q? (see -h)", f.Arg(0))
	}
	if o.repeat < 1 {
		return o, fmt.Errorf("-repeat %d: at least one", o.repeat)
	}
	return o, nil
}

// run measures and prints. What was measured before an error or Ctrl-C is
// printed all the same.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	o, err := parseOptions(args, progress)
	if err != nil {
		return err
	}
	if o.list {
		for _, r := range allRows() {
			fmt.Fprintf(out, "%-12s %s\n", r.name(), r.about())
		}
		return nil
	}
	rows, err := pickRows(allRows(), o.rows)
	if err != nil {
		return err
	}
	var kept []report.Line
	if o.compare != "" {
		if kept, err = report.ReadFile(o.compare); err != nil {
			return err
		}
	}
	if o.profile != "" {
		if o.profile, err = filepath.Abs(o.profile); err == nil {
			err = os.MkdirAll(o.profile, 0o755)
		}
		if err != nil {
			return err
		}
	}
	dir, err := os.MkdirTemp("", "holdmetrics-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{quick: o.quick, python: o.python, profile: o.profile, dir: dir,
		log: func(format string, args ...any) { fmt.Fprintf(progress, format+"\n", args...) }}
	lines, failed := b.runRows(ctx, rows, o.repeat)
	if err := report.Print(out, lines); err != nil {
		return err
	}
	if o.json != "" {
		text, err := report.JSON(lines)
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.json, text, 0o644); err != nil {
			return err
		}
	}
	if o.compare != "" && failed == nil {
		changes := report.Compare(kept, lines)
		if err := report.PrintChanges(out, changes); err != nil {
			return err
		}
		if n := report.Worse(changes); n > 0 {
			failed = fmt.Errorf("%d lines are worse than in %s by more than the spread", n, o.compare)
		}
	}
	return failed
}

// runRows runs rows one after the other. A row that fails does not keep the
// others from running; the error names the first.
func (b *bench) runRows(ctx context.Context, rows []row, repeat int) (lines []report.Line, failed error) {
	for _, r := range rows {
		began := time.Now()
		var repetitions [][]report.Line
		for i := range r.repeats(repeat) {
			b.takePeak()
			got, err := r.run(ctx, b)
			peak := b.takePeak()
			b.clean()
			if ctx.Err() != nil {
				return lines, context.Cause(ctx)
			}
			if err != nil {
				b.log("%s: %v", r.name(), err)
				if failed == nil {
					failed = fmt.Errorf("row %s: %w", r.name(), err)
				}
				break
			}
			for j := range got {
				l := &got[j]
				l.Peak = peak
				b.log("%s %d/%d: %s: %s %s, against %s, %s", r.name(), i+1, r.repeats(repeat), l.Name, report.Number(l.Value), l.Unit, report.Number(l.AgainstValue), l.Note)
			}
			repetitions = append(repetitions, got)
		}
		b.log("%s: %.0f s", r.name(), time.Since(began).Seconds())
		lines = append(lines, report.Medians(repetitions)...)
	}
	return lines, failed
}

// roles are what this program can be as a child.
func roles() map[string]child.Role {
	return map[string]child.Role{
		"server":    serverRole,
		"echo":      echoRole,
		"produce":   load.ProduceRole,
		"publish":   load.PublishRole,
		"fill":      load.FillRole,
		"batch":     load.BatchRole,
		"broadcast": load.BroadcastRole,
		"record":    load.RecordRole,
		"holds":     load.HoldsRole,
		"score":     scoreRole,
		"apply":     applyRole,
		"replay":    replayRole,
		"read":      readRole,
		"sustained": sustainedRole,
		"freshness": freshnessRole,
		"watch":     watchRole,

		"securewatch": secureRole,
		"fanout":      fanoutRole,
		"rank":        rankRole,
		"memory":      memoryRole,
		"pair":        pairRole,
	}
}
