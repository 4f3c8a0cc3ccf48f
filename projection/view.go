package projection

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// View keeps the current snapshots of a bucket in memory. It is safe for
// concurrent use, and made for thousands of readers.
//
// One watch on the bucket feeds it. The watch starts again if the connection was lost,
// if the bucket was created again, or if the watch may have missed a message. Meanwhile
// the view answers with its current snapshots. Then it takes the bucket's snapshots and
// drops those that the bucket no longer has. It believes only what a majority of the
// bucket's replicas has, never the state of one replica that is behind.
//
// A reader that follows changes keeps nothing but a number (see [View.Changes]),
// so a slow one costs no memory and slows nobody.
type View struct {
	js     jetstream.JetStream
	bucket *Snapshots
	stream string
	prefix string // of subjects

	ready     chan struct{} // closed when the view was complete for the first time
	readyOnce sync.Once
	cancel    context.CancelFunc
	done      chan struct{} // closed when the watch has ended for good
	lastErr   atomic.Pointer[error]
	heard     heard
	damaged   damagedKeys
	patience  time.Duration // watchPatience

	fed     bool // by the owner of the bucket, too; see feed
	watched atomic.Pointer[Watched]

	gate      gate
	held      held // touched behind the gate
	table     table
	positions positions
}

// Watch opens a view. It returns when the bucket was found, before the view is
// complete. ctx is for finding it; the view lives until Close.
func (s *Snapshots) Watch(ctx context.Context) (*View, error) {
	return s.watch(ctx, s.js, watchPatience)
}

func (s *Snapshots) watch(ctx context.Context, js jetstream.JetStream, patience time.Duration) (*View, error) {
	v, err := s.newView(ctx, js, patience)
	if err == nil {
		v.start(ctx)
	}
	return v, err
}

// newView returns a view that does not follow the bucket yet.
func (s *Snapshots) newView(ctx context.Context, js jetstream.JetStream, patience time.Duration) (*View, error) {
	name := s.stream.CachedInfo().Config.Name
	if _, err := s.js.Stream(ctx, name); err != nil {
		return nil, fmt.Errorf("projection: watch snapshot bucket %s: %w", BucketName(s.config.Generation), err)
	}
	v := &View{
		js: js, bucket: s, stream: name, prefix: s.prefix,
		ready: make(chan struct{}), done: make(chan struct{}), patience: patience,
	}
	v.damaged.check, v.damaged.tell = s.config.Check, s.foreign.tell
	v.gate.init()
	v.table.init()
	v.positions.init()
	return v, nil
}

// start has the view follow the bucket until Close.
func (v *View) start(ctx context.Context) {
	watching, cancel := context.WithCancel(context.WithoutCancel(ctx))
	v.cancel = cancel
	go func() {
		defer close(v.done)
		v.watch(watching)
	}()
}

// Close ends the watch and waits for it. What the view holds can still be read, and
// changes no more.
func (v *View) Close() error {
	v.bucket.feed.remove(v)
	v.gate.set(func() { v.gate.closed = true })
	v.cancel()
	<-v.done
	return nil
}

// Ready is closed when the view has all that the bucket had when it was opened.
func (v *View) Ready() <-chan struct{} { return v.ready }

func (v *View) isReady() bool {
	select {
	case <-v.ready:
		return true
	default:
		return false
	}
}

// Wait returns when the view is ready, or with [ErrClosed] if it was closed before. A view
// that was ready stays so when it is closed: an answer that began with it ends with it.
func (v *View) Wait(ctx context.Context) error {
	if v.isReady() { // of several channels that are closed, select takes any
		return nil
	}
	select {
	case <-v.ready:
		return nil
	case <-v.done:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Err is what keeps the view from following the bucket; nil while it follows.
func (v *View) Err() error {
	if err := v.lastErr.Load(); err != nil {
		return *err
	}
	return nil
}

// Mark writes a message of the reader's own to the bucket and returns its sequence. A
// view that has heard it follows the bucket, and has all that it had before.
func (v *View) Mark(ctx context.Context) (uint64, error) { return v.mark(ctx) }

// Heard returns the sequence of the bucket's last message that the view has had, and when
// it came. A broker that was opened again may give a sequence a second time.
func (v *View) Heard() (sequence uint64, at time.Time) {
	return v.heard.sequence.Load(), time.Unix(0, v.heard.at.Load())
}

// WaitHeard returns when the view has had a message of the bucket that came after since
// and has at least the given sequence; or with ctx's error.
func (v *View) WaitHeard(ctx context.Context, sequence uint64, since time.Time) error {
	for {
		moved := v.heard.moved.wait()
		if heard, at := v.Heard(); heard >= sequence && !at.Before(since) {
			return nil
		}
		select {
		case <-moved:
		case <-v.done:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Closed reports whether the view was closed.
func (v *View) Closed() bool {
	select {
	case <-v.done:
		return true
	default:
		return false
	}
}

// Damaged returns how many snapshots of the bucket cannot be read, and the key of one.
// Of their holders the view has what came before, if anything.
func (v *View) Damaged() (count int, one string) { return v.damaged.look() }

// IsDamaged reports whether the snapshot of a holder cannot be read.
func (v *View) IsDamaged(key string) bool { return v.damaged.has(key) }

// Len is the number of holders.
func (v *View) Len() int { return v.table.len() }

// Get returns the current snapshot of a holder, as it was published, or false if the
// holder has none. The bytes must not be changed.
func (v *View) Get(key string) (value []byte, ok bool) {
	c, ok := v.table.get(key)
	return c.Value, ok
}

// Lookup returns the current snapshot of a holder and when it came, or false if the
// holder has none.
func (v *View) Lookup(key string) (Change, bool) { return v.table.get(key) }

// Last is the number of the last change: the point that a reader has reached who
// has all that the view has now.
func (v *View) Last() uint64 { return v.table.newest() }

// All calls fn for every holder, in the order of their keys, until it returns
// false. Holders that are there all the time come exactly once; each snapshot is
// the one that is current when it is its turn. fn may take its time and may use
// the view: nothing is locked while it runs. It must not change the bytes.
func (v *View) All(fn func(key string, value []byte) bool) {
	v.table.each(func(c Change) bool { return fn(c.Key, c.Value) })
}

// Each is All, with when each snapshot came.
func (v *View) Each(fn func(Change) bool) { v.table.each(fn) }

// Change is what became of one holder: its current snapshot, or nothing where it
// is gone from the bucket.
type Change struct {
	Key   string
	Value []byte // not to be changed
	Gone  bool
	Shown bool // the owner of the bucket has shown it in this process
	// Number is the point of this change in the view's history, Settled that of the
	// last change which changed the holder's settled figures: one that began or
	// moved only what still runs leaves it behind.
	Number, Settled uint64
}

// Changes returns what has changed after a point in the view's own history, in
// the order of the changes, at most limit of them, and the point to go on from.
// Each holder comes once, with its current snapshot, however often it has
// changed. From 0 on, it is every holder there is. When next equals after, there
// is nothing more; fewer than limit, even none, with another next are not the end.
//
// That is a watcher:
//
//	for after := uint64(0); ; {
//		changed := view.Changed() // before Changes, so that nothing is missed
//		changes, next := view.Changes(after, 256)
//		if next == after {
//			select {
//			case <-changed:
//			case <-ctx.Done():
//			}
//			continue
//		}
//		after = next
//		send(changes)
//	}
func (v *View) Changes(after uint64, limit int) (changes []Change, next uint64) {
	return v.table.changes(nil, after, limit)
}

// AppendChanges is Changes into memory of the caller's.
func (v *View) AppendChanges(dst []Change, after uint64, limit int) (changes []Change, next uint64) {
	return v.table.changes(dst, after, limit)
}

// AppendLatest gives the same changes the other way round: those after a point and
// before another one (math.MaxUint64: none), the newest first, at most limit of
// them. next is where to go on, as before, while there is more; point is the
// number of the last change of all when it looked.
//
// It is for a reader who may be slower than what it reads. Going forward, it would
// meet the holders that change rarely and never those that change all the time,
// which move to the end of the history before it comes there. Going back from the
// end, it meets those first. What changes while it is on its way has a number
// greater than the first point, and is met next time.
func (v *View) AppendLatest(dst []Change, after, before uint64, limit int) (changes []Change, next, point uint64, more bool) {
	return v.table.latest(dst, after, before, limit)
}

// Changed is closed at the next change. All who wait for one share the channel.
func (v *View) Changed() <-chan struct{} { return v.table.changed.wait() }

// Position is the position of the log that the view has all of, of a partition;
// 0 where that is not known yet.
func (v *View) Position(partition int) uint64 { return v.positions.get(partition).Position }

// Reached is the position and the log's time of it.
func (v *View) Reached(partition int) Reached { return v.positions.get(partition) }

// WaitPosition returns when the view has all of a position of the log. Where ctx ends
// first, the error is a [*WaitError], which wraps ctx's.
func (v *View) WaitPosition(ctx context.Context, partition int, position uint64) error {
	for {
		moved := v.positions.moved.wait()
		reached := v.positions.get(partition).Position
		if reached >= position {
			return nil
		}
		v.want(partition)
		select {
		case <-moved:
		case <-v.done:
			return ErrClosed
		case <-ctx.Done():
			return v.waitError(ctx, partition, position, reached)
		}
	}
}

// heard is the newest message of a watch.
type heard struct {
	sequence   atomic.Uint64 // in the bucket
	stored, at atomic.Int64  // by the broker's clock, and when it came; unix nanoseconds
	moved      signal
}

func (h *heard) note(meta *jetstream.MsgMetadata) {
	h.sequence.Store(meta.Sequence.Stream)
	h.stored.Store(meta.Timestamp.UnixNano())
	h.at.Store(time.Now().UnixNano())
	h.moved.raise()
}

func (v *View) waitError(ctx context.Context, partition int, wanted, reached uint64) error {
	e := &WaitError{Partition: partition, Wanted: wanted, Reached: reached, Watch: v.Err(), Err: ctx.Err()}
	if e.LastSequence = v.heard.sequence.Load(); e.LastSequence > 0 {
		e.LastStored, e.LastHeard = time.Unix(0, v.heard.stored.Load()), time.Unix(0, v.heard.at.Load())
	}
	return e
}
