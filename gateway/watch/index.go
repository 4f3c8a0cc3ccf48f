package watch

import "hash/maphash"

// index finds the watchers of a holder's key. It keeps a hash of the key, not the key,
// so a watched name costs about 45 bytes here. Two keys of one hash wake each other's
// watchers, who find that nothing has changed for them.
//
// The watchers of a hash are a doubly linked list of entries, which lie in chunks and
// refer to each other by number.
type index struct {
	seed    maphash.Seed
	heads   map[uint64]uint32 // the first entry of a hash
	most    int               // hashes since heads was made
	chunks  []*[chunkSize]entry
	free    uint32 // the first unused entry; 0: none
	used    uint32 // entries that were ever used
	entries int
}

const chunkSize = 4096

// entry is one watcher of one key. Numbers begin with 1.
type entry struct {
	prev, next uint32
	watcher    uint32 // place among the hub's watchers
}

func newIndex() index { return index{seed: maphash.MakeSeed(), heads: map[uint64]uint32{}} }

func (x *index) at(n uint32) *entry { return &x.chunks[(n-1)/chunkSize][(n-1)%chunkSize] }

// add adds a watcher of a key and returns the number of the entry.
func (x *index) add(key string, watcher uint32) uint32 {
	n := x.free
	if n != 0 {
		x.free = x.at(n).next
	} else {
		if x.used%chunkSize == 0 {
			x.chunks = append(x.chunks, new([chunkSize]entry))
		}
		x.used++
		n = x.used
	}
	hash := maphash.String(x.seed, key)
	head := x.heads[hash]
	*x.at(n) = entry{next: head, watcher: watcher}
	if head != 0 {
		x.at(head).prev = n
	}
	x.heads[hash] = n
	x.entries++
	x.most = max(x.most, len(x.heads))
	return n
}

// remove takes an entry of a key out.
func (x *index) remove(key string, n uint32) {
	e := x.at(n)
	if e.next != 0 {
		x.at(e.next).prev = e.prev
	}
	switch {
	case e.prev != 0:
		x.at(e.prev).next = e.next
	case e.next != 0:
		x.heads[maphash.String(x.seed, key)] = e.next
	default:
		delete(x.heads, maphash.String(x.seed, key))
	}
	*e = entry{next: x.free}
	x.free = n
	x.entries--
	x.shrink()
}

// shrink gives memory back when few entries are left of many.
func (x *index) shrink() {
	if x.entries == 0 && x.used > chunkSize {
		x.chunks, x.free, x.used = nil, 0, 0
	}
	if x.most > chunkSize && len(x.heads) < x.most/4 { // a map does not become smaller by itself
		heads := make(map[uint64]uint32, len(x.heads))
		for hash, n := range x.heads {
			heads[hash] = n
		}
		x.heads, x.most = heads, len(heads)
	}
}

// each calls fn with the watchers of a key, and maybe others.
func (x *index) each(key string, fn func(watcher uint32)) {
	for n := x.heads[maphash.String(x.seed, key)]; n != 0; {
		e := x.at(n)
		fn(e.watcher)
		n = e.next
	}
}
