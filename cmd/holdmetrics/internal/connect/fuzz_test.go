package connect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

// FuzzProfiles reads any file as that of the profiles. No error quotes it, as it has keys
// in it, and what is read is kept as the same.
func FuzzProfiles(f *testing.F) {
	for _, seed := range []string{"", "profiles: {a: {}}\n", "profiles:\n  prod:\n    server: h:1\n    token: open-sesame-at-once-now\n", "profiles: [open-sesame-at-once-now]\n", "- sesame", "a: &a [*a]"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "profiles")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c := &cobra.Command{}
		c.SetContext(settings.WithEnvironment(t.Context(), func(name string) string {
			if name == envProfiles {
				return path
			}
			return ""
		}))
		p, err := ReadProfiles(c)
		if err != nil {
			for line := range strings.Lines(string(text)) {
				if line = strings.TrimSpace(line); len(line) > 20 && strings.Contains(err.Error(), line) {
					t.Fatalf("the error %q quotes the file", err)
				}
			}
			return
		}
		if err := p.Save(); err != nil {
			t.Fatal(err)
		}
		again, err := ReadProfiles(c)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(p.Profiles, again.Profiles); d != "" {
			t.Fatalf("what was read is kept as another one: %s", d)
		}
	})
}
