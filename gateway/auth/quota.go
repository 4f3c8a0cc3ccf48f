package auth

import (
	"sync"
	"sync/atomic"
	"time"
)

// Quotas bound what a principal may use of one gateway. A zero is no bound.
type Quotas struct {
	Events  float64 `json:"events_per_second,omitempty"`
	Bytes   float64 `json:"bytes_per_second,omitempty"` // of events, as they were sent
	Streams int     `json:"streams,omitempty"`          // open at once
	Watches int     `json:"watches,omitempty"`          // open at once; each is a stream, too
}

// Usage is what a principal uses. It is safe for concurrent use. A nil *Usage counts
// nothing and bounds nothing.
type Usage struct {
	now     func() int64
	quotas  Quotas
	mu      sync.Mutex // of the buckets
	events  bucket
	bytes   bucket
	streams atomic.Int64
	watches atomic.Int64
}

// NewUsage returns the usage of a principal with some quotas, or nil if there are none. now
// is the time in unix nanoseconds.
func NewUsage(q Quotas, now func() int64) *Usage {
	if q == (Quotas{}) {
		return nil
	}
	t := now()
	return &Usage{now: now, quotas: q, events: newBucket(q.Events, t), bytes: newBucket(q.Bytes, t)}
}

// bucket fills with a rate up to what comes in a second. What it admits is admitted whole,
// so a batch may take more than there is; the next one waits until that is filled up.
type bucket struct {
	rate float64 // a second; 0: no bound
	has  float64
	at   int64 // unix nanoseconds
}

func newBucket(rate float64, now int64) bucket { return bucket{rate: rate, has: burst(rate), at: now} }

// burst is how much a bucket holds: what comes in a second, and at least one.
func burst(rate float64) float64 { return max(rate, 1) }

// fill adds what has come until now.
func (b *bucket) fill(now int64) {
	if now > b.at {
		b.has = min(burst(b.rate), b.has+b.rate*float64(now-b.at)/1e9)
	}
	b.at = max(b.at, now)
}

// wait returns how long it takes until the bucket admits something; 0: it does now.
func (b *bucket) wait() time.Duration {
	if b.rate == 0 || b.has > 0 {
		return 0
	}
	return max(time.Millisecond, time.Duration((1e-6-b.has)/b.rate*1e9))
}

// take counts events and their bytes, or returns a refusal.
func (u *Usage) take(events, bytes int) *RefusedError {
	if u == nil || u.quotas.Events == 0 && u.quotas.Bytes == 0 {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := u.now()
	u.events.fill(now)
	u.bytes.fill(now)
	if wait := u.events.wait(); wait > 0 {
		return overdrawn(wait, "this key may send %g events a second", u.quotas.Events)
	}
	if wait := u.bytes.wait(); wait > 0 {
		return overdrawn(wait, "this key may send %g bytes of events a second", u.quotas.Bytes)
	}
	u.events.has -= float64(events)
	u.bytes.has -= float64(bytes)
	return nil
}

// comeBack is when a caller is asked to try again that has too much open at once.
const comeBack = time.Second

// openStream counts a stream until closed is called.
func (u *Usage) openStream() (closed func(), refused *RefusedError) {
	if u == nil {
		return func() {}, nil
	}
	return open(&u.streams, u.quotas.Streams, "this key may have %d streams open at once")
}

// openWatch counts a watch until closed is called.
func (u *Usage) openWatch() (closed func(), refused *RefusedError) {
	if u == nil {
		return func() {}, nil
	}
	return open(&u.watches, u.quotas.Watches, "this key may have %d watches open at once")
}

func open(count *atomic.Int64, most int, format string) (closed func(), refused *RefusedError) {
	if n := count.Add(1); most > 0 && n > int64(most) {
		count.Add(-1)
		return nil, overdrawn(comeBack, format, most)
	}
	return sync.OnceFunc(func() { count.Add(-1) }), nil
}

func overdrawn(after time.Duration, format string, args ...any) *RefusedError {
	e := refusal(Overdrawn, format+": try again in %v", append(args, after.Round(time.Millisecond))...)
	e.After = after
	return e
}
