package embedded

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"holdmetrics/projection"
)

// Ping looks into the database: one that does not read back what it was given is
// no store. (What Ping says after a failed write is in TestDiskFails.)
func TestPingReads(t *testing.T) {
	t.Parallel()
	s, err := Open("data", Options{fs: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(context.Background()); err != nil {
		t.Errorf("a good store: %v", err)
	}
	if err := s.db.Set(formatKey(), []byte("something else"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(context.Background()); !errors.Is(err, projection.ErrCorrupt) {
		t.Errorf("another format: %v", err)
	}
	if err := s.db.Delete(formatKey(), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(context.Background()); !errors.Is(err, projection.ErrCorrupt) {
		t.Errorf("no format: %v", err)
	}
}
