package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A binary that is another program, or none, or of the other kind is refused.
func TestCheck(t *testing.T) {
	t.Parallel()
	path := os.Getenv(Variable)
	if path == "" {
		path = filepath.Join(t.TempDir(), "holdmetrics")
		if err := To(t.Context(), path, Race); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(path, Race); err != nil {
		t.Error(err)
	}
	if err := check(path, !Race); err == nil || !strings.Contains(err.Error(), "build it as they are") {
		t.Error(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := check(self, Race); err == nil || !strings.Contains(err.Error(), "build holdmetrics/cmd/holdmetrics there") {
		t.Error(err)
	}
	if err := check(filepath.Join(t.TempDir(), "none"), Race); err == nil {
		t.Error("a file that is absent is accepted")
	}
}
