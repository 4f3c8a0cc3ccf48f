package check

import (
	"os"
	"path/filepath"
	"testing"
)

// deploy returns a path below the directory of what an operator installs.
func deploy(parts ...string) string {
	return filepath.Join(append([]string{".."}, parts...)...)
}

// The README is what an operator reads first.
func TestReadme(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat(deploy("README.md")); err != nil {
		t.Fatal(err)
	}
}
