package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"holdmetrics/tools/release/legal"
)

// release is a release that is being made.
type release struct {
	root, out string // absolute
	targets   []legal.Target
	commit    string
	time      time.Time // of the commit, and of every file of the release
	version   string    // without the v; that of the module, as Go states it in the product, which is built first
}

// newRelease looks at the repository, and empties the directory of the release.
func newRelease(ctx context.Context, root, out string, targets []legal.Target, dirty bool) (*release, error) {
	r := &release{targets: targets}
	var err error
	if r.root, err = filepath.Abs(root); err != nil {
		return nil, err
	}
	if r.out, err = filepath.Abs(out); err != nil {
		return nil, err
	}
	head, err := r.git(ctx, "log", "-1", "--format=%H %ct")
	if err != nil {
		return nil, fmt.Errorf("a release is made of a commit: %w", err)
	}
	commit, seconds, _ := strings.Cut(head, " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("time of commit %s: %w", commit, err)
	}
	r.commit, r.time = commit, time.Unix(unix, 0).UTC()
	changed, err := r.git(ctx, "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	if changed != "" && !dirty {
		return nil, fmt.Errorf("files differ from commit %.12s: commit or remove them, or pass -dirty:\n%s", commit, changed)
	}
	if err := os.RemoveAll(r.out); err != nil {
		return nil, err
	}
	return r, os.MkdirAll(r.out, 0o755)
}

func (r *release) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = r.root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

// make makes the release, and says what it does.
func (r *release) make(ctx context.Context, log io.Writer) error {
	stage, err := os.MkdirTemp("", "holdmetrics-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)

	for _, p := range legal.Programs {
		if err := r.program(ctx, p, stage, log); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	if err := r.sums(); err != nil {
		return err
	}
	fmt.Fprintf(log, "holdmetrics %s of commit %s is in %s\n", r.version, r.commit, r.out)
	return nil
}

// program makes the files of one program.
func (r *release) program(ctx context.Context, p legal.Program, stage string, log io.Writer) error {
	product, released := r.version == "", p.On(r.targets)
	if len(released) == 0 {
		fmt.Fprintf(log, "%s cannot be built for any of these systems\n", p.Name)
		return nil
	}
	modules, err := legal.Modules(ctx, filepath.Join(r.root, p.Module), p.Package, released)
	if err != nil {
		return err
	}
	for _, m := range modules {
		err = errors.Join(err, m.Check())
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "licences of the %d modules of %s are compatible with Apache-2.0\n", len(modules), p.Name)

	host := legal.Target{OS: runtime.GOOS, Arch: runtime.GOARCH}
	targets := slices.Clone(released)
	if product && !slices.Contains(targets, host) {
		targets = append(targets, host)
	}
	built := map[legal.Target]string{}
	for _, t := range targets {
		fmt.Fprintf(log, "building %s for %s\n", p.Name, t)
		if built[t], err = r.build(ctx, p, stage, t); err != nil {
			return err
		}
	}
	var shared []file
	if product {
		info, err := buildinfo.ReadFile(built[host])
		if err != nil {
			return err
		}
		r.version = strings.TrimPrefix(info.Main.Version, "v")
		shared, err = r.shared(ctx, built[host], stage, modules)
		if err != nil {
			return err
		}
	} else if shared, err = r.texts(modules, "LICENSE", "docs/audit.md"); err != nil {
		return err
	}
	for _, t := range released {
		if err := r.archive(p, t, built[t], shared); err != nil {
			return fmt.Errorf("archive for %s: %w", t, err)
		}
		if err := r.materials(p, t, built[t], modules); err != nil {
			return fmt.Errorf("bill of materials for %s: %w", t, err)
		}
		if t.OS != "linux" {
			continue
		}
		if err := r.packages(p, t, built[t], stage, shared); err != nil {
			return err
		}
	}
	return nil
}

// build builds a program for a target, without C, paths, times or anything else of this
// machine in it. It returns its path.
func (r *release) build(ctx context.Context, p legal.Program, stage string, t legal.Target) (string, error) {
	path := filepath.Join(stage, t.OS+"_"+t.Arch, p.Name)
	if t.OS == "windows" {
		path += ".exe"
	}
	flags := "-ldflags=-s -w -buildid="
	if r.version != "" { // Go knows the version of the product's module alone
		flags += " -X main.released=v" + r.version
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=true", flags, "-o", path, p.Package)
	cmd.Dir = filepath.Join(r.root, p.Module)
	// What the machine sets for its own builds does not count here.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+t.OS, "GOARCH="+t.Arch, "GOFLAGS=-mod=readonly",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building for %s: %w\n%s", t, err, out)
	}
	return path, nil
}

// name returns the name of a program's file for a target.
func (r *release) name(p legal.Program, t legal.Target, ending string) string {
	return fmt.Sprintf("%s_%s_%s_%s%s", p.Name, r.version, t.OS, t.Arch, ending)
}

// sums writes the checksums of all files of the release.
func (r *release) sums() error {
	entries, err := os.ReadDir(r.out) // sorted
	if err != nil {
		return err
	}
	var list bytes.Buffer
	for _, e := range entries {
		sum, err := sumOf(filepath.Join(r.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&list, "%s  %s\n", sum, e.Name())
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), list.Bytes(), 0o644)
}

// sumOf returns the SHA-256 of a file in hexadecimal.
func sumOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
