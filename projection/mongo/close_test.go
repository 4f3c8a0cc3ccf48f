package mongo

import (
	"errors"
	"strings"
	"testing"
	"time"

	"holdmetrics/internal/inuse"
	"holdmetrics/projection"
)

// A view that nobody closes does not hold up the end of the process. What is open fails
// soon, though the database is there.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	name := database(t)
	config := testConfig(name)
	config.closeWithin = 50 * time.Millisecond
	s, err := Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	o := newOwner(0, 1)
	o.add("holder", "token", ended(1, 2))
	if err := s.Flush(t.Context(), o.batch()); err != nil {
		t.Fatal(err)
	}
	v, err := s.View(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Close()
	open := (*inuse.OpenError)(nil)
	if !errors.As(err, &open) || open.Open != (inuse.Open{Views: 1}) || !strings.Contains(err.Error(), name) {
		t.Errorf("close with an open view: %v, want an error that counts it", err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, projection.ErrClosed) {
		t.Errorf("ping after close: %v", err)
	}
	if err := v.AllPairs(t.Context(), func(*projection.PairRecord) error { return nil }); !errors.Is(err, projection.ErrRefused) {
		t.Errorf("the view after close: %v, want ErrRefused at once", err)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second close: %v", err)
	}
}
