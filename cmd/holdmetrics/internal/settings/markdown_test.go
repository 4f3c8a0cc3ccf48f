package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// docs/settings.md is what the flags and variables are.
func TestSettingsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "..", "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != Markdown() {
		t.Error("docs/settings.md is out of date: run 'make generate'")
	}
	rows := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if name, row, ok := strings.Cut(strings.TrimPrefix(line, "| `--"), "` | "); ok {
			rows[name] = row
		}
	}
	All().VisitAll(func(f *pflag.Flag) {
		for _, name := range Variables(f.Name) {
			if !strings.Contains(rows[f.Name], "`"+name+"`") {
				t.Errorf("--%s: %s is missing in %q", f.Name, name, rows[f.Name])
			}
			if strings.Count(rows[f.Name], name) > 1 {
				t.Errorf("--%s names %s twice: %q", f.Name, name, rows[f.Name])
			}
		}
	})
	if len(rows) < 25 {
		t.Errorf("%d rows", len(rows))
	}
}

// Every variable belongs to a flag, and every flag of a setting has a variable that
// its help names.
func TestVariablesAndFlagsMatch(t *testing.T) {
	t.Parallel()
	all := All()
	for name, key := range Environment {
		if all.Lookup(key) == nil {
			t.Errorf("%s is of --%s, which is no flag", name, key)
		}
	}
	all.VisitAll(func(f *pflag.Flag) {
		names := Variables(f.Name)
		if len(names) == 0 {
			t.Errorf("--%s has no variable", f.Name)
		}
		for _, name := range names {
			if !strings.Contains(f.Usage, name) {
				t.Errorf("the help of --%s does not name %s: %s", f.Name, name, f.Usage)
			}
		}
	})
}
