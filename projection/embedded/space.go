package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// DiskSpace returns how many bytes the disk of a directory has left for this process, and
// how many it has in all. The directory need not exist yet.
func DiskSpace(dir string) (free, total uint64, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return 0, 0, fmt.Errorf("embedded: look at the disk of %s: %w", dir, err)
	}
	for {
		usage, err := vfs.Default.GetDiskUsage(dir)
		if parent := filepath.Dir(dir); errors.Is(err, fs.ErrNotExist) && parent != dir {
			dir = parent
			continue
		}
		if err != nil {
			return 0, 0, fmt.Errorf("embedded: look at the disk of %s: %w", dir, err)
		}
		return usage.AvailBytes, usage.TotalBytes, nil
	}
}
