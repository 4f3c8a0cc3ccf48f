package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"holdmetrics/tools/release/legal"
)

// program stands for holdmetrics: it has a dependency, completions and manual pages, and
// is built in seconds.
const program = `package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

func main() {
	switch os.Args[1] {
	case "completion":
		fmt.Println("# completion of", os.Args[2])
	case "man":
		if err := os.MkdirAll(os.Args[2], 0o755); err != nil {
			panic(err)
		}
		if err := os.WriteFile(filepath.Join(os.Args[2], "holdmetrics.1"), []byte(".TH HOLDMETRICS\n"), 0o644); err != nil {
			panic(err)
		}
	default:
		fmt.Println(uuid.Nil)
	}
}
`

// audit stands for holdmetrics-audit, whose module uses the product's.
const audit = `package main

import (
	"fmt"

	"holdmetrics/names"
)

var released string

func main() { fmt.Println(names.Audit, released) }
`

// repository makes a repository with the program in a directory, always the same commit.
func repository(t *testing.T, dir string) {
	t.Helper()
	write := func(name, text string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module holdmetrics\n\ngo 1.26.0\n\nrequire github.com/google/uuid v1.6.0\n")
	write("go.sum", "github.com/google/uuid v1.6.0 h1:NIvaJDMOsjHA8n1jAhLSgzrAzy1Hgr+hNrb57e+94F0=\n"+
		"github.com/google/uuid v1.6.0/go.mod h1:TIyPZe4MgqvfeYDBFedMoGGpEw/LqOeaOT+nhxU+yHo=\n")
	write("cmd/holdmetrics/main.go", program)
	write("names/names.go", "// Package names is of the product, and used by another module.\npackage names\n\n// Audit is a name.\nconst Audit = \"audit\"\n")
	write("audit/go.mod", "module holdmetrics/audit\n\ngo 1.26.0\n\nreplace holdmetrics => ../\n\nrequire holdmetrics v0.0.0-00010101000000-000000000000\n")
	write("audit/cmd/holdmetrics-audit/main.go", audit)
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "docs/audit.md"} {
		write(name, name+"\n")
	}
	for _, name := range append([]string{"postinstall.sh", "preremove.sh"}, units...) {
		text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "systemd", name))
		if err != nil {
			t.Fatal(err)
		}
		write("deploy/systemd/"+name, string(text))
	}
	git(t, dir, "init", "-q")
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "-m", "a commit")
}

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	const date = "2026-03-04T05:06:07Z"
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_DATE="+date, "GIT_COMMITTER_DATE="+date, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// contents returns the files of a directory, by name.
func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]byte{}
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// The same commit in two directories gives the same bytes, and no file is missing.
func TestReleaseIsReproducible(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on this machine")
	}
	targets := []legal.Target{{OS: "linux", Arch: "amd64"}, {OS: "windows", Arch: "arm64"}, {OS: "freebsd", Arch: "amd64"}}
	var releases []map[string][]byte
	for _, name := range []string{"one", "another/deeper"} {
		root, out := filepath.Join(t.TempDir(), name), filepath.Join(t.TempDir(), "out")
		repository(t, root)
		r, err := newRelease(context.Background(), root, out, targets, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.make(context.Background(), io.Discard); err != nil {
			t.Fatal(err)
		}
		releases = append(releases, contents(t, out))
	}
	first, second := releases[0], releases[1]
	if len(first) != 17 { // holdmetrics-audit is not built for FreeBSD
		t.Errorf("the release has %d files, want 17", len(first))
	}
	for name, text := range first {
		if !bytes.Equal(text, second[name]) {
			t.Errorf("%s is not the same in another directory", name)
		}
		if name != "SHA256SUMS" && !bytes.Contains(first["SHA256SUMS"], []byte("  "+name+"\n")) {
			t.Errorf("SHA256SUMS has no %s", name)
		}
		if !strings.HasSuffix(name, "linux_amd64.cdx.json") {
			continue
		}
		var bom cdx.BOM
		if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
			t.Fatal(err)
		}
		parts := *bom.Components
		if strings.HasPrefix(name, "holdmetrics-audit_") {
			if len(parts) != 2 || parts[1].Name != "holdmetrics" || parts[1].Version != bom.Metadata.Component.Version {
				t.Errorf("the bill of materials has %+v", parts)
			}
			continue
		}
		if len(parts) != 2 || parts[1].Name != "github.com/google/uuid" || (*parts[1].Licenses)[0].License.ID != "BSD-3-Clause" {
			t.Errorf("the bill of materials has %+v", parts)
		}
	}
}

// A release is made of a commit, not of what somebody has changed since.
func TestReleaseRefusesChangedFiles(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "root")
	repository(t, root)
	if err := os.WriteFile(filepath.Join(root, "README.md"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := newRelease(context.Background(), root, filepath.Join(t.TempDir(), "out"), nil, false)
	if err == nil || !strings.Contains(err.Error(), "README.md") {
		t.Errorf("changed files give %v", err)
	}
}

func TestPackageVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string][2]string{
		"1.2.3":                                    {"1.2.3", ""},
		"1.2.3-rc.1":                               {"1.2.3", "rc.1"},
		"0.0.0-20261201073241-a9923520ccdc":        {"0.0.0", "git20261201073241"},
		"1.2.4-0.20261201073241-a9923520ccdc":      {"1.2.4", "git20261201073241"},
		"1.3.0-rc.1.0.20261201073241-a9923520ccdc": {"1.3.0", "git20261201073241"},
		"0.0.0-20261201073241-a9923520ccdc+dirty":  {"0.0.0", "git20261201073241"},
	} {
		number, before := packageVersion(version)
		if got := [2]string{number, before}; got != want {
			t.Errorf("%s becomes %q, want %q", version, got, want)
		}
	}
}

// A package is unpacked by the program of the distribution, and the units in it are at
// their places.
func TestDebIsUnpacked(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("packages are for Linux")
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("there is no dpkg-deb on this machine")
	}
	root, out := filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "out")
	repository(t, root)
	r, err := newRelease(context.Background(), root, out, []legal.Target{{OS: "linux", Arch: "amd64"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.make(context.Background(), io.Discard); err != nil {
		t.Fatal(err)
	}
	debs, err := filepath.Glob(filepath.Join(out, "*.deb"))
	if err != nil || len(debs) != 2 {
		t.Fatal(debs, err)
	}
	system := t.TempDir()
	for _, deb := range debs {
		if out, err := exec.Command("dpkg-deb", "-x", deb, system).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	// The release sets its version, which is not that of its module.
	text, err := exec.Command(filepath.Join(system, "usr", "bin", "holdmetrics-audit")).Output()
	if want := "audit v" + r.version; err != nil || strings.TrimSpace(string(text)) != want {
		t.Errorf("holdmetrics-audit says %q (%v), want %q", text, err, want)
	}
	for path, mode := range map[string]os.FileMode{
		"usr/bin/holdmetrics": 0o755, "usr/bin/holdmetrics-audit": 0o755, "usr/share/doc/holdmetrics-audit/audit.md": 0o644,
		"usr/lib/systemd/system/holdmetrics-worker.service": 0o644, "usr/lib/sysusers.d/holdmetrics.conf": 0o644,
		"etc/holdmetrics/serve.env": 0o640, "usr/share/man/man1/holdmetrics.1.gz": 0o644, "usr/share/doc/holdmetrics/THIRD_PARTY_LICENSES": 0o644,
		"usr/share/bash-completion/completions/holdmetrics": 0o644, "usr/share/zsh/vendor-completions/_holdmetrics": 0o644,
	} {
		info, err := os.Stat(filepath.Join(system, filepath.FromSlash(path)))
		switch {
		case errors.Is(err, os.ErrNotExist):
			t.Errorf("the package has no %s", path)
		case err != nil:
			t.Error(err)
		case info.Mode().Perm() != mode:
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
		}
	}
}
