package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A directory of a newer program is refused with what to do, before anything is opened.
func TestDataDirOfANewerProgram(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1\n": "", "2\n": "has format 2, and this program reads up to 1: run the version of holdmetrics that wrote it", "x": "is not a number", "": "is not a number",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, formatName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := TidyDataDir(dir)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("the format %q gives %v", text, err)
		}
	}
	if err := TidyDataDir(t.TempDir()); err != nil {
		t.Errorf("a directory without a format gives %v", err)
	}
}
