package main

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"holdmetrics/test/bench/internal/report"
	"holdmetrics/test/build"
)

// filesRow is the whole command `holdmetrics score` on two cores, from its start to its
// end, against the query that a user of DuckDB would run: of 5,000,000 rows and 200,000
// holders in CSV that the page cache has. The clock of DuckDB stands while Python
// starts. Both write the score of each holder to a file, and the scores must be equal.
// holdmetrics besides checks all ids, times and balances, and writes held times, settled
// scores and rates.
//
// The rows of transfers are in the order of time, as chains have them, without the
// identity of their logs. Events are in the order of their starts, and overlap.
type filesRow struct{ often }

func (filesRow) name() string { return "files" }
func (filesRow) about() string {
	return "files: score of 5,000,000 rows in CSV, two cores, against DuckDB (-python)"
}

//go:embed duckdb.py
var duckdbScript string

const (
	fileHolders = 200_000
	fileCores   = 2
	fileBegin   = 1_600_000_000 // unix seconds
	fileAsOf    = 1_767_225_600
)

// fileQuestion is one score of one file, and the queries that come to the same.
type fileQuestion struct {
	name    string
	file    string
	args    []string
	queries []fileQuery
}

type fileQuery struct {
	question, about string
	faster          float64 // the aim
}

func (filesRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	if why := withoutDuckDB(ctx, b.python); why != "" {
		return []report.Line{{Name: "score of files", Skipped: why}}, nil
	}
	binary, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := b.tempDir("files")
	if err != nil {
		return nil, err
	}
	n := b.size(5_000_000)
	events, transfers := filepath.Join(dir, "events.csv"), filepath.Join(dir, "transfers.csv")
	if err := errors.Join(writeFile(events, n, writeEvents), writeFile(transfers, n, writeTransfers)); err != nil {
		return nil, err
	}
	var lines []report.Line
	for _, q := range []fileQuestion{
		{"score transfers", transfers, []string{"transfers", transfers}, []fileQuery{
			{"window", "DuckDB, window functions", 1.5}, {"linear", "DuckDB, one linear sum", 1},
		}},
		{"score events, sum", events, []string{"events", events, "--policy", "sum"}, []fileQuery{{"sum", "DuckDB, one linear sum", 1}}},
		{"score events, merge", events, []string{"events", events, "--policy", "merge"}, []fileQuery{{"merge", "DuckDB, parts and their largest weight", 4}}},
	} {
		more, err := q.measure(ctx, b, binary, dir, n)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.name, err)
		}
		lines = append(lines, more...)
	}
	return lines, nil
}

// measure runs a score and its queries, one after the other.
func (q *fileQuestion) measure(ctx context.Context, b *bench, binary, dir string, n int) (lines []report.Line, err error) {
	ours := filepath.Join(dir, "ours.csv")
	took, memory, err := runScore(ctx, binary, append(q.args, "--format", "csv", "--as-of", strconv.Itoa(fileAsOf)), ours)
	if err != nil {
		return nil, err
	}
	for _, query := range q.queries {
		theirs := filepath.Join(dir, "theirs.csv")
		tookDuck, memoryDuck, version, err := runDuckDB(ctx, b.python, query.question, q.file, theirs)
		if err != nil {
			return nil, err
		}
		if err := sameFileScores(ours, theirs); err != nil {
			return nil, fmt.Errorf("%s: %w", query.about, err)
		}
		lines = append(lines,
			report.Line{Name: q.name, Value: float64(n) / took.Seconds(), Unit: "rows/s", Against: query.about, AgainstValue: float64(n) / tookDuck.Seconds(),
				Aim: report.Aim{report.RatioAtLeast(query.faster)}, Note: fmt.Sprintf("%.2f s and %.2f s, DuckDB %s", took.Seconds(), tookDuck.Seconds(), version)},
			report.Line{Name: q.name + ", peak memory", Value: memory, Unit: "MB", Against: query.about, AgainstValue: memoryDuck, Aim: report.Aim{report.RatioAtMost(1)}})
	}
	return lines, nil
}

// withoutDuckDB returns why there is nothing to compare with, or "".
func withoutDuckDB(ctx context.Context, python string) string {
	if _, err := exec.LookPath(python); err != nil {
		return "there is no " + python
	}
	if exec.CommandContext(ctx, python, "-c", "import duckdb").Run() != nil {
		return python + " has no duckdb (pip install duckdb)"
	}
	return ""
}

// runScore runs score with its output to a file. It returns how long it took, and its
// peak memory in MB.
func runScore(ctx context.Context, binary string, args []string, result string) (time.Duration, float64, error) {
	out, err := os.Create(result)
	if err != nil {
		return 0, 0, err
	}
	defer out.Close()
	var complaints bytes.Buffer
	c := exec.CommandContext(ctx, binary, append([]string{"score"}, args...)...)
	c.Env = append(build.Environment(), "GOMAXPROCS="+strconv.Itoa(fileCores))
	c.Stdout, c.Stderr = out, &complaints
	began := time.Now()
	if err := c.Run(); err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, &complaints)
	}
	took := time.Since(began)
	usage, ok := c.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, errors.New("the system does not say how much memory a process took")
	}
	return took, float64(usage.Maxrss) / 1024, nil
}

func runDuckDB(ctx context.Context, python, question, file, result string) (took time.Duration, memory float64, version string, err error) {
	var complaints bytes.Buffer
	c := exec.CommandContext(ctx, python, "-", question, file, result, strconv.Itoa(fileAsOf), strconv.Itoa(fileCores))
	c.Stdin, c.Stderr = strings.NewReader(duckdbScript), &complaints
	out, err := c.Output()
	if err != nil {
		return 0, 0, "", fmt.Errorf("DuckDB: %w: %s", err, &complaints)
	}
	var seconds, kib float64
	if _, err := fmt.Sscan(string(out), &seconds, &kib, &version); err != nil {
		return 0, 0, "", fmt.Errorf("DuckDB: %w: %q", err, out)
	}
	return time.Duration(seconds * float64(time.Second)), kib / 1024, version, nil
}

// sameFileScores compares the scores of two results. One may have holders with a score
// of 0 that the other leaves out.
func sameFileScores(ours, theirs string) error {
	a, err := fileScores(ours, "holder_id", "score")
	if err != nil {
		return err
	}
	b, err := fileScores(theirs, "h", "score")
	if err != nil {
		return err
	}
	for _, one := range []struct{ is, other map[string]string }{{a, b}, {b, a}} {
		for holder, score := range one.is {
			if other := one.other[holder]; other != score && (score != "0" || other != "") {
				return fmt.Errorf("the scores of %s are %q and %q", holder, score, other)
			}
		}
	}
	if len(a) == 0 {
		return errors.New("there are no scores")
	}
	return nil
}

// fileScores reads a result. Scores have no zeros at their end.
func fileScores(name, holder, score string) (map[string]string, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(bufio.NewReader(f))
	scores := map[string]string{}
	of, at := -1, -1
	for {
		row, err := r.Read()
		if err == io.EOF {
			return scores, nil
		}
		if err != nil {
			return nil, err
		}
		if of < 0 {
			for i, column := range row {
				switch column {
				case holder:
					of = i
				case score:
					at = i
				}
			}
			if of < 0 || at < 0 {
				return nil, fmt.Errorf("%s has columns %q", name, row)
			}
			continue
		}
		text := row[at]
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		scores[row[of]] = text
	}
}

func writeFile(name string, n int, write func(w *bufio.Writer, n int) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	return errors.Join(write(w, n), w.Flush(), f.Close())
}

// writeEvents writes ended events of random holders, in the order of their starts.
func writeEvents(w *bufio.Writer, n int) error {
	random := rand.New(rand.NewPCG(1, 1))
	if _, err := w.WriteString("token_id,holder_id,start,end,weight\n"); err != nil {
		return err
	}
	for i := range n {
		start := fileBegin + i*30_000_000/n
		if _, err := fmt.Fprintf(w, "T,h%06d,%d,%d,%g\n", random.IntN(fileHolders), start, start+1+random.IntN(2_000_000), float64(1+random.IntN(1000))/4); err != nil {
			return err
		}
	}
	return nil
}

// writeTransfers writes transfers between random holders, in the order of time. The
// sender has what it sends: half of the transfers mint.
func writeTransfers(w *bufio.Writer, n int) error {
	random := rand.New(rand.NewPCG(2, 2))
	ids, balances := make([]string, fileHolders), make([]int64, fileHolders)
	for i := range ids {
		ids[i] = fmt.Sprintf("0x%016x%016x%08x", random.Uint64(), random.Uint64(), random.Uint32())
	}
	if _, err := w.WriteString("token_address,from_address,to_address,value,block_timestamp\n"); err != nil {
		return err
	}
	at := time.Unix(fileBegin, 0).UTC()
	for i := range n {
		at = at.Add(12 * time.Second * time.Duration(random.IntN(3)))
		from, to := random.IntN(fileHolders), random.IntN(fileHolders)
		sender, value := ids[from], balances[from]
		if value > 0 && i > fileHolders/2 {
			value = 1 + random.Int64N(value)
			balances[from] -= value
		} else {
			sender, value = "0x0000000000000000000000000000000000000000", 1+random.Int64N(1_000_000_000_000)
		}
		balances[to] += value
		if _, err := fmt.Fprintf(w, "TOK,%s,%s,%d,%s\n", sender, ids[to], value, at.Format(time.RFC3339)); err != nil {
			return err
		}
	}
	return nil
}
