package projection

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// renewAgain is the least time between two renewals of a bucket. After one, snapshots
// are missing until they are published again.
const renewAgain = 10 * time.Minute

// renewal is when a bucket was emptied.
type renewal struct {
	mu    sync.Mutex
	last  time.Time
	count atomic.Uint64
}

// Renewals is how often Renew has emptied the bucket.
func (s *Snapshots) Renewals() uint64 { return s.renewal.count.Load() }

// Renew empties a bucket that has one owner, after it was found to lack snapshots. A
// broker whose file of it is damaged cannot replace what is in there, and takes no other
// snapshot of the same holders; it can drop the file. Every snapshot must be published
// again then. Renew reports whether it did so: not if it did lately, nor for a bucket
// with several owners, which is an operator's to delete.
func (s *Snapshots) Renew(ctx context.Context) (bool, error) {
	if !s.config.Async {
		return false, nil
	}
	r := &s.renewal
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.last.IsZero() && time.Since(r.last) < renewAgain {
		return false, nil
	}
	if err := s.stream.Purge(ctx); err != nil {
		return false, fmt.Errorf("projection: empty the damaged snapshot bucket %s: %w; delete the bucket, it is made again from the store", BucketName(s.config.Generation), err)
	}
	r.last = time.Now()
	r.count.Add(1)
	return true, nil
}
