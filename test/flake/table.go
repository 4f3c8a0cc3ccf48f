package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// writeTable writes what became of the runs, a package a line: beside the counts, the
// average and the slowest time of a run, and the processor time of an average one.
func writeTable(out io.Writer, results []result) {
	if len(results) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "package\truns\tfailures\taverage\tslowest\tprocessor\t\n")
	for _, r := range results {
		average, cpu := time.Duration(0), time.Duration(0)
		if r.runs > 0 {
			average, cpu = r.total/time.Duration(r.runs), r.cpu/time.Duration(r.runs)
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%.1fs\t%.1fs\t%.1fs\t\n", r.name, r.runs, r.failures, average.Seconds(), r.slowest.Seconds(), cpu.Seconds())
	}
	_ = w.Flush()
}
