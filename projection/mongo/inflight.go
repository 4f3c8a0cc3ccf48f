package mongo

import (
	"context"
	"slices"
	"sync"
	"time"

	driver "go.mongodb.org/mongo-driver/v2/mongo"
)

// Bounds of how many bulk writes of a store are on their way at once.
const (
	inflightFirst = 8
	inflightMost  = 64
)

// inflight limits how many bulk writes of all partitions are in flight at once. Without
// it, a database that is slower than all partitions together would answer no write in
// time: each write would be given up and sent again, while the database still works on
// those that were given up. So the limit is halved when an answer does not come in time.
// It grows by one after as many answers as the limit allows writes, like the window of
// TCP (RFC 5681). It is safe for concurrent use.
type inflight struct {
	mu      sync.Mutex
	limit   float64
	taken   int
	slowed  time.Time       // when it was halved last
	waiting []chan struct{} // in order; closed when there is a place
}

// take waits for a place. A caller that got one must leave it.
func (r *inflight) take(ctx context.Context) error {
	r.mu.Lock()
	if len(r.waiting) == 0 && r.taken < int(r.limit) {
		r.taken++
		r.mu.Unlock()
		return nil
	}
	mine := make(chan struct{})
	r.waiting = append(r.waiting, mine)
	r.mu.Unlock()
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, mine); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	} else { // the place came at the same moment
		r.taken--
		r.let()
	}
	return ctx.Err()
}

func (r *inflight) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
	r.let()
}

// answered takes how a write went that began at some time.
func (r *inflight) answered(began, now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.limit = min(r.limit+1/r.limit, inflightMost)
		r.let()
	case !driver.IsTimeout(err):
	case began.After(r.slowed): // others that were on their way then tell nothing new
		r.limit = max(r.limit/2, 1)
		r.slowed = now
	}
}

// let gives places to those who wait. r.mu is held.
func (r *inflight) let() {
	for len(r.waiting) > 0 && r.taken < int(r.limit) {
		close(r.waiting[0])
		r.waiting = r.waiting[1:]
		r.taken++
	}
}
