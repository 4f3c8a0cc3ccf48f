// Package systemd tests the units by systemd's own program, where it is installed.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var dir = filepath.Join("..", "..", "systemd")

// units returns the paths of copies of the units, whose program is one that every machine
// has: systemd checks that it is there.
func units(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "*.service"))
	if err != nil || len(found) != 3 {
		t.Fatal(found, err)
	}
	present, err := exec.LookPath("true")
	if err != nil {
		t.Skip("there is no program to put in place of holdmetrics")
	}
	to := t.TempDir()
	var copies []string
	for _, path := range found {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "ExecStart=/usr/bin/holdmetrics ") {
			t.Errorf("%s does not start /usr/bin/holdmetrics", path)
		}
		copied := filepath.Join(to, filepath.Base(path))
		if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(text), "/usr/bin/holdmetrics", present)), 0o644); err != nil {
			t.Fatal(err)
		}
		copies = append(copies, copied)
	}
	return copies
}

func analyze(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze on this machine; apt-get install systemd")
	}
	return path
}

// Units have no error and no unknown setting.
func TestUnitsAreVerified(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(analyze(t), append([]string{"verify", "--man=no", "--recursive-errors=no"}, units(t)...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// Units are exposed by 2.0 at most, on a scale to 10.
func TestUnitsAreHardened(t *testing.T) {
	t.Parallel()
	for _, unit := range units(t) {
		out, err := exec.Command(analyze(t), "security", "--offline=true", "--no-pager", "--threshold=20", unit).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", filepath.Base(unit), err, out)
		}
		t.Log(strings.TrimSpace(string(out[strings.LastIndex(string(out), "→"):])))
	}
}

// Every variable in units and files of settings is a setting.
func TestSettingsAreKnown(t *testing.T) {
	t.Parallel()
	known, err := os.ReadFile(filepath.Join(dir, "..", "..", "docs", "settings.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^(?:#|Environment=)?([A-Z][A-Z0-9_]+)=`)
	count := 0
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllSubmatch(text, -1) {
			count++
			if !strings.Contains(string(known), "`"+string(m[1])+"`") {
				t.Errorf("%s has %s, which no setting has", filepath.Base(path), m[1])
			}
		}
	}
	if count < 5 {
		t.Errorf("%d variables were found", count)
	}
}
