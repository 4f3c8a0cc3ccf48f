package projection

import (
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// MemoryLimit is how many bytes the process may use: the limit of its control
// group, else what the machine has, and no more than GOMEMLIMIT; 0 where nothing
// says. What keeps a cache takes its default from it.
func MemoryLimit() int {
	bytes, err := memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)()
	if err != nil || bytes > math.MaxInt {
		bytes = 0
	}
	// Past it the collector runs without end, so a cache must not take it up.
	if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 && (bytes == 0 || uint64(limit) < bytes) {
		bytes = uint64(limit)
	}
	return int(bytes)
}
