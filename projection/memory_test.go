package projection_test

import (
	"runtime/debug"
	"testing"

	"holdmetrics/projection"
)

// Not parallel: the limit is the process's own.
func TestMemoryIsNoMoreThanGOMEMLIMIT(t *testing.T) {
	const limit = 64 << 30
	had := debug.SetMemoryLimit(limit)
	defer debug.SetMemoryLimit(had)
	if got := projection.MemoryLimit(); got <= 0 || got > limit {
		t.Errorf("%d bytes may be used", got)
	}
	debug.SetMemoryLimit(limit / 1024)
	if got := projection.MemoryLimit(); got != limit/1024 {
		t.Errorf("%d bytes may be used, GOMEMLIMIT is %d", got, limit/1024)
	}
}
