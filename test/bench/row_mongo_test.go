package main

import (
	"testing"

	"holdmetrics/test/bench/internal/report"
)

func TestReadBenchmark(t *testing.T) {
	t.Parallel()
	const output = "tested with some server, a stand-in\ngoos: linux\nBenchmarkFlush-2 \t 40\t 180 ns/op\t 29000 documents/s\t 0.975 share\nPASS\n"
	var l report.Line
	share, err := readBenchmark(&l, output)
	if err != nil || share != 0.975 || l.Value != 29000 || l.Note != "tested with some server, a stand-in" || l.Skipped != "" {
		t.Errorf("%+v, share %v, %v", l, share, err)
	}
	l = report.Line{}
	if _, err := readBenchmark(&l, "the tests of this package are skipped: there is no Java\nPASS\n"); err != nil || l.Skipped != "there is no Java" {
		t.Errorf("%+v, %v", l, err)
	}
	for _, out := range []string{"", "PASS\n", "BenchmarkFlush-2 40 180 ns/op\n", "BenchmarkFlush-2 40 180 ns/op x documents/s\n"} {
		if _, err := readBenchmark(new(report.Line), out); err == nil {
			t.Errorf("%q passes", out)
		}
	}
}
