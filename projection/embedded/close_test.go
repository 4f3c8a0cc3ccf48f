package embedded

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"holdmetrics/internal/inuse"
	"holdmetrics/projection"
)

// A view that nobody closes does not hold up the end of the process. The store keeps the
// directory until the view is closed.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	files := vfs.NewMem()
	s, err := Open("data", Options{fs: files, closeWithin: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second Close waits again
		err := s.Close()
		open := (*inuse.OpenError)(nil)
		if !errors.As(err, &open) || open.Open != (inuse.Open{Views: 1}) || !strings.Contains(err.Error(), "data directory data") {
			t.Fatalf("close with an open view: %v, want an error that counts it", err)
		}
		if err := s.Ping(t.Context()); !errors.Is(err, projection.ErrClosed) {
			t.Errorf("ping after close: %v", err)
		}
		if _, err := Open("data", Options{fs: files}); !errors.Is(err, projection.ErrLocked) {
			t.Fatalf("open while the view is open: %v, want ErrLocked", err)
		}
		// The view still reads.
		if err := v.AllPairs(t.Context(), func(*projection.PairRecord) error { return nil }); err != nil {
			t.Errorf("the view after close: %v", err)
		}
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatalf("close after the view: %v", err)
		}
	}
	again, err := Open("data", Options{fs: files})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(again.Ping(context.Background()), again.Close()); err != nil {
		t.Error(err)
	}
}
