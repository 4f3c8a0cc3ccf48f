package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/report"
)

// row measures one thing. Its documentation says what it does and does not measure.
type row interface {
	// name is what -rows selects it by.
	name() string
	// about is one line for -list.
	about() string
	// repeats is how often it runs where n repetitions were asked for; long rows
	// run once.
	repeats(n int) int
	// run is one repetition. Everything it started has ended when it returns.
	run(ctx context.Context, b *bench) ([]report.Line, error)
}

// allRows are the rows of the table, in its order.
func allRows() []row {
	return []row{
		ingestRow{}, bulkRow{}, broadcastRow{}, recordRow{}, chainRow{}, auditRow{}, holdsRow{},
		scoreRow{}, applyRow{}, replayRow{}, workersRow{}, mongoRow{}, sustainedRow{}, limitedRow{}, freshnessRow{},
		watchRow{}, secureRow{}, rankRow{}, abuseRow{},
		memoryRow{}, pairRow{}, coldStartRow{}, filesRow{},
	}
}

// bench is what rows share: sizes, a place for files, and the program under test.
type bench struct {
	quick   bool
	python  string                           // that has DuckDB, to compare with
	profile string                           // directory for CPU profiles of children; empty: none
	dir     string                           // temporary; removed at the end
	dirs    int                              // made
	cleaned int                              // and removed
	log     func(format string, args ...any) // progress
	peak    atomic.Int64                     // largest resident set of a process that has ended; see takePeak

	buildOnce sync.Once
	binary    string
	buildErr  error
}

// size is n, or a tenth of it with -quick.
func (b *bench) size(n int) int {
	if b.quick {
		return n / 10
	}
	return n
}

// window is how long rates are counted, after a warm-up.
func (b *bench) window() (warm, window time.Duration) {
	if b.quick {
		return 500 * time.Millisecond, time.Second
	}
	return time.Second, 2 * time.Second
}

// tempDir is a new empty directory.
func (b *bench) tempDir(name string) (string, error) {
	b.dirs++
	dir := filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, b.dirs))
	return dir, os.Mkdir(dir, 0o755)
}

// clean removes what a repetition left, so that nobody after it waits for its
// pages to be written.
func (b *bench) clean() {
	for ; b.cleaned < b.dirs; b.cleaned++ {
		left, _ := filepath.Glob(filepath.Join(b.dir, fmt.Sprintf("*-%d", b.cleaned+1)))
		for _, dir := range left {
			_ = os.RemoveAll(dir) // run tries again at the end
		}
	}
}

// pickRows are the rows that names selects; empty: all.
func pickRows(all []row, names string) ([]row, error) {
	if names == "" {
		return all, nil
	}
	var out []row
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, r := range all {
			if r.name() == strings.TrimSpace(name) {
				out, found = append(out, r), true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no row %q; -list shows them", name)
		}
	}
	return out, nil
}

// once is embedded by rows that are too long to repeat.
type once struct{}

func (once) repeats(int) int { return 1 }

// often is embedded by the others.
type often struct{}

func (often) repeats(n int) int { return n }

// startChild starts a child in a role and returns when it has answered; see
// [child.Start].
func (b *bench) startChild(ctx context.Context, role string, cores int, input, ready any) (*child.Process, error) {
	return child.Start(ctx, b.profile, role, cores, input, ready, b.ended)
}

// ended notes how much memory a process had at most.
func (b *bench) ended(p *os.ProcessState) {
	peak := int64(child.PeakMemory(p))
	for {
		known := b.peak.Load()
		if peak <= known || b.peak.CompareAndSwap(known, peak) {
			return
		}
	}
}

// takePeak returns the largest resident set, in bytes, of all processes that have ended
// since it was called before; 0: it is not known.
func (b *bench) takePeak() int { return int(b.peak.Swap(0)) }

// call runs a child that answers once, with its result, and then ends.
func (b *bench) call(ctx context.Context, role string, cores int, input, result any) error {
	p, err := b.startChild(ctx, role, cores, input, result)
	if err != nil {
		return err
	}
	return p.Stop()
}
