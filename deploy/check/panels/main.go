// Command panels shows the dashboards of deploy/grafana without Grafana: it asks a
// Prometheus the queries of their panels, and writes a page of HTML for each dashboard.
//
//	cd deploy/check && go run ./panels -prometheus http://127.0.0.1:9099 -range 30m -out /tmp/panels
//
// It prints how many series each panel has, and ends with 1 if a query is refused.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"holdmetrics/deploy/check/monitoring"
)

// asked is what the command line asks for.
type asked struct {
	prometheus, dashboards, out string
	span                        time.Duration
	end                         time.Time
	values                      map[string]string // of variables
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	a := asked{values: map[string]string{}}
	flag.StringVar(&a.prometheus, "prometheus", "http://127.0.0.1:9090", "address of Prometheus")
	flag.StringVar(&a.dashboards, "dashboards", filepath.Join("..", "grafana", "dashboards"), "directory of the dashboards")
	flag.StringVar(&a.out, "out", "panels", "directory for the pages")
	flag.DurationVar(&a.span, "range", time.Hour, "time that the panels show")
	end := flag.String("end", "", "end of that time, as RFC 3339 (default: now)")
	flag.Func("var", "value of a variable of the dashboards, as NAME=VALUE; default: the first one that Prometheus knows", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return fmt.Errorf("%q is not NAME=VALUE", s)
		}
		a.values[name] = value
		return nil
	})
	flag.Parse()
	err := a.until(*end, time.Now())
	if err == nil {
		err = a.run(ctx, os.Stdout)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "panels:", err)
		os.Exit(1)
	}
}

func (a *asked) until(end string, now time.Time) (err error) {
	if a.end = now; end != "" {
		a.end, err = time.Parse(time.RFC3339, end)
	}
	return err
}

// run writes a page for each dashboard.
func (a *asked) run(ctx context.Context, out io.Writer) error {
	paths, err := filepath.Glob(filepath.Join(a.dashboards, "*.json"))
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("there are no dashboards in %s", a.dashboards)
	}
	if err := os.MkdirAll(a.out, 0o755); err != nil {
		return err
	}
	refused := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var d monitoring.Dashboard
		if err := json.Unmarshal(text, &d); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		bad, err := a.dashboard(ctx, &d, strings.TrimSuffix(filepath.Base(path), ".json"), out)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		refused += bad
	}
	if refused > 0 {
		return fmt.Errorf("Prometheus refuses %d queries", refused)
	}
	return nil
}

// dashboard writes the page of a dashboard, and returns how many queries are refused.
func (a *asked) dashboard(ctx context.Context, d *monitoring.Dashboard, name string, out io.Writer) (refused int, err error) {
	p := &prometheus{url: a.prometheus, end: a.end, span: a.span}
	values, err := a.variables(ctx, p, d)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "%s (%s)\n", d.Title, describe(values))
	page := page{title: d.Title, about: d.Description, values: describe(values), from: a.end.Add(-a.span), to: a.end}
	for _, panel := range d.Panels {
		shown := shown{Panel: panel}
		for _, t := range panel.Targets {
			series, err := p.query(ctx, expand(t.Expr, values), t.Instant)
			if err != nil {
				refused++
				shown.err = err
				fmt.Fprintf(out, "  %s: %v\n", panel.Title, err)
				continue
			}
			for _, s := range series {
				s.name = legend(t.LegendFormat, s.labels)
				shown.series = append(shown.series, s)
			}
		}
		fmt.Fprintf(out, "  %-32s %d series\n", panel.Title, len(shown.series))
		page.panels = append(page.panels, shown)
	}
	return refused, os.WriteFile(filepath.Join(a.out, name+".html"), page.html(), 0o644)
}

// variables returns the values of a dashboard's variables, in their order.
func (a *asked) variables(ctx context.Context, p *prometheus, d *monitoring.Dashboard) (values [][2]string, err error) {
	values = [][2]string{{"__rate_interval", "1m"}} // four scrapes of 15 s
	for _, v := range d.Templating.List {
		value, given := a.values[v.Name]
		switch m := labelValues.FindStringSubmatch(v.Query); {
		case given || v.Type != "query":
		case v.AllValue != "":
			value = v.AllValue
		case m == nil:
			return nil, fmt.Errorf("variable %s has the query %q, which is not label_values(series, label)", v.Name, v.Query)
		default:
			if value, err = p.first(ctx, expand(m[1], values), m[2]); err != nil {
				return nil, fmt.Errorf("variable %s: %w", v.Name, err)
			}
		}
		values = append(values, [2]string{v.Name, value})
	}
	return values, nil
}

var labelValues = regexp.MustCompile(`^label_values\((.+), *(\w+)\)$`)

// expand puts the values of variables into a query.
func expand(query string, values [][2]string) string {
	for _, v := range values {
		query = strings.NewReplacer("${"+v[0]+"}", v[1], "$"+v[0], v[1]).Replace(query)
	}
	return query
}

func describe(values [][2]string) string {
	var all []string
	for _, v := range values {
		if v[1] != "" && !strings.HasPrefix(v[0], "__") {
			all = append(all, v[0]+" "+v[1])
		}
	}
	return strings.Join(all, ", ")
}

var inLegend = regexp.MustCompile(`\{\{ *(\w+) *\}\}`)

// legend returns the name of a series by the format of its panel.
func legend(format string, labels map[string]string) string {
	return inLegend.ReplaceAllStringFunc(format, func(m string) string { return labels[inLegend.FindStringSubmatch(m)[1]] })
}
