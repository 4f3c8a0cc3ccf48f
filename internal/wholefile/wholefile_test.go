package wholefile

import (
	"os"
	"path/filepath"
	"testing"

	"holdmetrics/internal/testwait"
)

func TestMain(m *testing.M) { os.Exit(testwait.Watch(m).Run()) }

func TestReplace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	for _, text := range []string{"one", "two"} {
		if err := Replace(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "within"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(taken, []byte("three")); err == nil {
		t.Error("a directory was replaced")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left in the directory: %v, %v", left, err)
	}
}
