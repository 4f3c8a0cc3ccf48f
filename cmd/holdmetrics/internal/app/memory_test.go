package app

import (
	"errors"
	"math"
	"testing"
)

// The smaller of the two limits counts, and what is no limit is none.
func TestStatedLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		environment string
		group       uint64 // 0: there is none
		want        int64
	}{
		{"", 0, 0}, {"off", 0, 0}, {"300MiB", 0, 300 << 20}, {"1GiB", 300 << 20, 300 << 20},
		{"100000000", 0, 100_000_000}, {"4096B", 0, 4096}, {"2KiB", 1 << 30, 2048}, {"1TiB", 0, 1 << 40},
		{"", 1 << 30, 1 << 30}, {"", math.MaxUint64, 0}, {"9223372036854775807TiB", 5, 5},
	} {
		got := statedLimit(c.environment, func() (uint64, error) {
			if c.group == 0 {
				return 0, errors.New("no limit")
			}
			return c.group, nil
		})
		if got != c.want {
			t.Errorf("%q and %d: %d, want %d", c.environment, c.group, got, c.want)
		}
	}
}

// The parts of the memory come to less than all of it, for each limit, and a large one
// takes nothing from what there is without one.
func TestMemoryIsSharedOut(t *testing.T) {
	t.Parallel()
	if (shareMemory(0) != memory{}) {
		t.Error("no limit gives limits")
	}
	for limit := int64(128 << 20); limit < 1<<40; limit += limit / 3 {
		m := shareMemory(limit)
		inHeap := m.pairs + m.unsaved + m.pending + m.message
		if m.heap <= 0 || inHeap > m.heap || m.heap+m.outside()+programBytes > limit {
			t.Errorf("%d MiB: %+v", limit>>20, m)
		}
		if limit >= 4<<30 && (m.message != 64<<20 || m.memTable != 32<<20 || m.pending != 64<<20) {
			t.Errorf("%d MiB: %+v", limit>>20, m)
		}
	}
}
