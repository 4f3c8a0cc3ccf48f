package embedded

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"holdmetrics/projection"
)

// lockHelper names the directory that this test binary, run once more as another
// process, opens and says what came of it.
const lockHelper = "HOLDMETRICS_TEST_LOCK_DIR"

func TestLocked(t *testing.T) {
	if dir := os.Getenv(lockHelper); dir != "" {
		s, err := Open(dir, Options{})
		if err == nil {
			_ = s.Close()
		}
		if errors.Is(err, projection.ErrLocked) {
			t.Logf("locked: %v", err)
			return
		}
		t.Fatalf("not locked: %v", err)
	}
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, projection.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("open twice in one process: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	other := exec.Command(self, "-test.run=^TestLocked$", "-test.v")
	other.Env = append(os.Environ(), lockHelper+"="+dir)
	if out, err := other.CombinedOutput(); err != nil || !strings.Contains(string(out), "another process holds "+dir) {
		t.Errorf("open in another process: %v\n%s", err, out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, Options{}); err != nil {
		t.Fatalf("open after close: %v", err)
	}
	_ = s.Close()
}

func TestForeignDirectory(t *testing.T) {
	t.Parallel()
	write := func(t *testing.T, name, content string) {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := func(t *testing.T, dir string) {
		s, err := Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(context.Background(), crashBatch(1, 3)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    error
	}{
		"somebody's files": {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "thesis.txt"), "x") }, projection.ErrForeign},
		"another database": {func(t *testing.T, dir string) {
			db, err := pebble.Open(dir, &pebble.Options{Logger: pebbleLogger{}})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Set([]byte("a"), []byte("b"), pebble.Sync); err != nil {
				t.Fatal(err)
			}
			_ = db.Close()
		}, projection.ErrForeign},
		"another format": {func(t *testing.T, dir string) {
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.db.Set(formatKey(), []byte("holdmetrics projection 99"), pebble.Sync); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
		}, projection.ErrForeign},
		"a damaged manifest": {func(t *testing.T, dir string) {
			made(t, dir)
			names, _ := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
			for _, n := range names {
				write(t, n, "this is no manifest at all, whatever it was before")
			}
		}, projection.ErrCorrupt},
		"a directory without its manifest": {func(t *testing.T, dir string) {
			made(t, dir)
			names, _ := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
			for _, n := range names {
				if err := os.Remove(n); err != nil {
					t.Fatal(err)
				}
			}
		}, projection.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c.prepare(t, dir)
			for range 2 { // the first try leaves nothing that makes the second one pass
				s, err := Open(dir, Options{})
				if !errors.Is(err, c.want) {
					t.Errorf("error is %v, want %v", err, c.want)
				}
				if err == nil {
					_ = s.Close()
				}
			}
		})
	}
}

func TestOpenMakesTheDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "below"), Options{}); err == nil {
		t.Error("a directory below a file was made")
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{CacheBytes: -1}, {MemTableBytes: 5}, {MemTableBytes: 1 << 40}} {
		if _, err := Open(t.TempDir(), o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
