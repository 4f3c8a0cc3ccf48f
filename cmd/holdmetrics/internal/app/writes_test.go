package app

import (
	"errors"
	"strings"
	"testing"

	"holdmetrics/ingest"
)

func TestLeastFree(t *testing.T) {
	t.Parallel()
	const mib, gib = uint64(1 << 20), uint64(1 << 30)
	for total, want := range map[uint64]uint64{
		100 * mib: 5 * mib, 1280 * mib: 64 * mib, 3200 * mib: 64 * mib, 10 * gib: 10 * gib / 50, 50 * gib: 256 * mib, 4096 * gib: 256 * mib,
	} {
		if got := leastOf(total); got != want {
			t.Errorf("of a disk of %s %s must be free, want %s", mebibytes(total), mebibytes(got), mebibytes(want))
		}
	}
}

// A condition keeps since when it holds, whatever its reason becomes.
func TestCondition(t *testing.T) {
	t.Parallel()
	var c condition
	if c.err() != nil || c.holds() || c.set(nil) {
		t.Fatal("it holds from the beginning")
	}
	if c.set(ingest.ErrNotWritable) {
		t.Error("it held before")
	}
	first := c.now.Load().since
	other := errors.New("another reason")
	if !c.set(other) || !c.now.Load().since.Equal(first) {
		t.Error("it does not keep since when it holds")
	}
	if err := c.err(); !errors.Is(err, other) || !strings.Contains(err.Error(), " (since ") {
		t.Error(err)
	}
	if !c.set(nil) || c.err() != nil {
		t.Error("it holds still")
	}
}
