package embedded

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"holdmetrics/hold"
	"holdmetrics/projection"
)

// However many stores share a cache, the blocks of all of them together take what it
// has for blocks, and the cache gets back what a store that is closed had for itself.
func TestSharedCache(t *testing.T) {
	t.Parallel()
	o := Options{CacheBytes: 4 << 20, MemTableBytes: 1 << 20}
	o.Cache = NewCache(o)
	share := int64(o.memTables())
	const pairs, page = 4000, 1000 // of 4 MB each
	open := func(name string) *Store {
		s, err := Open(t.TempDir(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		b := &projection.Batch{Checkpoint: projection.Checkpoint{LogID: "log", Position: 1, Epoch: 1}}
		noise := rand.NewChaCha8([32]byte{1})
		for i := range pairs {
			data := make([]byte, page) // that nothing packs
			_, _ = noise.Read(data)
			key := projection.PairKey{Holder: fmt.Sprintf("%s-%06d", name, i), Token: "T"}
			b.Pairs = append(b.Pairs, projection.PairChange{Key: key, Pages: []hold.Page{{Data: data}}})
		}
		if err := s.Flush(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	read := func(s *Store) {
		iter, err := s.db.NewIter(nil)
		if err != nil {
			t.Fatal(err)
		}
		for ok := iter.First(); ok; ok = iter.Next() {
			if _, err := iter.ValueAndErr(); err != nil {
				t.Fatal(err)
			}
		}
		if err := iter.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var stores []*Store
	for n := int64(1); n <= 4; n++ {
		stores = append(stores, open(fmt.Sprint("s", n)))
		for _, s := range stores {
			read(s)
		}
		blocks := o.Cache.blocks.Size()
		if blocks > o.CacheBytes+n*share {
			t.Errorf("%d stores have %d bytes of blocks", n, blocks)
		}
		if n == 4 && blocks < o.CacheBytes/2 {
			t.Errorf("%d stores have no more than %d bytes of blocks", n, blocks)
		}
	}
	for _, s := range stores[1:] {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	read(stores[0])
	if blocks := o.Cache.blocks.Size(); blocks > o.CacheBytes+share {
		t.Errorf("one store that is left has %d bytes of blocks", blocks)
	}
	o.Cache.Close() // who has it keeps it
	read(stores[0])
	if err := stores[0].Close(); err != nil {
		t.Error(err)
	}
}

// More stores than a cache has shares for use what there is.
func TestSharedCacheIsFull(t *testing.T) {
	t.Parallel()
	o := Options{CacheBytes: 1 << 20, MemTableBytes: 1 << 20}
	c := NewCache(o)
	var leave []func()
	for range mostSharing + 2 {
		leave = append(leave, c.enter())
	}
	if len(c.reserved) != 0 {
		t.Errorf("%d shares are reserved", len(c.reserved))
	}
	for _, l := range leave {
		l()
	}
	if len(c.reserved) != mostSharing {
		t.Errorf("%d shares are reserved, want %d", len(c.reserved), mostSharing)
	}
	c.Close()
}
