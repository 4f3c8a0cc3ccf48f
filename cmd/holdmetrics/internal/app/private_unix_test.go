//go:build unix

package app

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"holdmetrics/projection/embedded"
)

// Nobody but the user of the process can read what it stores, whether the directory was
// there before or not.
func TestDataIsPrivate(t *testing.T) {
	t.Parallel()
	for _, there := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "data")
		if there {
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask is
				t.Fatal(err)
			}
		}
		lock, err := LockDataDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Close()
		b, err := StartPrivateBroker(filepath.Join(dir, NATSName), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		b.Close()
		store, err := embedded.Open(filepath.Join(dir, "store"), embedded.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		files := 0
		err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			files++
			if open := info.Mode().Perm() & 0o077; open != 0 {
				t.Errorf("there before: %v: others may open %s: %v", there, path, info.Mode())
			}
			return nil
		})
		if err != nil || files < 5 {
			t.Errorf("%d files, %v", files, err)
		}
	}
}
