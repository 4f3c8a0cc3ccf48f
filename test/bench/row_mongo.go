package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"holdmetrics/test/bench/internal/report"
)

// mongoRow is what the Mongo store takes from the database: flushes of 2,000 new
// facts, their pairs and their holders, against the driver's own bulk writes of
// the same documents, which are made beforehand; the two take turns. Making and
// guarding the documents, looking for another owner and the order of a flush
// (facts, figures, checkpoint) are in the one and not in the other. The server is
// the one that the store's tests find, named in the note; on the stand-in the
// server's work is most of both. It runs BenchmarkFlush of projection/mongo, which
// knows the documents.
type mongoRow struct{ often }

func (mongoRow) name() string { return "mongo" }
func (mongoRow) about() string {
	return "mongo: the MongoDB store's flush against the driver's bulk writes of the same documents"
}

func (mongoRow) run(ctx context.Context, b *bench) ([]report.Line, error) {
	l := report.Line{Name: "MongoDB store, flush", Unit: "documents/s", Against: "driver's bulk writes", Aim: report.Aim{report.RatioAtLeast(0.9)}}
	times := fmt.Sprintf("-benchtime=%dx", b.size(40))
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkFlush$", times, "holdmetrics/projection/mongo").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	share, err := readBenchmark(&l, string(out))
	if err != nil {
		return nil, err
	}
	if l.Skipped == "" {
		l.AgainstValue = l.Value / share
	}
	return []report.Line{l}, nil
}

// readBenchmark reads what the benchmark of the store printed, and gives its share
// of the driver's throughput.
func readBenchmark(l *report.Line, out string) (share float64, err error) {
	for text := range strings.Lines(out) {
		text = strings.TrimSpace(text)
		if server, ok := strings.CutPrefix(text, "tested with "); ok {
			l.Note = "tested with " + server
		}
		if why, ok := strings.CutPrefix(text, "the tests of this package are skipped: "); ok {
			l.Skipped = why
			return 0, nil
		}
		if !strings.HasPrefix(text, "BenchmarkFlush") {
			continue
		}
		f := strings.Fields(text)
		for i := 2; i+1 < len(f); i += 2 {
			to := map[string]*float64{"documents/s": &l.Value, "share": &share}[f[i+1]]
			if to == nil {
				continue
			}
			if *to, err = strconv.ParseFloat(f[i], 64); err != nil {
				return 0, err
			}
		}
	}
	if l.Value <= 0 || share <= 0 || l.Note == "" {
		return 0, errors.New("the store's benchmark did not say how fast it was:\n" + out)
	}
	return share, nil
}
