package query

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"
)

// relining keeps the snapshots' lines going.
//
// A line breaks where a known end, a season, a boost step or a shortest run says so,
// with no event, and nobody extrapolates past that. How it goes on only the holder's
// pairs know. So when a snapshot's line is over, they are read from the store, and
// the snapshot gets a line that begins now, in the view itself: with the same
// position and the same settled figures, it is one more change of its holder. So
// everybody goes on by what he does anyway: reads, rankings, and watchers, who are
// woken by it. No memory is needed for it but for the breaks that are to come.
//
// It is done when the time has come, by one goroutine with one timer; and by whoever
// asks before that, so that no answer is older than it must be.
//
// Where the store knows more of a holder than the snapshot, nothing is done: the next
// snapshot is on its way, and no answer is made of two positions. Where the store is
// away, or there is none, answers are as of the end of the line, and say so.
//
// It begins with the first question, and is safe for concurrent use.
type relining struct {
	b *Generation

	mu      sync.Mutex
	started bool
	closed  bool
	after   uint64              // the point of the snapshots that breaks has all of
	breaks  map[string]breaking // by holder key
	order   breakOrder          // the same by time, and entries that breaks has left behind
	round   chan struct{}       // closed when a round has ended
	drawing int                 // lines that the round is at
	failed  time.Time           // when the store failed last
	failure error               // and how
	poke    chan struct{}       // has an item when somebody waits for a round

	none    bool // there is no store
	stop    context.CancelFunc
	life    context.Context
	running sync.WaitGroup
}

const (
	// relinePace is the least time between two looks at what changed, while nobody asks.
	relinePace = 50 * time.Millisecond
	// relineChunk is how many lines are drawn anew of one view of a partition.
	relineChunk = 512
	// RelineAgain is how long a store that failed is left alone.
	RelineAgain = time.Second
	// relineWait is how long a read waits for the lines that are over.
	relineWait = 2 * time.Second
	// relineLook is how many changes are looked at at once.
	relineLook = 1024
	// breaksSpared are left-behind entries that are not worth a sweep.
	breaksSpared = 1024
)

func newRelining(b *Generation) *relining {
	r := &relining{b: b, breaks: map[string]breaking{}, round: make(chan struct{}), poke: make(chan struct{}, 1)}
	r.life, r.stop = context.WithCancel(context.Background())
	return r
}

// close ends what goes on and waits for it.
func (r *relining) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.running.Wait()
}

// Begun says whether anybody has asked yet.
func (r *relining) Begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.started
}

// Begin starts to keep lines going.
func (r *relining) Begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.started && !r.closed {
		r.started = true
		r.running.Go(r.keep)
	}
}

// keep draws lines anew when they break.
func (r *relining) keep() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		changed := r.b.Snapshots.Changed() // before the look
		now := r.b.S.Now()
		err := r.work(r.life, now)
		if errors.Is(err, ErrNoStore) || r.life.Err() != nil || r.b.left.Err() != nil {
			return
		}
		if err != nil {
			r.b.S.cfg.Logger.Warn("lines of snapshots end, and are not drawn anew; trying again", zap.Error(err))
		}
		// Not at once again: what changes all the time is looked at now and then.
		timer.Reset(relinePace)
		select {
		case <-timer.C:
		case <-r.poke:
			continue
		case <-r.life.Done():
			return
		}
		wait := time.Duration(1<<63 - 1)
		if next := r.next(); next != 0 {
			wait = max(time.Duration(next-r.b.S.Now()), relinePace)
		}
		if err != nil {
			wait = RelineAgain
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-r.poke:
		case <-r.life.Done():
			return
		}
	}
}

// work is one round: it takes over what changed, and draws anew the lines that are
// over at now. Lines that could not be drawn are due again.
func (r *relining) work(ctx context.Context, now int64) error {
	r.look()
	var failure error
	for failure == nil && ctx.Err() == nil {
		due := r.due(now, relineChunk*r.b.S.cfg.Log.Partitions())
		if len(due) == 0 {
			break
		}
		if failure = r.draw(ctx, due, now); failure != nil {
			r.put(due)
		}
		r.look() // the new lines have an end, too
		r.mu.Lock()
		r.drawing = 0
		r.mu.Unlock()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.note(failure)
	close(r.round)
	r.round = make(chan struct{})
	return failure
}

// note keeps how a try went. r.mu is held.
func (r *relining) note(err error) {
	switch {
	case errors.Is(err, ErrNoStore):
		r.none = true
		r.breaks, r.order = nil, nil
	case err != nil:
		r.failed, r.failure = time.Now(), err
	}
}

// hopeless says that there is no use in trying now: the view changes no more when it
// was left. r.mu is held.
func (r *relining) hopeless() bool {
	return r.none || r.closed || r.b.left.Err() != nil || time.Since(r.failed) < RelineAgain
}

// Named has the lines of some holders hold at now, where that can be had.
func (r *relining) Named(ctx context.Context, keys []string, now int64) {
	r.mu.Lock()
	hopeless := r.hopeless()
	r.mu.Unlock()
	if hopeless {
		return
	}
	var over []breakAt
	for _, key := range keys {
		if c, ok := r.b.Snapshots.Lookup(key); ok {
			if until := SnapshotUntil(c.Value); until != 0 && until <= now {
				over = append(over, breakAt{key, breaking{until, c.Number}})
			}
		}
	}
	if len(over) == 0 {
		return
	}
	within, cancel := context.WithTimeout(ctx, relineWait)
	defer cancel()
	if err := r.draw(within, over, now); err != nil && ctx.Err() == nil {
		r.mu.Lock()
		r.note(err)
		r.mu.Unlock()
	}
}

// All has all lines hold at now, as far as that can be had within relineWait. It
// says whether that is so.
func (r *relining) All(ctx context.Context, now int64) bool {
	ctx, cancel := context.WithTimeout(ctx, relineWait)
	defer cancel()
	return r.await(ctx, now) == nil
}

// await returns when all lines hold at now, or there is no store to draw them from;
// else with the error why they do not.
func (r *relining) await(ctx context.Context, now int64) error {
	for {
		r.look()
		r.mu.Lock()
		r.skip()
		held := r.drawing == 0 && (len(r.order) == 0 || r.order[0].until > now)
		hopeless, round, none, failure := r.hopeless(), r.round, r.none, r.failure
		r.mu.Unlock()
		switch {
		case held || none:
			return nil
		case hopeless:
			return cmp.Or(failure, errLeft)
		}
		select {
		case r.poke <- struct{}{}:
		default:
		}
		select {
		case <-round:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
