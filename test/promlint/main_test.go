package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Names, units, types and labels that Prometheus advises against are found.
func TestCheck(t *testing.T) {
	t.Parallel()
	for row, want := range map[string]string{
		"| `hm_events_total` | counter | `reason` | serve | Events. |":   "1 metrics follow",
		"| `hm_events` | counter | | serve | Events. |":                  `hm_events: counter metrics should have "_total" suffix`,
		"| `hm_lag_ms` | gauge | | serve | Lag. |":                       "hm_lag_ms: metric names should not contain abbreviated units",
		"| `hm_lag_minutes` | gauge | | serve | Lag. |":                  `hm_lag_minutes: use base unit "seconds"`,
		"| `hm_events_total` | gauge | | serve | Events. |":              `hm_events_total: non-counter metrics should not have "_total" suffix`,
		"| `hm_events_total` | counter | `leReason` | serve | Events. |": "snake_case",
		"| `hm_events_total` | counter | | serve | |":                    "no help text",
	} {
		path := filepath.Join(t.TempDir(), "metrics.md")
		if err := os.WriteFile(path, []byte("<!-- metrics -->\n"+row+"\n<!-- end -->\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := check(path, &out)
		if !strings.Contains(out.String(), want) || (err == nil) != strings.Contains(want, "follow") {
			t.Errorf("%s\ngives %v and\n%s\nwant %s", row, err, &out, want)
		}
	}
}

// A page without the table is an error, not a page without problems.
func TestPageWithoutTable(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"", "<!-- metrics -->\n<!-- end -->\n", "<!-- metrics -->\n| `a` | summary | | serve | A. |\n<!-- end -->\n"} {
		if families, err := parse([]byte(page)); err == nil {
			t.Errorf("%q gives %v", page, families)
		}
	}
}
