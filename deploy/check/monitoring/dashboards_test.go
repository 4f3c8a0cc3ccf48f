package monitoring

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
)

var update = flag.Bool("update", false, "write the dashboards")

const (
	dashboardDir = "../../grafana/dashboards"
	metricsPage  = "../../../docs/metrics.md"
)

// The files are what the code says. After a change: go test ./monitoring -update
func TestDashboardFiles(t *testing.T) {
	t.Parallel()
	files, err := Dashboards()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dashboardDir, name)
		if *update {
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if old, err := os.ReadFile(path); err != nil || !bytes.Equal(old, text) {
			t.Errorf("%s is out of date: go test ./monitoring -update (%v)", path, err)
		}
	}
	found, err := filepath.Glob(filepath.Join(dashboardDir, "*.json"))
	if err != nil || len(found) != len(files) {
		t.Errorf("%d files, %d dashboards, %v", len(found), len(files), err)
	}
}

// Panels are of kinds and units that Grafana has, have ids of their own, and do not cover
// one another; each query has a reference of its own, and each dashboard a uid.
func TestDashboardsAreSound(t *testing.T) {
	t.Parallel()
	uids := map[string]bool{}
	for name, d := range readDashboards(t) {
		if d.UID == "" || len(d.UID) > 40 || uids[d.UID] || d.Title == "" || d.SchemaVersion < 36 {
			t.Errorf("%s: uid %q, title %q, schema %d", name, d.UID, d.Title, d.SchemaVersion)
		}
		uids[d.UID] = true
		if v := d.Templating.List[0]; v.Type != "datasource" || v.Query != "prometheus" {
			t.Errorf("%s: the data source cannot be chosen", name)
		}
		ids, cells := map[int]bool{}, map[[2]int]string{}
		for _, p := range d.Panels {
			if p.ID <= 0 || ids[p.ID] || p.Title == "" || p.Description == "" || len(p.Targets) == 0 {
				t.Errorf("%s: panel %d %q: its id is taken, or it says nothing", name, p.ID, p.Title)
			}
			ids[p.ID] = true
			unit := p.FieldConfig["defaults"].(map[string]any)["unit"]
			if !slices.Contains([]any{"short", "s", "bytes", "ops", "reqps"}, unit) || !slices.Contains([]string{"stat", "timeseries"}, p.Type) {
				t.Errorf("%s: %s: %s in %v", name, p.Title, p.Type, unit)
			}
			if p.Datasource.UID != "${datasource}" {
				t.Errorf("%s: %s has a data source of its own", name, p.Title)
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				// The last value of a series that is over must not stand for now.
				if q.Instant != (p.Type == "stat") {
					t.Errorf("%s: %s: an instant query: %t", name, p.Title, q.Instant)
				}
				if refs[q.RefID] || q.Datasource.UID != "${datasource}" {
					t.Errorf("%s: %s: query %s", name, p.Title, q.RefID)
				}
				refs[q.RefID] = true
			}
			g := p.GridPos
			if g.X < 0 || g.W <= 0 || g.H <= 0 || g.X+g.W > 24 {
				t.Errorf("%s: %s is outside: %+v", name, p.Title, g)
			}
			for x := g.X; x < g.X+g.W; x++ {
				for y := g.Y; y < g.Y+g.H; y++ {
					if other, taken := cells[[2]int{x, y}]; taken {
						t.Fatalf("%s: %s covers %s", name, p.Title, other)
					}
					cells[[2]int{x, y}] = p.Title
				}
			}
		}
	}
}

// readDashboards reads the files strictly.
func readDashboards(t *testing.T) map[string]Dashboard {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dashboardDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Dashboard{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		var d Dashboard
		if err := decoder.Decode(&d); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		all[filepath.Base(path)] = d
	}
	return all
}

var (
	metricRow = regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (\\w+) \\|([^|]*)\\|")
	quoted    = regexp.MustCompile("`([a-z0-9_]+)`")
	values    = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
)

// exported returns the labels of every name that a query may use: those of
// docs/metrics.md, recorded ones, and those that every target of Prometheus has.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{
		"up": {}, "ALERTS": {"alertname", "alertstate", "severity"},
		"process_cpu_seconds_total": {}, "process_resident_memory_bytes": {},
	}
	for _, row := range metricRow.FindAllStringSubmatch(string(page), -1) {
		var names []string
		for _, l := range quoted.FindAllStringSubmatch(row[3], -1) {
			names = append(names, l[1])
		}
		switch row[2] {
		case "histogram":
			all[row[1]+"_bucket"], all[row[1]+"_sum"], all[row[1]+"_count"] = append(slices.Clone(names), "le"), names, names
		default:
			all[row[1]] = names
		}
	}
	if len(all) < 60 {
		t.Fatalf("%d metrics in %s", len(all), metricsPage)
	}
	m := rules.NewManager(&rules.ManagerOptions{Context: t.Context(), Logger: promslog.NewNopLogger(), Parser: parser.NewParser(parser.Options{})})
	for _, g := range loadGroups(t, m) {
		for _, r := range g.Rules() {
			if _, ok := r.(*rules.RecordingRule); ok {
				all[r.Name()] = recordedLabels(r.Query())
			}
		}
	}
	return all
}

// recordedLabels are the labels that the outermost aggregation of a rule keeps.
func recordedLabels(e parser.Expr) (kept []string) {
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		if a, ok := n.(*parser.AggregateExpr); ok && kept == nil {
			kept = slices.DeleteFunc(slices.Clone(a.Grouping), func(l string) bool { return l == "le" })
		}
		return nil
	})
	return kept
}

// check reports the names and labels of an expression that nobody exports.
func check(t *testing.T, where, text string, known map[string][]string) {
	t.Helper()
	e, err := parser.NewParser(parser.Options{}).ParseExpr(strings.ReplaceAll(text, "$__rate_interval", "5m"))
	if err != nil {
		t.Errorf("%s: %v\n%s", where, err, text)
		return
	}
	usable := map[string]bool{"job": true, "instance": true}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		s, ok := n.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		has, exists := known[s.Name]
		if !exists {
			t.Errorf("%s: nobody exports %s", where, s.Name)
		}
		for _, l := range has {
			usable[l] = true
		}
		for _, m := range s.LabelMatchers {
			if m.Name != labels.MetricName && m.Name != "job" && m.Name != "instance" && !slices.Contains(has, m.Name) {
				t.Errorf("%s: %s has no label %s", where, s.Name, m.Name)
			}
		}
		return nil
	})
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		var names []string
		switch n := n.(type) {
		case *parser.AggregateExpr:
			names = n.Grouping
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				names = n.VectorMatching.MatchingLabels
			}
		}
		for _, l := range names {
			if !usable[l] {
				t.Errorf("%s: no metric of it has the label %s\n%s", where, l, text)
			}
		}
		return nil
	})
}

var inLegend = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// Every metric and label that dashboards, rules and alerts name is one that the processes
// export.
func TestQueriesNameWhatIsExported(t *testing.T) {
	t.Parallel()
	known := exported(t)
	m := rules.NewManager(&rules.ManagerOptions{Context: t.Context(), Logger: promslog.NewNopLogger(), Parser: parser.NewParser(parser.Options{})})
	for _, g := range loadGroups(t, m) {
		for _, r := range g.Rules() {
			check(t, r.Name(), r.Query().String(), known)
		}
	}
	for name, d := range readDashboards(t) {
		for _, v := range d.Templating.List {
			if v.Type == "query" {
				parts := values.FindStringSubmatch(v.Query)
				if parts == nil {
					t.Errorf("%s: variable %s: %s", name, v.Name, v.Query)
					continue
				}
				check(t, name, parts[1], known)
				metric, _, _ := strings.Cut(parts[1], "{")
				if l := parts[2]; l != "job" && l != "instance" && !slices.Contains(known[metric], l) {
					t.Errorf("%s: %s has no label %s", name, metric, l)
				}
			}
		}
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				where := name + ", " + p.Title
				check(t, where, q.Expr, known)
				for _, l := range inLegend.FindAllStringSubmatch(q.LegendFormat, -1) {
					if !strings.Contains(q.Expr, l[1]) && l[1] != "instance" && !hasLabel(q.Expr, l[1], known) {
						t.Errorf("%s: the legend names %s, which the query has not", where, l[1])
					}
				}
			}
		}
	}
}

// hasLabel reports whether a metric that an expression names has a label.
func hasLabel(text, label string, known map[string][]string) bool {
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if strings.Contains(text, name) && slices.Contains(known[name], label) {
			return true
		}
	}
	return false
}
