package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/apk"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"

	"holdmetrics/tools/release/legal"
)

// kind is a kind of package.
type kind struct {
	name     string
	packager nfpm.Packager
	systemd  bool   // it installs units
	zsh      string // directory of completions of zsh
}

func kinds() []kind {
	return []kind{
		{"deb", deb.Default, true, "/usr/share/zsh/vendor-completions"},
		{"rpm", rpm.DefaultRPM, true, "/usr/share/zsh/site-functions"},
		{"apk", apk.Default, false, "/usr/share/zsh/site-functions"}, // Alpine has no systemd
	}
}

// about is what packages say of their programs.
var about = map[string]struct {
	summary, description string
	units                bool // of systemd
}{
	"holdmetrics": {"Exact scores of who held which token for how long", "A server that keeps an exact, replayable score for every holder of a token.", true},
	"holdmetrics-audit": {"A tamper-evident copy of the log of holdmetrics",
		"Copies the log to an immudb server, and compares the log, the scores and the copy.", false},
}

// pseudo is the version of a commit without a tag, as Go writes it.
var pseudo = regexp.MustCompile(`^(\d+\.\d+\.\d+)-(?:.*\.)?(\d{14})-([0-9a-f]{12})(\+dirty)?$`)

// packageVersion returns a version as packages take it: the number, and what makes it
// older than that number. Of the commit of a pseudo-version its time is enough to order it.
func packageVersion(version string) (number, before string) {
	if m := pseudo.FindStringSubmatch(version); m != nil {
		return m[1], "git" + m[2]
	}
	version, _, _ = strings.Cut(version, "+")
	number, before, _ = strings.Cut(version, "-")
	return number, strings.ReplaceAll(before, "-", "_")
}

// packages writes the packages of a program for a target of Linux.
func (r *release) packages(p legal.Program, t legal.Target, program, stage string, shared []file) error {
	// nfpm takes the contents of packages from files.
	source := func(name string, text []byte) (string, error) {
		path := filepath.Join(stage, "package", p.Name, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", err
		}
		return path, os.WriteFile(path, text, 0o644)
	}
	for _, k := range kinds() {
		contents := files.Contents{r.content(program, "/usr/bin/"+p.Name, 0o755)}
		for _, f := range shared {
			to, kept := k.place(p, f.name)
			if to == "" {
				continue
			}
			text := f.text
			if strings.HasSuffix(to, ".gz") {
				var err error
				if text, err = packed(text); err != nil {
					return err
				}
			}
			from, err := source(f.name, text)
			if err != nil {
				return err
			}
			c := r.content(from, to, 0o644)
			if kept { // what an operator has changed stays at an upgrade
				c.Type, c.FileInfo.Mode = files.TypeConfigNoReplace, 0o640
			}
			contents = append(contents, c)
		}
		number, before := packageVersion(r.version)
		about := about[p.Name]
		info := &nfpm.Info{
			Name: p.Name, Arch: t.Arch, Platform: "linux", Version: number, Prerelease: before, VersionSchema: "none", Release: "1",
			Section: "net", Priority: "optional", Maintainer: "The holdmetrics maintainers",
			Description: about.summary + "\n" + about.description,
			License:     "Apache-2.0", MTime: r.time, DisableGlobbing: true,
			Overridables: nfpm.Overridables{Contents: contents},
		}
		info.RPM.BuildHost, info.RPM.Summary = "localhost", about.summary
		if k.systemd && about.units {
			info.Scripts.PostInstall = filepath.Join(r.root, "deploy", "systemd", "postinstall.sh")
			info.Scripts.PreRemove = filepath.Join(r.root, "deploy", "systemd", "preremove.sh")
		}
		if err := r.write(k, p, t, nfpm.WithDefaults(info)); err != nil {
			return fmt.Errorf("%s for %s: %w", k.name, t, err)
		}
	}
	return nil
}

func (r *release) write(k kind, p legal.Program, t legal.Target, info *nfpm.Info) error {
	if err := nfpm.PrepareForPackager(info, k.name); err != nil {
		return err
	}
	var out bytes.Buffer
	if err := k.packager.Package(info, &out); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.out, r.name(p, t, "."+k.name)), out.Bytes(), 0o644)
}

// place returns where a package has a file of an archive, or nothing, and whether it is a
// file that operators change.
func (k kind) place(p legal.Program, name string) (path string, config bool) {
	dir, base := filepath.Split(filepath.FromSlash(name))
	switch {
	case name == "LICENSE":
		return "/usr/share/doc/" + p.Name + "/copyright", false
	case dir == "":
		return "/usr/share/doc/" + p.Name + "/" + base, false
	case dir == "man/":
		return "/usr/share/man/man1/" + base + ".gz", false
	case base == "holdmetrics.bash":
		return "/usr/share/bash-completion/completions/holdmetrics", false
	case base == "_holdmetrics":
		return k.zsh + "/_holdmetrics", false
	case base == "holdmetrics.fish":
		return "/usr/share/fish/vendor_completions.d/holdmetrics.fish", false
	case dir != "systemd/" || !k.systemd:
		return "", false
	case strings.HasSuffix(base, ".service"):
		return "/usr/lib/systemd/system/" + base, false
	case base == "holdmetrics.sysusers":
		return "/usr/lib/sysusers.d/holdmetrics.conf", false
	case base == "holdmetrics.tmpfiles":
		return "/usr/lib/tmpfiles.d/holdmetrics.conf", false
	}
	return "/etc/holdmetrics/" + base, true
}

func (r *release) content(from, to string, mode os.FileMode) *files.Content {
	return &files.Content{Source: from, Destination: to, FileInfo: &files.ContentFileInfo{Owner: "root", Group: "root", Mode: mode, MTime: r.time}}
}

// packed returns a text in gzip.
func packed(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
