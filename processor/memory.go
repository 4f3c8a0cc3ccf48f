package processor

import (
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Of the memory that the process may use, the cache is given a quarter by
// default, and what is applied but not flushed a sixteenth, most of which the
// cache has counted already. The collector may let the heap grow to twice of
// what is live, which is half; the other half is for the store's blocks, the
// broker and the view of the snapshots, which one process may hold as well.
const (
	cacheShare = 4
	flushShare = 16
)

// memory is how many bytes the process may use: the limit of its control group,
// else what the machine has, and no more than GOMEMLIMIT; 0 where nothing says.
func memory() int {
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
