package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"holdmetrics/cmd/holdmetrics/internal/settings"
)

// LockName is the file of a data directory that is locked while it is in use.
const LockName = "LOCK"

// LockDataDir makes the data directory if it is absent, and locks it for this process:
// two NATS servers on one directory would destroy it. The lock ends with the process,
// however it ends. Only the user of this process can enter the directory then.
func LockDataDir(dir string) (io.Closer, error) {
	keepFilesPrivate()
	if err := makePrivate(dir); err != nil {
		return nil, fmt.Errorf("the data directory cannot be made: %w", err)
	}
	lock, err := vfs.Default.Lock(filepath.Join(dir, LockName))
	if err == nil {
		return lock, nil
	}
	// The file that cannot be opened is one thing, the lock that is not given another.
	if open := new(os.PathError); !errors.As(err, &open) && (errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES)) {
		return nil, fmt.Errorf("another process holds the data directory %s; stop it, or choose another directory with --%s", dir, settings.KeyDataDir)
	}
	return nil, fmt.Errorf("the data directory %s cannot be locked: %w", dir, err)
}

// makePrivate makes a directory if it is absent, and closes it to other users. Another
// owner of it, such as the manager of a mounted volume, decides by himself.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm()&0o077 == 0 || runtime.GOOS == "windows" {
		return err
	}
	if err := os.Chmod(dir, 0o700); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}
