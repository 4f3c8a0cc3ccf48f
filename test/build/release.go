package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ReleaseVariable names the environment variable with the tag or the commit of the last
// release, for a test of an upgrade. Without it the last tag before the commit counts.
const ReleaseVariable = "HOLDMETRICS_LAST_RELEASE"

// unreleased is the commit that counts as the last release until there is a tag.
const unreleased = "768ce8ff2629c050bd1941c37dcda4edaf6173d8"

// The reasons why there is no program of the last release.
var (
	// ErrNoRelease: the clone is shallow, or is none.
	ErrNoRelease = errors.New("the repository has neither a tag v* nor commit " + unreleased[:12] + ": 'git fetch --unshallow --tags' gets them, and " + ReleaseVariable + " names another release")
	// ErrNotBuilt: it would have to be built first, which takes minutes.
	ErrNotBuilt = errors.New("the last release is not built yet: 'make crash' builds it")
)

// LastRelease returns the path of the holdmetrics of the last release, and the commit that
// it was built from. That is what [ReleaseVariable] names, or else the last tag before the
// commit that is checked out, or else a commit of before the first tag. It is built once for
// each commit, and kept in the user's cache. Where it is not there yet, it is built only if
// mayBuild is set or the variable names it.
func LastRelease(ctx context.Context, mayBuild bool) (path, commit string, err error) {
	release := os.Getenv(ReleaseVariable)
	if release != "" {
		if commit, err = git(ctx, "rev-parse", "--verify", release+"^{commit}"); err != nil {
			return "", "", fmt.Errorf("release %s: %w", release, err)
		}
		mayBuild = true
	} else {
		if release, err = git(ctx, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*"); err != nil {
			release = unreleased
		}
		if commit, err = git(ctx, "rev-parse", "--verify", release+"^{commit}"); err != nil {
			return "", "", ErrNoRelease
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", "", err
	}
	dir := filepath.Join(cache, "holdmetrics-test", "releases", commit)
	path = filepath.Join(dir, "holdmetrics")
	if _, err := os.Stat(path); err == nil {
		return path, commit, nil
	}
	if !mayBuild {
		return "", "", ErrNotBuilt
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	source, err := os.MkdirTemp("", "holdmetrics-release-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(source)
	if err := checkOut(ctx, commit, source); err != nil {
		return "", "", fmt.Errorf("release %s: %w", release, err)
	}
	// Another test may build it at the same time: each to a file of its own.
	made := filepath.Join(source, "bin-holdmetrics")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", made, "./cmd/holdmetrics")
	cmd.Dir = source
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("building release %s: %w\n%s", release, err, out)
	}
	beside, err := os.CreateTemp(dir, "holdmetrics.*")
	if err != nil {
		return "", "", err
	}
	from, err := os.Open(made)
	if err != nil {
		return "", "", errors.Join(err, beside.Close())
	}
	_, err = io.Copy(beside, from)
	err = errors.Join(err, from.Close(), beside.Chmod(0o755), beside.Close())
	if err == nil {
		err = os.Rename(beside.Name(), path)
	}
	return path, commit, err
}

// checkOut writes the files of a commit to a directory.
func checkOut(ctx context.Context, commit, to string) error {
	root, err := git(ctx, "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "git", "archive", "--format=tar", commit)
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("git archive: %w", err)
	}
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		path := filepath.Join(to, filepath.FromSlash(head.Name))
		switch {
		case !filepath.IsLocal(filepath.FromSlash(head.Name)):
			return fmt.Errorf("git archive has the path %q", head.Name)
		case head.Typeflag == tar.TypeDir:
			err = os.MkdirAll(path, 0o755)
		case head.Typeflag == tar.TypeReg:
			var text []byte
			if text, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, text, 0o644)
			}
		}
		if err != nil {
			return err
		}
	}
}

func git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
