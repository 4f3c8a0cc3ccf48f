package embedded

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"holdmetrics/projection"
)

// Logger receives what the database says about itself: flushes and compactions
// at Infof, errors that it recovers from at Errorf. It is called from several
// goroutines. A *zap.SugaredLogger is one.
type Logger interface {
	Infof(format string, args ...any)
	Errorf(format string, args ...any)
}

// Options of a store. The zero value is what a machine of two cores wants.
type Options struct {
	CacheBytes    int64  // of blocks that were read, at least; 0: a 32nd of the memory, at least 64 MiB
	Cache         *Cache // that is shared with others, in place of one of CacheBytes; nil: the store has its own
	MemTableBytes uint64 // of writes not in tables yet, twice, and four times at most; 0: 32 MiB
	OpenTables    int    // tables that stay open, each a file; 0: 1000
	Logger        Logger // nil: silence

	bulkBytes   int           // tests write small flushes as tables; 0: defaultBulkBytes
	fs          vfs.FS        // tests crash and break it; nil: the operating system's
	closeWithin time.Duration // tests wait less; 0: defaultCloseWithin
}

const (
	defaultCacheBytes    = 64 << 20
	cacheShare           = 32
	defaultMemTableBytes = 32 << 20
	defaultOpenTables    = 1000
	openBeside           = 10 // files that Pebble takes off its limit, since they are no tables
	bloomBits            = 10 // a key: one probe in a hundred is in vain
	// defaultCloseWithin is longer than the largest flush and the longest read take.
	defaultCloseWithin = time.Minute
	// brokenWithin is how long Close waits for calls of a database that has stopped.
	brokenWithin = 2 * time.Second
)

// cacheSize is the size of Pebble's cache. Pebble takes the memory of memtables
// out of the cache, so there has to be room for two of them beside the blocks;
// without it a busy store reads and decompresses every block again (measured by
// BenchmarkLoad: 30,000 pairs/s without it, 290,000 with it).
func (o *Options) cacheSize() int64 { return o.CacheBytes + int64(o.memTables()) }

func (o *Options) memTables() int { return 2 * int(o.MemTableBytes) }

// pebbleOptions says how Pebble is to run. What is not set is as Pebble has it.
func (o *Options) pebbleOptions(cache *pebble.Cache, h *health) *pebble.Options {
	p := &pebble.Options{
		Comparer: newComparer(),
		Cache:    cache,
		FS:       o.fs,
		// A fixed version and not the newest: a directory can be opened again
		// by the program that made it until this line is changed on purpose.
		FormatMajorVersion: pebble.FormatValueSeparation,
		// Flushes come in bursts of tens of megabytes; large memtables take one
		// without stalling while the one before is written out.
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               64 << 20,
		// Tables are synced piecewise as they are written, so that the fsync
		// behind a flush does not wait for a whole table of a compaction.
		BytesPerSync: 1 << 20,
		// One core compacts, the other one works.
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
		MaxOpenFiles:               o.OpenTables + openBeside,
		Logger:                     pebbleLogger{o.Logger, h},
		// Without a listener Pebble ends the process at the first damaged block.
		EventListener: &pebble.EventListener{DataCorruption: h.corrupted, BackgroundError: h.backgroundError},
	}
	p.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionFastest })
	for i := range p.Levels {
		p.Levels[i].BlockSize = 16 << 10
		p.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBits)
	}
	return p
}

func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		// Filters and indexes alone are some 3 bytes a key; where they do not stay
		// in the cache, every seek reads and decompresses them again.
		o.CacheBytes = max(defaultCacheBytes, int64(projection.MemoryLimit()/cacheShare))
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	if o.OpenTables == 0 {
		o.OpenTables = defaultOpenTables
	}
	if o.bulkBytes == 0 {
		o.bulkBytes = defaultBulkBytes
	}
	if o.closeWithin == 0 {
		o.closeWithin = defaultCloseWithin
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
	return o
}

func (o *Options) check() error {
	if o.CacheBytes < 0 {
		return fmt.Errorf("embedded: CacheBytes is %d, below zero", o.CacheBytes)
	}
	if o.MemTableBytes < 1<<20 || o.MemTableBytes > 1<<30 {
		return errors.New("embedded: MemTableBytes is not between 1 MiB and 1 GiB")
	}
	if o.OpenTables < 0 {
		return fmt.Errorf("embedded: OpenTables is %d, below zero", o.OpenTables)
	}
	return nil
}
