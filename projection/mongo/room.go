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
	roomFirst = 8
	roomMost  = 64
)

// room is how many bulk writes of all partitions are on their way at once. A database
// that is slower than what all partitions send together would answer none of it in
// time: every write is given up and sent again, and the database, which still works
// on what was given up, gets further and further behind, with nothing ever done. So
// the room halves where answers do not come in time, and grows by one for as many
// answers as it has places, as TCP has its window (RFC 5681). It is safe for
// concurrent use.
type room struct {
	mu      sync.Mutex
	limit   float64
	taken   int
	slowed  time.Time       // when it was halved last
	waiting []chan struct{} // in order; closed when there is a place
}

// take waits for a place. A caller that got one must leave it.
func (r *room) take(ctx context.Context) error {
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

func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
	r.let()
}

// answered takes how a write went that began at some time.
func (r *room) answered(began, now time.Time, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		r.limit = min(r.limit+1/r.limit, roomMost)
		r.let()
	case !driver.IsTimeout(err):
	case began.After(r.slowed): // others that were on their way then tell nothing new
		r.limit = max(r.limit/2, 1)
		r.slowed = now
	}
}

// let gives places to those who wait. r.mu is held.
func (r *room) let() {
	for len(r.waiting) > 0 && r.taken < int(r.limit) {
		close(r.waiting[0])
		r.waiting = r.waiting[1:]
		r.taken++
	}
}
