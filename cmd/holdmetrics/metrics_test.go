package main

import (
	"bytes"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"holdmetrics/internal/tlsfiles/tlstest"
	holdpb "holdmetrics/proto"
)

var updateMetrics = flag.Bool("update-metrics", false, "write the table of docs/metrics.md")

// TestMetrics gathers the metrics of serve, a gateway and a worker as they run, checks
// their names, units and help texts, and compares them with docs/metrics.md. After a
// change:
//
//	go test ./cmd/holdmetrics -run 'TestMetrics$' -update-metrics
func TestMetrics(t *testing.T) {
	t.Parallel()
	nats := startNATS(t)
	authority, dir := tlstest.New(t), t.TempDir()
	cert, key := authority.Issue(t, tlstest.Cert{}).Write(t, dir, "worker")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}}, Timeout: time.Minute}
	serve := start(t, "serve", "--data-dir", t.TempDir(), "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0")
	gateway := start(t, "gateway", "--nats-url", nats, "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--partitions", "4")
	worker := start(t, "worker", "--nats-url", nats, "--store", "embedded", "--data-dir", t.TempDir(), "--metrics-address", "127.0.0.1:0", "--partitions", "4", "--tls-cert", cert, "--tls-key", key)
	ports := map[string]string{}
	for role, c := range map[string]*command{"serve": serve, "gateway": gateway} {
		conn := dialGateway(t, c.address(t, "gRPC"))
		web := c.address(t, "HTTP")
		ports[role] = "http://" + c.address(t, "metrics")
		record(t, conn, "h", 1000, 2000)
		snapshots(t, conn, map[string]int64{"h": 1000})
		watch, err := holdpb.NewHoldMetricsClient(conn).Stats(t.Context(), &holdpb.StatsRequest{Watch: true})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := watch.Recv(); err != nil {
			t.Fatal(err)
		}
		if code, text := get(t, "http://"+web+"/stats"); code != http.StatusOK {
			t.Fatalf("%d %s", code, text)
		}
	}
	ports["worker"] = worker.address(t, "HTTP") // with its scheme, https
	// Who is refused is counted by servers with authentication.
	guarded := start(t, "serve", "--auth", "on", "--data-dir", t.TempDir(), "--grpc-address", "127.0.0.1:0", "--http-address", "127.0.0.1:0", "--nats-address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0")
	ports["gateway, serve"] = "http://" + guarded.address(t, "metrics")

	kinds := map[string]*documentedMetric{}
	for role, port := range ports {
		seen := map[string]bool{} // the log is looked at in the background
		eventually(t, "metrics of "+role, func() error {
			answer, err := client.Get(port + "/metrics")
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			text, err := io.ReadAll(answer.Body)
			if err != nil || answer.StatusCode != http.StatusOK {
				return fmt.Errorf("%s %s, %v", answer.Status, text, err)
			}
			families, err := parseMetrics(string(text))
			if err != nil {
				return err
			}
			for name, family := range families {
				if !seen[name] {
					seen[name] = true
					lintMetric(t, family)
				}
				if m := family.GetMetric(); name == "holdmetrics_pending_limit_bytes" && m[0].GetGauge().GetValue() == 0 {
					return fmt.Errorf("what waits for the log of %s has no bound, or is said to have none", role)
				}
				if role == "gateway, serve" && !strings.HasPrefix(name, "holdmetrics_auth_") {
					continue
				}
				if kinds[name] == nil {
					kinds[name] = &documentedMetric{name: name, labels: map[string]bool{}, roles: map[string]bool{}}
				}
				for r := range strings.SplitSeq(role, ", ") {
					if r == role || strings.HasPrefix(name, "holdmetrics_auth_") {
						kinds[name].add(r, family)
					}
				}
			}
			if !seen["holdmetrics_stream_replicas"] {
				return fmt.Errorf("nobody has looked at the log yet")
			}
			return nil
		})
	}
	for name, d := range kinds {
		if strings.HasPrefix(name, "holdmetrics_certificate_") { // only the worker has one here
			d.roles["serve"], d.roles["gateway"] = true, true
		}
	}
	table := metricsTable(kinds)
	path := filepath.Join("..", "..", "docs", "metrics.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte("<!-- metrics -->\n"))
	old, after, ends := bytes.Cut(rest, []byte("<!-- end -->\n"))
	if !ok || !ends {
		t.Fatal("docs/metrics.md has no place for the table")
	}
	if string(old) == table {
		return
	}
	if !*updateMetrics {
		t.Fatalf("docs/metrics.md is out of date: go test ./cmd/holdmetrics -run 'TestMetrics$' -update-metrics\n%s", table)
	}
	page = slices.Concat(before, []byte("<!-- metrics -->\n"+table+"<!-- end -->\n"), after)
	if err := os.WriteFile(path, page, 0o644); err != nil {
		t.Fatal(err)
	}
}

func parseMetrics(text string) (map[string]*dto.MetricFamily, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(strings.NewReader(text))
}

// isOurs reports whether a metric is not one of the Go runtime, the process or promhttp.
func isOurs(name string) bool {
	return strings.HasPrefix(name, "holdmetrics_") || strings.HasPrefix(name, "hold_")
}

// lintMetric checks a metric by the conventions of Prometheus, and by ours.
func lintMetric(t *testing.T, f *dto.MetricFamily) {
	t.Helper()
	if !isOurs(f.GetName()) {
		return
	}
	problems, err := promlint.NewWithMetricFamilies([]*dto.MetricFamily{f}).Lint()
	if err != nil {
		t.Error(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	if help := f.GetHelp(); !strings.HasSuffix(help, ".") || len(help) > 160 {
		t.Errorf("%s: the help text is no sentence, or too long: %q", f.GetName(), help)
	}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if strings.ToLower(l.GetName()) != l.GetName() {
				t.Errorf("%s: label %s is not in lower case", f.GetName(), l.GetName())
			}
		}
	}
}

// documentedMetric is a line of the table.
type documentedMetric struct {
	name, kind, help string
	labels, roles    map[string]bool
}

func (d *documentedMetric) add(role string, f *dto.MetricFamily) {
	d.kind, d.help, d.roles[role] = strings.ToLower(f.GetType().String()), f.GetHelp(), true
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			d.labels[l.GetName()] = true
		}
	}
}

func metricsTable(kinds map[string]*documentedMetric) string {
	var b strings.Builder
	b.WriteString("| Metric | Type | Labels | Of | Meaning |\n| --- | --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		if !isOurs(name) {
			continue
		}
		d := kinds[name]
		labels := ""
		if len(d.labels) > 0 {
			labels = "`" + strings.Join(slices.Sorted(maps.Keys(d.labels)), "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", name, d.kind, labels, strings.Join(slices.Sorted(maps.Keys(d.roles)), ", "), d.help)
	}
	return strings.ReplaceAll(b.String(), "|  |", "| |")
}
