package projection

import (
	"bytes"
	"slices"
	"sort"
	"strings"
	"sync"
)

// table is the snapshots of a view, with two orders over them.
//
// By key: sorted is all items in order, and never changes once it is made, so
// that a walk needs no lock. Holders that came since are in added, and are
// merged into a new sorted by the next walk. After a start, new holders are rare
// beside changes, and a walk finds nothing to merge.
//
// By change: history has an entry for every change, numbered without gaps of
// meaning; an item knows the number of its last one, and entries before that are
// stale. A reader of changes is a number in it. When more than half of the
// history is stale, it is rewritten without the stale entries, numbers unchanged.
//
// For a million holders: a map entry, an item (80 bytes), its key, its value, an
// entry of history or two (16 bytes each) and one of sorted. A key is a copy of
// its own, not a slice of the message's subject, which would keep the bucket's
// prefix a million times; the value is the message's own memory.
type table struct {
	mu      sync.RWMutex
	items   map[string]*item
	sorted  []*item // immutable
	added   []*item // not in sorted yet, by time
	gone    int     // items of sorted that are gone
	history []historyEntry
	last    uint64 // number of the last change
	current int    // entries of history that are not stale
	changed signal
}

type item struct {
	key   string
	value []byte
	last  uint64 // number of its last change
	// settled is the number of the last change that changed its settled figures.
	settled uint64
	pass    uint32 // of the watch that saw it last
	gone    bool
	shown   bool // by the owner: the bucket is older, unless what it has is later
}

type historyEntry struct {
	number uint64
	item   *item
}

const (
	walkChunk       = 256     // items looked at under one lock
	historyChunk    = 1 << 14 // entries looked at by one call of changes
	historyRewrites = 1024    // stale entries that are not worth a rewrite
)

func (t *table) init() { t.items = map[string]*item{} }

func (t *table) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.items)
}

func (t *table) get(key string) (Change, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	it := t.items[key]
	if it == nil {
		return Change{}, false
	}
	return it.change(), true
}

// change is what the item is now.
func (it *item) change() Change {
	return Change{Key: it.key, Value: it.value, Gone: it.gone, Shown: it.shown, Number: it.last, Settled: it.settled}
}

// newest is the number of the last change.
func (t *table) newest() uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

// put takes over a snapshot. The key may be part of a larger string.
func (t *table) put(key string, value []byte, pass uint32) {
	t.mu.Lock()
	it := t.items[key]
	stays := it != nil && it.shown && (bytes.Equal(it.value, value) || !isLater(value, it.value))
	if !stays {
		it = t.set(it, key, value)
	}
	it.pass = pass
	t.mu.Unlock()
	if !stays {
		t.changed.raise()
	}
}

// set gives a key a value. it is the key's item; nil: there is none.
func (t *table) set(it *item, key string, value []byte) *item {
	same := it != nil && settledEqual(it.value, value)
	if it == nil {
		it = &item{key: strings.Clone(key)}
		t.items[it.key] = it
		t.added = append(t.added, it)
		t.current++
	}
	it.value = value
	t.note(it)
	if !same {
		it.settled = it.last
	}
	return it
}

// same reports whether a snapshot is the one that the table has from the bucket, and if
// so that this pass of the watch has seen it.
func (t *table) same(key string, value []byte, pass uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	it := t.items[key]
	if it == nil {
		return false
	}
	if !bytes.Equal(it.value, value) {
		return false
	}
	it.pass = pass
	return true
}

// remove drops a holder, if it is there. One that the owner has shown stays.
func (t *table) remove(key string) {
	t.mu.Lock()
	it := t.items[key]
	gone := it != nil && !it.shown
	if gone {
		t.drop(it)
	}
	t.mu.Unlock()
	if gone {
		t.changed.raise()
	}
}

// unseen are the keys that this pass has not seen, in order.
func (t *table) unseen(pass uint32) (keys []string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, it := range t.items {
		if it.pass != pass && !it.shown {
			keys = append(keys, it.key)
		}
	}
	slices.Sort(keys)
	return keys
}

// removeUnseen drops a holder that this pass has still not seen.
func (t *table) removeUnseen(key string, pass uint32) {
	t.mu.Lock()
	it := t.items[key]
	gone := it != nil && it.pass != pass && !it.shown
	if gone {
		t.drop(it)
	}
	t.mu.Unlock()
	if gone {
		t.changed.raise()
	}
}

func (t *table) drop(it *item) {
	delete(t.items, it.key)
	it.gone, it.value = true, nil
	t.gone++
	t.note(it)
	it.settled = it.last
}

// note adds a change to the history.
func (t *table) note(it *item) {
	t.last++
	it.last = t.last
	t.history = append(t.history, historyEntry{t.last, it})
	if len(t.history) > 2*t.current+historyRewrites {
		t.rewriteHistory()
	}
}

func (t *table) rewriteHistory() {
	kept := make([]historyEntry, 0, t.current+t.current/2+historyRewrites)
	for _, e := range t.history {
		// The removal of a holder is reported until the holder comes back.
		if e.number == e.item.last && (!e.item.gone || t.items[e.item.key] == nil) {
			kept = append(kept, e)
		}
	}
	t.history, t.current = kept, len(kept)
}

func (t *table) changes(changes []Change, after uint64, limit int) ([]Change, uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	start := sort.Search(len(t.history), func(i int) bool { return t.history[i].number > after })
	next := after
	limit += len(changes)
	for _, e := range t.history[start:min(len(t.history), start+historyChunk)] {
		if len(changes) == limit {
			break
		}
		next = e.number
		if e.number == e.item.last {
			changes = append(changes, e.item.change())
		}
	}
	return changes, next
}

// latest is changes from the newest one back. point is the number of the newest
// one when it began, more reports whether some are left before next.
func (t *table) latest(changes []Change, after, before uint64, limit int) (_ []Change, next, point uint64, more bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	end := len(t.history)
	if before <= t.last {
		end = sort.Search(len(t.history), func(i int) bool { return t.history[i].number >= before })
	}
	next, limit = before, limit+len(changes)
	for looked := 0; end > 0; end-- {
		e := t.history[end-1]
		if e.number <= after {
			return changes, next, t.last, false
		}
		if looked++; len(changes) == limit || looked > historyChunk {
			return changes, next, t.last, true
		}
		next = e.number
		if e.number == e.item.last {
			changes = append(changes, e.item.change())
		}
	}
	return changes, next, t.last, false
}

func (t *table) each(fn func(Change) bool) {
	sorted := t.order()
	var chunk [walkChunk]Change
	for len(sorted) > 0 {
		n := min(len(sorted), walkChunk)
		t.mu.RLock()
		for i, it := range sorted[:n] {
			chunk[i] = it.change()
		}
		t.mu.RUnlock()
		for i := range chunk[:n] {
			if !chunk[i].Gone && !fn(chunk[i]) {
				return
			}
		}
		sorted = sorted[n:]
	}
}

// order is all items by key.
func (t *table) order() []*item {
	t.mu.RLock()
	sorted, upToDate := t.sorted, len(t.added) == 0 && t.gone == 0
	t.mu.RUnlock()
	if upToDate {
		return sorted
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.added, func(a, b *item) int { return strings.Compare(a.key, b.key) })
	merged := make([]*item, 0, len(t.items))
	old, added := t.sorted, t.added
	for len(old) > 0 || len(added) > 0 {
		var it *item
		if len(added) == 0 || len(old) > 0 && old[0].key < added[0].key {
			it, old = old[0], old[1:]
		} else {
			it, added = added[0], added[1:]
		}
		if !it.gone {
			merged = append(merged, it)
		}
	}
	t.sorted, t.added, t.gone = merged, nil, 0
	return merged
}
