package projection

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// A view has the bucket for its feed, and in the process of the bucket's one owner it has
// a second one: the owner hands it each snapshot in memory, before the bucket has it. What
// readers may see is the same: a holder never steps back, and a position comes after
// all that it stands for.
//
// The two feeds agree by an order of snapshots: the later position, and of one position
// the later line. What the owner has shown gives way only to what is later, whatever the
// bucket delivers, which is older as a rule, for the bucket is written beside the view
// and conflated. So the bucket still brings what the owner had published before the view
// was opened, and shows what somebody else has written there; see foreign.

// feed is the views that the owner of a bucket feeds.
type feed struct {
	mu     sync.Mutex
	views  atomic.Pointer[[]*View] // replaced, never changed; nil: none
	opened atomic.Uint64           // views so far
	wanted atomic.Pointer[func(partition int)]
}

// Watched is what somebody watches of a view.
type Watched interface {
	// WatchesAll reports whether somebody watches all holders.
	WatchesAll() bool
	// Watches reports whether somebody may watch the holder of a key. It may be true of
	// others, too.
	Watches(key string) bool
}

// WatchFed is Watch of a view that the owner of the bucket feeds, in whose process it is;
// see Show. Of a bucket with several owners it is Watch.
func (s *Snapshots) WatchFed(ctx context.Context) (*View, error) {
	v, err := s.newView(ctx, s.js, watchPatience)
	if err != nil {
		return nil, err
	}
	if s.config.Async {
		v.fed = true
		s.feed.add(v)
	}
	v.start(ctx)
	return v, nil
}

func (f *feed) add(v *View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	views := append(slices.Clone(f.all()), v)
	f.views.Store(&views)
	f.opened.Add(1)
}

func (f *feed) remove(v *View) {
	f.mu.Lock()
	defer f.mu.Unlock()
	views := slices.DeleteFunc(slices.Clone(f.all()), func(other *View) bool { return other == v })
	f.views.Store(&views)
}

func (f *feed) all() []*View {
	if views := f.views.Load(); views != nil {
		return *views
	}
	return nil
}

// Feeds returns a number that changes when a view is opened which the owner feeds; 0
// while there is none. The owner then shows all that the bucket may not have yet.
func (s *Snapshots) Feeds() uint64 {
	if len(s.feed.all()) == 0 {
		return 0
	}
	return s.feed.opened.Load()
}

// OnWanted has f called with a partition when a reader waits for a position of it that
// was not shown yet. f must not wait.
func (s *Snapshots) OnWanted(f func(partition int)) { s.feed.wanted.Store(&f) }

// Show hands snapshots of a partition to the views that the owner feeds and, unless it
// is nil, the position up to which all was shown. Each partition has one caller, and
// calls in the order of what is shown. Keys are distinct. Values are kept.
func (s *Snapshots) Show(partition int, entries []Entry, to *Reached) {
	for _, v := range s.feed.all() {
		v.show(partition, entries, to)
	}
}

// Shown is the position of a partition that all views have which the owner feeds.
func (s *Snapshots) Shown(partition int) uint64 {
	least := ^uint64(0)
	for _, v := range s.feed.all() {
		least = min(least, v.Position(partition))
	}
	return least
}

// Watches reports whether somebody may watch the holder of a key in a view that the
// owner feeds.
func (s *Snapshots) Watches(key string) bool {
	for _, v := range s.feed.all() {
		if w := v.watched.Load(); w != nil && (*w).Watches(key) {
			return true
		}
	}
	return false
}

// WatchesAll reports whether somebody watches all holders in a view that the owner feeds.
func (s *Snapshots) WatchesAll() bool {
	for _, v := range s.feed.all() {
		if w := v.watched.Load(); w != nil && (*w).WatchesAll() {
			return true
		}
	}
	return false
}

// WatchedBy says what somebody watches of the view, which the owner shows first.
func (v *View) WatchedBy(w Watched) { v.watched.Store(&w) }

// want tells the owner that somebody waits for a position.
func (v *View) want(partition int) {
	if !v.fed {
		return
	}
	if wanted := v.bucket.feed.wanted.Load(); wanted != nil {
		(*wanted)(partition)
	}
}

// held is what was shown to a frozen view.
type held struct {
	entries []Entry
	at      map[string]int // index in entries
	to      map[int]Reached
}

func (h *held) add(partition int, entries []Entry, to *Reached) {
	if h.at == nil {
		h.at, h.to = map[string]int{}, map[int]Reached{}
	}
	for _, e := range entries {
		if i, ok := h.at[e.Key]; ok {
			h.entries[i] = e
			continue
		}
		h.at[e.Key] = len(h.entries)
		h.entries = append(h.entries, e)
	}
	if to != nil {
		h.to[partition] = *to
	}
}

// show takes over snapshots of the owner. It does not wait for a frozen view.
func (v *View) show(partition int, entries []Entry, to *Reached) {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	switch {
	case v.gate.closed:
	case v.gate.shut:
		v.held.add(partition, entries, to)
	default:
		v.table.show(entries)
		if to != nil {
			v.positions.show(map[int]Reached{partition: *to}, v.isReady())
		}
	}
}

// showHeld takes over what was shown while the view was frozen. The gate is held.
func (v *View) showHeld() {
	v.table.show(v.held.entries)
	v.positions.show(v.held.to, v.isReady())
	v.held = held{}
}

// showChunk is how many snapshots are taken over under one lock.
const showChunk = 256

// show takes over snapshots of the owner.
func (t *table) show(entries []Entry) {
	changed := false
	for some := range slices.Chunk(entries, showChunk) {
		t.mu.Lock()
		for i := range some {
			changed = t.showOne(&some[i]) || changed
		}
		t.mu.Unlock()
	}
	if changed {
		t.changed.raise()
	}
}

func (t *table) showOne(e *Entry) (changed bool) {
	it := t.items[e.Key]
	switch {
	case e.Gone && it == nil:
		return false
	case e.Gone:
		t.drop(it)
		return true
	case it != nil && string(it.value) == string(e.Value):
		it.shown = true
		return false
	}
	t.set(it, e.Key, e.Value).shown = true
	return true
}

// isLater reports whether a snapshot is later than another one of its holder.
func isLater(a, b []byte) bool {
	position, since := snapshotOrder(a)
	of, from := snapshotOrder(b)
	return position > of || position == of && since > from
}
