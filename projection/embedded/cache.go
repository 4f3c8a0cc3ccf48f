package embedded

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// mostSharing is how many stores a shared cache has memory for beside the blocks. Of
// more, each takes its memtables out of what there is for blocks.
const mostSharing = 16

// Cache is a cache of blocks that several stores share: what they read together is
// bounded by CacheBytes, however many they are. It is safe for concurrent use. It
// ends with Close and the last store that has it.
//
// Pebble takes the memory of a store's memtables out of the cache that it is given,
// and a cache keeps its size. So this one is made with the shares of many stores,
// and the share of those that are not open is reserved.
type Cache struct {
	blocks *pebble.Cache
	share  int // bytes for the memtables of one store

	mu       sync.Mutex
	reserved []func() // each releases the share of one store
}

// NewCache makes a cache for stores that are opened with these options.
func NewCache(o Options) *Cache {
	o = o.withDefaults()
	c := &Cache{share: o.memTables()}
	c.blocks = pebble.NewCache(o.CacheBytes + mostSharing*int64(c.share))
	for range mostSharing {
		c.leave()
	}
	return c
}

// enter releases the share of one more store, and leave reserves it again.
func (c *Cache) enter() (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blocks.Ref()
	n := len(c.reserved)
	if n == 0 {
		return c.blocks.Unref
	}
	c.reserved[n-1]()
	c.reserved = c.reserved[:n-1]
	return func() {
		c.leave()
		c.blocks.Unref()
	}
}

func (c *Cache) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reserved = append(c.reserved, c.blocks.Reserve(c.share))
}

// Close lets go of the cache. Stores that have it keep it until they are closed.
func (c *Cache) Close() { c.blocks.Unref() }
