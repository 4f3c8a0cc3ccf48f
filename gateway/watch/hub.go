// Package watch serves clients that watch: the snapshots, then their changes, across
// switches of the generation.
package watch

import (
	"sync"
	"time"

	"holdmetrics/gateway/query"
	"holdmetrics/projection"
)

// Hub wakes watchers. One goroutine follows the snapshots for all of them,
// while there are any: it finds out who is concerned by a change, so that ten
// thousand watchers of a few holders each do not all look at every change, and
// paces them, so that a burst of changes wakes each of them once.
//
// What a watcher reads then is the current value of each holder. Nothing is
// queued for anybody: a watcher that is slow finds, when it comes back, that some
// holders have changed, once each, however often they did.
type Hub struct {
	reads *query.Service

	mu        sync.Mutex
	snapshots query.Snapshots
	all       map[*watcher]struct{}            // those of all holders
	byKey     map[string]map[*watcher]struct{} // those of some, by holder key
	watched   int
	sending   int           // watchers that are at work
	running   bool          // the goroutine
	empty     chan struct{} // closed when the goroutine is to end
	stopped   bool
	over      chan struct{} // closed by drain

	followers sync.WaitGroup
}

// watcher is a place in the hub.
type watcher struct {
	keys []string      // nil: all holders
	wake chan struct{} // has an item when there may be something new
}

const (
	// watchPace is the least time between two rounds of the hub.
	watchPace = 5 * time.Millisecond
	// watchCrowd is how many watchers may still be at work when the next round
	// begins. Beyond it the hub waits, for watchPatience at most, and changes are
	// conflated meanwhile: more rounds would reach nobody earlier.
	watchCrowd    = 64
	watchPatience = 250 * time.Millisecond
	watchLook     = 1024 // changes that the hub looks at at once
)

// NewHub returns a hub for watches of the snapshots s, which reads from r.
func NewHub(r *query.Service, s query.Snapshots) *Hub {
	return &Hub{
		reads: r, snapshots: s, all: map[*watcher]struct{}{}, byKey: map[string]map[*watcher]struct{}{}, over: make(chan struct{}),
	}
}

// join adds a watcher of holders, or of all. What changes from here on wakes it.
// After drain it is [ErrDraining].
func (h *Hub) join(keys []string) (*watcher, error) {
	w := &watcher{keys: keys, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return nil, query.ErrDraining
	}
	h.watched++
	if keys == nil {
		h.all[w] = struct{}{}
	}
	for _, k := range keys {
		if h.byKey[k] == nil {
			h.byKey[k] = map[*watcher]struct{}{}
		}
		h.byKey[k][w] = struct{}{}
	}
	if !h.running {
		h.running, h.empty = true, make(chan struct{})
		h.start()
	}
	return w, nil
}

// start begins to follow the snapshots, from what is the last change now.
func (h *Hub) start() {
	snapshots, after, empty := h.snapshots, h.snapshots.Last(), h.empty
	h.followers.Go(func() { h.follow(snapshots, after, empty) })
}

// Follows has the hub follow other snapshots from now on. Everybody is woken, since
// some may have read these before.
func (h *Hub) Follows(s query.Snapshots) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snapshots = s
	if !h.running {
		return
	}
	close(h.empty)
	h.empty = make(chan struct{})
	h.start()
	for w := range h.all {
		w.raise()
	}
	for _, watchers := range h.byKey {
		for w := range watchers {
			w.raise()
		}
	}
}

// leave takes a watcher out.
func (h *Hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watched--
	delete(h.all, w)
	for _, k := range w.keys {
		delete(h.byKey[k], w)
		if len(h.byKey[k]) == 0 {
			delete(h.byKey, k)
		}
	}
	if h.watched == 0 && h.running {
		h.running = false
		close(h.empty)
	}
}

// busy says that a watcher is at work, or no longer.
func (h *Hub) busy(n int) {
	h.mu.Lock()
	h.sending += n
	h.mu.Unlock()
}

// Count returns the number of watches that are open.
func (h *Hub) Count() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return int64(h.watched)
}

// Drain ends all watches; none begins after it.
func (h *Hub) Drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stopped {
		h.stopped = true
		close(h.over)
	}
}

// Wait waits for the goroutines of the hub, after the last watch has ended.
func (h *Hub) Wait() { h.followers.Wait() }

// follow wakes watchers until empty is closed.
func (h *Hub) follow(snapshots query.Snapshots, after uint64, empty <-chan struct{}) {
	var changes []projection.Change
	pace := time.NewTimer(0)
	defer pace.Stop()
	for {
		changed := snapshots.Changed()
		last := snapshots.Last()
		if last == after {
			select {
			case <-changed:
			case <-empty:
				return
			}
			continue
		}
		if h.keyed() {
			for next := after; ; after = next {
				changes, next = snapshots.AppendChanges(changes[:0], after, watchLook)
				if next == after {
					break
				}
				h.wakeSome(changes)
			}
			clear(changes[:cap(changes)]) // what they refer to may be gone by the next round
		} else {
			// Not what is the last by now: a watcher that has just joined may wait for that.
			after = last
		}
		h.wakeAll()
		for began := time.Now(); ; {
			pace.Reset(watchPace)
			select {
			case <-pace.C:
			case <-empty:
				return
			}
			if !h.crowded() || time.Since(began) > watchPatience {
				break
			}
		}
	}
}

func (h *Hub) keyed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.byKey) > 0
}

func (h *Hub) crowded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sending > watchCrowd
}

func (h *Hub) wakeSome(changes []projection.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range changes {
		for w := range h.byKey[changes[i].Key] {
			w.raise()
		}
	}
}

func (h *Hub) wakeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.all {
		w.raise()
	}
}

func (w *watcher) raise() {
	select {
	case w.wake <- struct{}{}:
	default: // it has not come yet for the last one
	}
}
