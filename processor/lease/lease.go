package lease

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/internal/backoff"
)

// Lease is one worker's ownership of one partition. It is safe for concurrent use.
type Lease struct {
	member    *Member
	partition int
	revision  uint64 // of the claim

	renewing sync.Mutex // one renewal at a time

	mu    sync.Mutex
	last  uint64    // revision of the last renewal
	until time.Time // by our own clock, from when the renewal was sent: earlier than the broker thinks
	over  bool
	lost  chan struct{}
	timer *time.Timer
}

// Partition is what is owned.
func (l *Lease) Partition() int { return l.partition }

// Revision is the bucket's revision of the claim. A later claim has a greater one
// for as long as the bucket exists.
func (l *Lease) Revision() uint64 { return l.revision }

// Last is the bucket's revision of the last renewal.
func (l *Lease) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// Lost is closed when the lease is over, also when it was released.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Err is [ErrLost] from the instant at which the lease may be over for the
// broker, whether or not anybody has noticed; nil before. Looking at it costs
// nothing, so look before every write.
func (l *Lease) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over && !l.member.cfg.Now().Before(l.until) {
		l.end()
	}
	if l.over {
		return fmt.Errorf("%w: partition %d", ErrLost, l.partition)
	}
	return nil
}

// Confirm asks the broker: nil says that nobody else has claimed the partition
// up to some instant after the call. The error wraps [ErrLost] where somebody
// may have.
func (l *Lease) Confirm(ctx context.Context) error {
	if err := l.Err(); err != nil {
		return err
	}
	if err := l.renew(ctx); err != nil {
		return fmt.Errorf("lease: confirm partition %d: %w", l.partition, err)
	}
	return nil
}

// Release gives the partition up, so that the next owner need not wait. Whatever
// the error, the lease is over; the broker may then find out only when it has
// run out.
func (l *Lease) Release(ctx context.Context) error {
	l.renewing.Lock()
	defer l.renewing.Unlock()
	defer l.member.forget(l)
	l.mu.Lock()
	last, over := l.last, l.over
	l.end()
	l.mu.Unlock()
	if over {
		return nil // it may be another's already
	}
	fail := func(err error) error { return fmt.Errorf("lease: release partition %d: %w", l.partition, err) }
	kv, err := l.member.bucket(ctx)
	if err != nil {
		return fail(err)
	}
	for {
		err := kv.Delete(ctx, partitionKey(l.partition), jetstream.LastRevision(last))
		if err == nil {
			return nil
		}
		if !refused(err) {
			return fail(err)
		}
		// A renewal that was given up stands all the same, or somebody else has it.
		mine, at, err := l.member.holds(ctx, l.partition)
		switch {
		case err != nil:
			return fail(err)
		case !mine:
			return nil
		case at == last:
			// Who answered is behind, as a leader that slept may be.
			if err := backoff.Wait(ctx, replicaPause); err != nil {
				return fail(err)
			}
		}
		last = at
		l.mu.Lock()
		l.last = at
		l.mu.Unlock()
	}
}

// replicaPause is how long a replica that is behind is left alone.
const replicaPause = 20 * time.Millisecond

// renew makes the lease run from now.
func (l *Lease) renew(ctx context.Context) error {
	l.renewing.Lock()
	defer l.renewing.Unlock()
	m := l.member
	for range 2 {
		l.mu.Lock()
		last, over := l.last, l.over
		l.mu.Unlock()
		if over {
			return ErrLost
		}
		sent := m.cfg.Now()
		revision, err := put(ctx, m.js, Bucket(m.cfg.Generation), partitionKey(l.partition), m.claim, &last, m.cfg.Lease)
		if err == nil {
			l.extend(revision, sent)
			return nil
		}
		if !refused(err) {
			return err
		}
		// Either somebody else's, or an earlier renewal of ours whose answer was lost.
		mine, revision, err := m.holds(ctx, l.partition)
		if err != nil {
			return err
		}
		if !mine {
			l.lose()
			return ErrLost
		}
		l.mu.Lock()
		l.last = revision
		l.mu.Unlock()
	}
	return errors.New("lease: the bucket changes its mind")
}

func (l *Lease) extend(revision uint64, sent time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.last, l.until = revision, sent.Add(l.member.cfg.Lease)
	l.timer.Reset(max(l.until.Sub(l.member.cfg.Now()), 0))
}

// expire is called by the timer.
func (l *Lease) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	if left := l.until.Sub(l.member.cfg.Now()); left > 0 {
		l.timer.Reset(left)
		return
	}
	l.end()
}

func (l *Lease) lose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

// end makes the lease over. l.mu is held.
func (l *Lease) end() {
	if !l.over {
		l.over = true
		l.timer.Stop()
		close(l.lost)
	}
}

// saw takes what a watcher saw of the key: who has slept learns it sooner that way.
func (l *Lease) saw(mine bool, revision uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !mine && revision > l.last {
		l.end()
	}
}

// holds reports whether the bucket has the partition as this member's.
func (m *Member) holds(ctx context.Context, partition int) (mine bool, revision uint64, err error) {
	kv, err := m.bucket(ctx)
	if err != nil {
		return false, 0, err
	}
	e, err := kv.Get(ctx, partitionKey(partition))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, 0, nil
	}
	if err != nil {
		return false, 0, err
	}
	var o Owner
	return json.Unmarshal(e.Value(), &o) == nil && o.Session == m.session, e.Revision(), nil
}
