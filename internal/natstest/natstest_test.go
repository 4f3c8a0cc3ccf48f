package natstest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestDir removes a directory to which something still writes.
func TestDir(t *testing.T) {
	t.Parallel()
	var dir string
	written := make(chan struct{})
	t.Run("in use", func(t *testing.T) {
		dir = Dir(t)
		batches := filepath.Join(dir, "streams", "batches")
		if err := os.MkdirAll(batches, 0o700); err != nil {
			t.Fatal(err)
		}
		go func() {
			defer close(written)
			for i := range 10_000 {
				if os.WriteFile(filepath.Join(batches, fmt.Sprint(i)), nil, 0o600) != nil {
					return // the directory is gone
				}
			}
		}()
	})
	<-written
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}
