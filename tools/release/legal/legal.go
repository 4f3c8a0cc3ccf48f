// Package legal finds the licences of what a program is made of, and reports those that
// are not compatible with Apache-2.0.
package legal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// Compatible are the licences, by their SPDX names, whose code a program under Apache-2.0
// may contain. Those of the Mozilla kind ask that their own files stay under them, which
// they do: nothing of them is changed here.
var Compatible = []string{
	"0BSD", "Apache-2.0", "BSD-1-Clause", "BSD-2-Clause", "BSD-2-Clause-FreeBSD", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
	"ISC", "MIT", "MIT-0", "MPL-2.0", "MPL-2.0-no-copyleft-exception", "PostgreSQL", "Unicode-DFS-2016", "Unlicense", "X11", "Zlib",
}

// leastCovered is how much of a licence file must be the text of known licences, in percent.
const leastCovered = 75

// Target is a system that a program is built for.
type Target struct{ OS, Arch string }

// String returns OS/ARCH.
func (t Target) String() string { return t.OS + "/" + t.Arch }

// Module is a module that a program contains packages of, or the standard library.
type Module struct {
	Path, Version string
	Licenses      []string // SPDX names, sorted
	Files         []File   // licences and notices that apply to the packages, by path
}

// File is a licence or a notice.
type File struct {
	Name string // in the module
	Text []byte
}

// listed is what 'go list' says of a package.
type listed struct {
	ImportPath, Dir string
	Standard        bool
	Module          *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// Product is the module of the product. Other modules of the repository use it.
const Product = "holdmetrics"

// Modules returns the modules of which a package of the module in root contains code on
// any of the targets, sorted by path. The modules of this repository are not among them.
func Modules(ctx context.Context, root, pkg string, targets []Target) ([]*Module, error) {
	dirs := map[string]map[string]bool{} // of packages, by the directory of their module
	modules := map[string]*Module{}
	for _, t := range targets {
		cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-json=ImportPath,Dir,Standard,Module", pkg)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GOOS="+t.OS, "GOARCH="+t.Arch, "CGO_ENABLED=0")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("listing the packages of %s for %s: %w\n%s", pkg, t, err, &stderr)
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p listed
			if err := d.Decode(&p); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return nil, err
			}
			if p.Module == nil || p.Module.Main || p.Module.Path == Product {
				continue
			}
			if p.Module.Dir == "" {
				return nil, fmt.Errorf("module %s is not on this machine: run 'go mod download'", p.Module.Path)
			}
			if dirs[p.Module.Dir] == nil {
				dirs[p.Module.Dir] = map[string]bool{}
				modules[p.Module.Dir] = &Module{Path: p.Module.Path, Version: p.Module.Version}
			}
			dirs[p.Module.Dir][p.Dir] = true
		}
	}
	var all []*Module
	for dir, m := range modules {
		var err error
		if m.Files, err = filesOf(dir, dirs[dir]); err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	standard, err := standardLibrary(ctx)
	if err != nil {
		return nil, err
	}
	all = append(all, standard)
	slices.SortFunc(all, func(a, b *Module) int { return strings.Compare(a.Path, b.Path) })
	return all, nil
}

// standardLibrary returns the standard library as a module.
func standardLibrary(ctx context.Context) (*Module, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, fmt.Errorf("asking go for its directory: %w", err)
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	files, err := filesOf(dir, map[string]bool{dir: true})
	return &Module{Path: "std", Version: strings.TrimPrefix(version, "go"), Files: files}, err
}

// filesOf returns the licences and notices in the directories of packages, and in those
// above them up to the module's.
func filesOf(module string, packages map[string]bool) ([]File, error) {
	var files []File
	seen := map[string]bool{}
	for dir := range packages {
		for ; !seen[dir] && strings.HasPrefix(dir, module); dir = filepath.Dir(dir) {
			seen[dir] = true
			entries, err := os.ReadDir(dir)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if e.IsDir() || !isLegal(e.Name()) {
					continue
				}
				text, err := os.ReadFile(filepath.Join(dir, e.Name()))
				if err != nil {
					return nil, err
				}
				name, _ := filepath.Rel(module, filepath.Join(dir, e.Name()))
				files = append(files, File{Name: filepath.ToSlash(name), Text: text})
			}
		}
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files, nil
}

// isLegal reports whether a file is a licence or a notice by its name.
func isLegal(name string) bool {
	if slices.Contains([]string{".go", ".sh", ".py", ".tmpl", ".json", ".yml", ".yaml", ".toml"}, filepath.Ext(name)) {
		return false
	}
	upper := strings.ToUpper(name)
	for _, word := range []string{"LICENSE", "LICENCE", "COPYING", "UNLICENSE"} {
		if strings.Contains(upper, word) {
			return true
		}
	}
	return isNotice(upper)
}

// isNotice reports whether a file is a notice, which Apache-2.0 asks to pass on, and no
// licence.
func isNotice(name string) bool { return strings.HasPrefix(strings.ToUpper(name), "NOTICE") }

// Check recognises the licences of a module and returns an error unless it may be part of
// a program under Apache-2.0: each licence file must be the text of compatible licences.
func (m *Module) Check() error {
	found := map[string]bool{}
	for _, f := range m.Files {
		if isNotice(filepath.Base(f.Name)) {
			continue
		}
		names, err := recognise(f.Text)
		if err != nil {
			return fmt.Errorf("%s %s: %s: %w", m.Path, m.Version, f.Name, err)
		}
		for _, name := range names {
			found[name] = true
		}
	}
	if len(found) == 0 {
		return fmt.Errorf("%s %s has no licence: it must not be part of a release", m.Path, m.Version)
	}
	for name := range found {
		m.Licenses = append(m.Licenses, name)
	}
	slices.Sort(m.Licenses)
	return nil
}

// recognise returns the licences of a text, or an error unless all of them are compatible.
func recognise(text []byte) ([]string, error) {
	if names, ok := reviewed[sum(text)]; ok {
		return names, nil
	}
	coverage := licensecheck.Scan(text)
	var names []string
	for _, match := range coverage.Match {
		if !match.IsURL && !slices.Contains(Compatible, match.ID) {
			return nil, fmt.Errorf("licence %s is not known to be compatible with Apache-2.0", match.ID)
		}
		if !match.IsURL && !slices.Contains(names, match.ID) {
			names = append(names, match.ID)
		}
	}
	if len(names) == 0 || coverage.Percent < leastCovered {
		return nil, fmt.Errorf("%.0f%% of it are known licences (%s): read it, and add it to the reviewed texts if it is compatible", coverage.Percent, strings.Join(names, ", "))
	}
	return names, nil
}
