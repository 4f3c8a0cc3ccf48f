// Command promlint checks the names, units, types and help texts of all metrics by the
// conventions of Prometheus. It reads them from the table of docs/metrics.md, which
// TestMetrics of cmd/holdmetrics holds to what the processes export.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
)

func main() {
	page := flag.String("page", "docs/metrics.md", "page with the table of metrics")
	flag.Parse()
	if err := check(*page, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "promlint:", err)
		os.Exit(1)
	}
}

// check writes what is wrong with the metrics of a page, and returns an error if anything is.
func check(path string, out io.Writer) error {
	page, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	families, err := parse(page)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		return err
	}
	for _, p := range problems {
		fmt.Fprintf(out, "%s: %s\n", p.Metric, p.Text)
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d problems: rename the metrics, or mend their help texts", len(problems))
	}
	fmt.Fprintf(out, "%d metrics follow the conventions of Prometheus\n", len(families))
	return nil
}

// parse returns the metrics of the table of a page, each with one series that has its labels.
func parse(page []byte) ([]*dto.MetricFamily, error) {
	_, rest, ok := bytes.Cut(page, []byte("<!-- metrics -->\n"))
	table, _, ends := bytes.Cut(rest, []byte("<!-- end -->\n"))
	if !ok || !ends {
		return nil, errors.New("there is no table between <!-- metrics --> and <!-- end -->")
	}
	var families []*dto.MetricFamily
	for line := range strings.Lines(string(table)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 {
			return nil, fmt.Errorf("%d cells, want 5: %s", len(cells), line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		metric := &dto.Metric{}
		kind := dto.MetricType_UNTYPED
		switch cells[1] {
		case "counter":
			kind, metric.Counter = dto.MetricType_COUNTER, &dto.Counter{}
		case "gauge":
			kind, metric.Gauge = dto.MetricType_GAUGE, &dto.Gauge{}
		case "histogram":
			kind, metric.Histogram = dto.MetricType_HISTOGRAM, &dto.Histogram{}
		default:
			return nil, fmt.Errorf("%s has the unknown type %q", cells[0], cells[1])
		}
		for label := range strings.SplitSeq(cells[2], ",") {
			if label = strings.Trim(label, " `"); label != "" {
				metric.Label = append(metric.Label, &dto.LabelPair{Name: &label, Value: new(string)})
			}
		}
		name := strings.Trim(cells[0], "`")
		f := &dto.MetricFamily{Name: &name, Type: &kind, Metric: []*dto.Metric{metric}}
		if cells[4] != "" {
			f.Help = &cells[4]
		}
		families = append(families, f)
	}
	if len(families) == 0 {
		return nil, errors.New("the table has no metrics")
	}
	return families, nil
}
