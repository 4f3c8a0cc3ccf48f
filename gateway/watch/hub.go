// Package watch serves clients that watch: the snapshots, then their changes, across
// switches of the generation.
package watch

import (
	"errors"
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

	bounds Bounds

	mu        sync.Mutex
	snapshots query.Snapshots
	all       map[*watcher]struct{} // those of all holders
	some      []*watcher            // those of some holders; nil: the place is free
	free      []uint32              // places of some
	byKey     index                 // those of some, by holder key
	interest  interest
	open      usage
	clients   map[string]*usage
	sending   int           // watchers that are at work
	running   bool          // the goroutine
	empty     chan struct{} // closed when the goroutine is to end
	stopped   bool
	over      chan struct{} // closed by drain

	followers sync.WaitGroup
}

// watcher is a place in the hub.
type watcher struct {
	client  string
	keys    nameList      // none: all holders
	place   uint32        // among the hub's watchers of some holders
	entries []uint32      // of the index, by key
	wake    chan struct{} // has an item when there may be something new
}

const (
	// watchPace is the least time between two rounds of the hub, and watchPaceIdle that
	// after a round which woke nobody.
	watchPace     = 5 * time.Millisecond
	watchPaceIdle = time.Millisecond
	// watchCrowd is how many watchers may still be at work when the next round
	// begins. Beyond it the hub waits, for watchPatience at most, and changes are
	// conflated meanwhile: more rounds would reach nobody earlier.
	watchCrowd    = 64
	watchPatience = 250 * time.Millisecond
	watchLook     = 1024 // changes that the hub looks at at once
)

// NewHub returns a hub for watches of the snapshots s, which reads from r.
func NewHub(r *query.Service, s query.Snapshots, b Bounds) *Hub {
	h := &Hub{
		reads: r, snapshots: s, bounds: b.withDefaults(), all: map[*watcher]struct{}{}, byKey: newIndex(), clients: map[string]*usage{}, over: make(chan struct{}),
	}
	h.interest.init()
	h.interest.tell(s)
	return h
}

// ErrTooMany means that a watch would be beyond what may be watched at once.
var ErrTooMany = errors.New("gateway: too much is watched")

// join adds a watcher of holders, or of all if there are no keys. What changes from here
// on wakes it. It takes the place of a former one; nil: there is none, and the bounds are
// checked ([ErrTooMany]). After drain the error is [query.ErrDraining].
func (h *Hub) join(client string, keys nameList, former *watcher) (*watcher, error) {
	w := &watcher{client: client, keys: keys, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return nil, query.ErrDraining
	}
	if former != nil {
		h.remove(former)
	}
	used := h.clients[client]
	if used == nil {
		used = &usage{}
	}
	if former == nil {
		if err := h.bounds.check(h.open, *used, keys.len()); err != nil {
			return nil, err
		}
	}
	used.add(keys.len(), 1)
	h.open.add(keys.len(), 1)
	h.clients[client] = used
	if keys.len() == 0 {
		h.all[w] = struct{}{}
		h.interest.all.Add(1)
	} else {
		h.place(w)
	}
	if !h.running {
		h.running, h.empty = true, make(chan struct{})
		h.start()
	}
	return w, nil
}

// place puts a watcher of some holders in the index.
func (h *Hub) place(w *watcher) {
	if n := len(h.free); n > 0 {
		w.place, h.free = h.free[n-1], h.free[:n-1]
		h.some[w.place] = w
	} else {
		w.place = uint32(len(h.some))
		h.some = append(h.some, w)
	}
	w.entries = make([]uint32, w.keys.len())
	for i := range w.entries {
		w.entries[i] = h.byKey.add(w.keys.at(i), w.place)
		h.interest.add(w.keys.at(i), 1)
	}
}

// remove takes a watcher out.
func (h *Hub) remove(w *watcher) {
	h.open.add(w.keys.len(), -1)
	used := h.clients[w.client]
	if used.add(w.keys.len(), -1); used.watches == 0 {
		delete(h.clients, w.client)
	}
	if w.keys.len() == 0 {
		delete(h.all, w)
		h.interest.all.Add(-1)
		return
	}
	for i, n := range w.entries {
		h.byKey.remove(w.keys.at(i), n)
		h.interest.add(w.keys.at(i), -1)
	}
	h.some[w.place] = nil
	h.free = append(h.free, w.place)
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
	h.interest.tell(s)
	if !h.running {
		return
	}
	close(h.empty)
	h.empty = make(chan struct{})
	h.start()
	for w := range h.all {
		w.raise()
	}
	for _, w := range h.some {
		if w != nil {
			w.raise()
		}
	}
}

// leave takes a watcher out.
func (h *Hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(w)
	if h.open.watches == 0 && h.running {
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
	return int64(h.open.watches)
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
		woken := 0
		if h.keyed() {
			for next := after; ; after = next {
				changes, next = snapshots.AppendChanges(changes[:0], after, watchLook)
				if next == after {
					break
				}
				woken += h.wakeSome(changes)
			}
			clear(changes[:cap(changes)]) // what they refer to may be gone by the next round
		} else {
			// Not what is the last by now: a watcher that has just joined may wait for that.
			after = last
		}
		woken += h.wakeAll()
		rest := watchPace
		if woken == 0 {
			rest = watchPaceIdle
		}
		for began := time.Now(); ; {
			pace.Reset(rest)
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
	return h.byKey.entries > 0
}

func (h *Hub) crowded() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sending > watchCrowd
}

func (h *Hub) wakeSome(changes []projection.Change) (woken int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range changes {
		h.byKey.each(changes[i].Key, func(place uint32) {
			h.some[place].raise()
			woken++
		})
	}
	return woken
}

func (h *Hub) wakeAll() (woken int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.all {
		w.raise()
	}
	return len(h.all)
}

func (w *watcher) raise() {
	select {
	case w.wake <- struct{}{}:
	default: // it has not come yet for the last one
	}
}
