package embedded

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"holdmetrics/projection"
)

func TestRemove(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	dir := Directory(data, "2")
	if Directory(data, "") != filepath.Join(data, "store") {
		t.Error(Directory(data, ""))
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := Remove(dir); !errors.Is(err, projection.ErrLocked) {
		t.Errorf("a store that is open: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if found, err := Generations(data); err != nil || !slices.Equal(found, []string{"2"}) {
		t.Errorf("%q, %v", found, err)
	}
	// A removal that was interrupted left something that is no database any more.
	for _, name := range []string{removing, "000004.sst"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"marker.manifest.000001.MANIFEST-000001"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := Remove(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("it is there: %v", err)
		}
	}
	foreign := filepath.Join(data, "foreign")
	if err := os.Mkdir(foreign, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(foreign, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Remove(foreign); !errors.Is(err, projection.ErrForeign) {
		t.Errorf("somebody's files: %v", err)
	}
}
