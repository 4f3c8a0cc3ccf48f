package app

import (
	"cmp"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memory is how a process shares out the memory that it may use. All of it is in bytes.
// What is not listed is either small or the data itself, such as the snapshots of
// all holders that a gateway shows.
type memory struct {
	total    int64 // 0: nothing limits it
	heap     int64 // soft limit of the collector
	pairs    int64 // cache of the processor
	unsaved  int64 // applied and not flushed
	blocks   int64 // cache of the embedded store, outside of the heap
	memTable int64 // of the embedded store, up to memTables times, outside of the heap
	pending  int64 // events on their way to the log
	message  int64 // largest message of gRPC
}

const (
	// programBytes is what the program itself and the runtime take, which the collector
	// does not count.
	programBytes = 64 << 20
	memTables    = 4
)

// shareMemory shares out a limit; 0: none is known.
func shareMemory(total int64) memory {
	if total == 0 {
		return memory{}
	}
	part := func(share, least, most int64) int64 { return min(max(total/share, least), most) }
	m := memory{
		total:    total,
		unsaved:  part(16, 4<<20, math.MaxInt64),
		blocks:   part(32, 8<<20, math.MaxInt64),
		memTable: part(128, 2<<20, 32<<20),
		pending:  part(16, 4<<20, 64<<20),
		message:  part(16, 8<<20, 64<<20),
	}
	m.heap = total - programBytes - m.outside()
	m.pairs = max(m.heap/6, 8<<20) // the collector lets the heap grow to twice of what is live
	return m
}

// outside is what the embedded store takes outside of the heap. Its cache has place for two
// memtables more; and half as much again is lost between what C's allocator has handed out.
func (m *memory) outside() int64 { return (m.blocks + (memTables+2)*m.memTable) * 3 / 2 }

// bodyBytes is about what a body of POST /holds takes while it is read.
const bodyBytes = 512 << 10

// bodies is how many bodies of POST /holds may be read at once, where the settings allow
// so many.
func (m *memory) bodies(most int) int {
	if m.total == 0 {
		return most
	}
	return min(most, max(int(m.total/16/bodyBytes), 8))
}

// LimitMemory has the process keep to a limit of memory: the one of the settings, or the
// smaller one of GOMEMLIMIT and the limit of the control group. It returns the limit, or 0
// if there is none.
func LimitMemory(setting int64) int64 {
	limit := cmp.Or(setting, statedLimit(os.Getenv("GOMEMLIMIT"), memlimit.FromCgroup))
	if limit != 0 {
		debug.SetMemoryLimit(max(shareMemory(limit).heap, limit/2))
		fewArenas()
	}
	return limit
}

// statedLimit is the smaller one of a GOMEMLIMIT and the limit of a control group; 0 if
// there is neither. What the runtime has of GOMEMLIMIT is no help: LimitMemory lowers it.
func statedLimit(environment string, group memlimit.Provider) int64 {
	limit, err := group()
	if err != nil || limit > math.MaxInt64 {
		limit = 0
	}
	text, unit := strings.TrimSuffix(environment, "B"), int64(1)
	for i, prefix := range []string{"Ki", "Mi", "Gi", "Ti"} {
		if number, has := strings.CutSuffix(text, prefix); has {
			text, unit = number, 1<<(10*(i+1))
		}
	}
	// The runtime ends a process whose GOMEMLIMIT it cannot read; "off" is no limit.
	bytes, err := strconv.ParseInt(text, 10, 64)
	if err != nil || bytes <= 0 || bytes > math.MaxInt64/unit {
		return int64(limit)
	}
	if bytes *= unit; limit == 0 || bytes < int64(limit) {
		return bytes
	}
	return int64(limit)
}
