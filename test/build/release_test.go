package build

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Without the cache nothing is built unless it may be, and a clone without history says so.
// The test moves to another directory, so it does not run beside others.
func TestLastReleaseIsNotBuilt(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git on this machine")
	}
	t.Setenv(ReleaseVariable, "")
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("HOME", cache)
	t.Setenv("GIT_CEILING_DIRECTORIES", filepath.Dir(cache))
	dir := t.TempDir()
	t.Chdir(dir)
	if _, _, err := LastRelease(t.Context(), true); !errors.Is(err, ErrNoRelease) {
		t.Errorf("outside of a repository: %v", err)
	}
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	run("init", "-q")
	run("commit", "-q", "--allow-empty", "-m", "a")
	if _, _, err := LastRelease(t.Context(), true); !errors.Is(err, ErrNoRelease) {
		t.Errorf("without a release: %v", err)
	}
	run("tag", "v1.2.3")
	if _, _, err := LastRelease(t.Context(), false); !errors.Is(err, ErrNotBuilt) {
		t.Errorf("of a tag that is not built: %v", err)
	}
}
