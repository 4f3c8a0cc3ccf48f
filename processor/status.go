package processor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// State is where a partition is in its life, which the package comment draws.
type State uint8

// The states.
const (
	Loading State = iota
	CatchingUp
	Running
	Stopped
	Failed
)

// String is the state's name in status and metrics.
func (s State) String() string {
	switch s {
	case Loading:
		return "loading"
	case CatchingUp:
		return "catching up"
	case Running:
		return "running"
	case Stopped:
		return "stopped"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// PartitionStatus is how a partition does.
type PartitionStatus struct {
	Partition  int
	State      State
	Err        error  // why it failed, or had not flushed everything when it was stopped
	Position   uint64 // applied in memory
	Checkpoint uint64 // durable in the store
	Published  uint64 // acknowledged by the snapshot bucket
	Pending    uint64 // messages of the partition behind Position: those read, and those behind the last one read when it was sent
	Ahead      Ahead  // what is read of them
	LogTime    int64  // ns, the log's time of Position
	Epoch      uint64
	Events     uint64 // accepted since the store was made, those of excluded holders among them
	Rejected   uint64 // refused since the store was made
	Excluded   uint64 // of Events, since this start: of holders whom the rules do not count
	Pairs      int    // in memory
	CacheBytes int    // estimate of what is in memory
	DirtyBytes int    // estimate of what is applied and not durable
	End        uint64 // of the log, as it was at the start
	Done       bool   // everything up to Config.Until is applied, and nothing follows
	Paused     bool   // it applies nothing for now; see Worker.Pause
	Resting    bool   // it waits because of Config.MaxRate
	Audited    bool   // its snapshots were compared with the store, and agree

	// Since when the partition has been at one piece of work, by Config.Now; zero
	// where it is not. What takes longer than it should is stuck: see Stuck.
	Applying   time.Time // a batch of messages, with what it loads from the store
	Flushing   time.Time // a flush, with the dead letters that it waits for
	Publishing time.Time // a publish to the snapshot bucket

	// LastError is why what is being tried again failed last, nil where nothing is.
	LastError error

	received uint64 // events of what was handed over by the log's client and is applied or refused
	settled  uint64 // messages of the same
	first    int64  // the log's time of the first message handed over

	behind time.Time // since when it has had something to apply; zero: it has nothing
	moved  time.Time // when it last applied something

	audited   audited // what the last walk compared, or compares
	refreshed bool    // no line of a snapshot is known to be over that was not drawn
}

// Ahead is what a partition knows of the log behind its position. Events come in
// frames of any number, so how many are not applied is not known from positions
// of the log. Those that are read and not applied are counted; of what is not read
// the messages alone are known, and the events are an estimate.
type Ahead struct {
	Messages   uint64  `json:"messages"`    // read and not applied
	Events     uint64  `json:"events"`      // read and not applied, refused ones included
	Position   uint64  `json:"position"`    // of the last message read; 0: none was
	Behind     uint64  `json:"behind"`      // messages of the partition behind that one, when it was sent
	PerMessage float64 `json:"per_message"` // events a message, the mean of late; 0: none was read
}

// Lag is how many events are not applied of a partition that is applied up to
// position, and whose last message is end, and how many of those are an estimate:
// 0 where all of them are counted.
func (a *Ahead) Lag(position, end uint64) (events, estimated uint64) {
	if position >= end {
		return 0, 0
	}
	if a.Position < end {
		estimated = uint64(math.Ceil(max(a.PerMessage, 1) * float64(max(a.Behind, 1))))
	}
	// Something is behind the position, whatever an old report says.
	return max(a.Events+estimated, 1), estimated
}

// board is what a partition shows of itself: its status, and who waits for that to
// change. It is safe for concurrent use.
type board struct {
	*scope
	in     *prefetchBuffer
	wake   chan struct{} // somebody waits for wanted
	wanted atomic.Uint64 // position that somebody waits for

	showWanted  atomic.Bool // see Worker.showSoon
	auditWanted atomic.Bool // see Worker.Audit
	suspects    suspects    // see Worker.suspect

	mu     sync.Mutex
	status PartitionStatus
	moved  chan struct{} // closed and replaced when status changes what waiters look at

	pauseAt     uint64 // see Worker.Pause
	pausedUntil time.Time

	failing      string    // what status.LastError is about
	starvedSince time.Time // since when the log has had more, and the position was starvedAt
	starvedAt    uint64
}

func newBoard(s *scope) *board {
	return &board{
		scope: s, in: newPrefetchBuffer(prefetchBytes), wake: make(chan struct{}, 1),
		status: PartitionStatus{Partition: s.id, State: Loading}, moved: make(chan struct{}),
	}
}

// note makes public how the partition does.
func (p *partition) note() {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	s := &p.board.status
	now := p.cfg.Now()
	if s.Position != p.mem.position {
		s.moved = now
	}
	s.Position, s.LogTime, s.Epoch = p.mem.position, p.mem.clock, p.epoch
	s.Events, s.Rejected, s.Excluded, s.received, s.settled = p.mem.events, p.mem.rejected, p.mem.excluded, p.mem.received, p.mem.settled
	s.look(p.feed.in)
	switch {
	case s.Pending == 0:
		s.behind = time.Time{}
	case s.behind.IsZero():
		s.behind = now
	}
	s.Pairs, s.CacheBytes, s.DirtyBytes = len(p.mem.cache.ring), p.mem.cache.bytes, p.changes.bytes+p.flush.inFlight
	s.End, s.Resting = p.mem.tail, p.feed.resting
	s.refreshed = p.pub.refresh == nil || p.pub.refresh.idle()
	if audited := p.pub.audited(); audited != s.Audited {
		s.Audited = audited
		p.board.tell()
	}
	if r := p.pub.refresh; r != nil {
		s.audited = r.audits.of
	}
	if s.State == CatchingUp && (p.mem.position >= p.mem.tail || p.feed.done) && p.pub.backlog == nil && p.mem.stretch.compared {
		s.State = Running
		p.board.tell()
	}
	if standing := p.board.isPaused(p.mem.position, p.feed.nextPosition()); standing != s.Paused {
		s.Paused = standing
		p.board.tell()
	}
}

// look notes what is read ahead of what is applied.
func (s *PartitionStatus) look(in *prefetchBuffer) {
	if s.Done { // what is read beyond the end is never applied
		s.Ahead, s.Pending = Ahead{Position: s.Position}, 0
		return
	}
	all := in.all()
	s.Ahead = Ahead{Messages: all.messages - s.settled, Events: all.events - s.received, Position: all.position, Behind: all.behind, PerMessage: all.perMessage}
	s.Pending, s.first = s.Ahead.Messages+s.Ahead.Behind, all.first
}

// set changes the public status and wakes everyone who waits for it to change.
func (b *board) set(change func(*PartitionStatus)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.status)
	b.tell()
}

// tell wakes everyone who waits for the status to change. b.mu is held.
func (b *board) tell() {
	close(b.moved)
	b.moved = make(chan struct{})
}

// snapshot is the public status, and a channel that is closed when the state or
// the checkpoint changes.
func (b *board) snapshot() (PartitionStatus, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.shown(), b.moved
}

// shown is the status of this moment. b.mu is held.
func (b *board) shown() PartitionStatus {
	s := b.status
	s.look(b.in) // the reader goes on while a batch is applied
	if s.LastError == nil {
		s.LastError = b.in.awaited()
	}
	return s
}

// waitStored returns when the checkpoint is at position or behind it.
func (b *board) waitStored(ctx context.Context, position uint64) error {
	for {
		s, moved := b.snapshot()
		switch {
		case s.Checkpoint >= position:
			return nil
		case s.State == Failed:
			return s.Err
		case s.State == Stopped:
			return fmt.Errorf("%w: partition %d is stored up to position %d", ErrStopped, b.id, s.Checkpoint)
		case s.Done && position > s.Position:
			return fmt.Errorf("%w: partition %d is applied up to position %d of the log, and stays there", ErrUntil, b.id, s.Position)
		}
		// Raised after the look and before the wait, and cleared by no one: a flush
		// that covers it ends the wait, no matter who asked for it.
		for old := b.wanted.Load(); old < position && !b.wanted.CompareAndSwap(old, position); old = b.wanted.Load() {
		}
		b.rouse()
		select {
		case <-moved:
		case <-ctx.Done():
			return b.waitError(ctx, position)
		}
	}
}

// waitError is the error of a wait for a position that ended with its context.
func (b *board) waitError(ctx context.Context, position uint64) error {
	s, _ := b.snapshot()
	return &WaitError{
		Partition: b.id, Wanted: position, Reached: s.Checkpoint, LastError: s.LastError, Cause: context.Cause(ctx),
		LastHeard: fmt.Sprintf("it is %s, applied up to position %d, with %d messages to come", s.State, s.Position, s.Pending),
	}
}

// ErrStuck: a partition has something to do and does not get on with it.
var ErrStuck = errors.New("processor: a partition does not move")

// StuckError says which partition does not move, and at what. It wraps
// [ErrStuck] and, where one is known, the error that keeps it from moving.
type StuckError struct {
	Partition int
	At        string        // what it is at
	For       time.Duration // since when; 0: not known
	Cause     error         // may be nil
}

// Error names the partition, what it is at and why.
func (e *StuckError) Error() string {
	text := fmt.Sprintf("partition %d does not move: it %s", e.Partition, e.At)
	if e.For > 0 {
		text += fmt.Sprintf(" for %s", e.For.Round(time.Second))
	}
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// Unwrap gives [ErrStuck] and the cause.
func (e *StuckError) Unwrap() []error {
	if e.Cause == nil {
		return []error{ErrStuck}
	}
	return []error{ErrStuck, e.Cause}
}

// Stuck reports whether the partition has been at one piece of work for longer than
// within, and which, as a [*StuckError]; nil: it moves, or has nothing to do. A
// partition that is not fed messages is not seen here, but by [Worker.Ready].
func (s *PartitionStatus) Stuck(now time.Time, within time.Duration) error {
	for _, w := range []struct {
		since time.Time
		at    string
	}{
		{s.Flushing, "has been flushing to the store"},
		{s.Applying, "has been applying messages"},
		{s.Publishing, "has been publishing snapshots"},
	} {
		if took := now.Sub(w.since); !w.since.IsZero() && took > within {
			return &StuckError{Partition: s.Partition, At: w.at, For: took, Cause: s.LastError}
		}
	}
	return nil
}

// Ready is nil where every partition is up with what the log held at the start
// and moves: it is caught up, or its position and its checkpoint go on. Else it
// says of the first that does not, why: it failed, is still starting, or has
// been at one piece of work for longer than within (a [*StuckError]). Known damage of the
// log counts too, also where all partitions have passed it.
//
// A partition whose messages do not come is noticed by looking twice: the log
// holds something behind a position that stood still for longer than within.
func (w *Worker) Ready(ctx context.Context, within time.Duration) error {
	now := w.cfg.Now()
	if w.cfg.Ownership != nil {
		if err := w.heard(); err != nil {
			return err
		}
	}
	damaged := w.log.Damage()
	for _, p := range w.running() {
		s, _ := p.board.snapshot()
		switch {
		case s.State == Failed:
			return fmt.Errorf("partition %d failed: %w", s.Partition, s.Err)
		case s.State == Stopped && w.cfg.Ownership != nil:
			continue // it is being handed over
		case s.State == Stopped:
			return fmt.Errorf("%w: partition %d", ErrStopped, s.Partition)
		}
		if err := s.Stuck(now, within); err != nil {
			return err
		}
		if err := p.board.fed(ctx, now, within); err != nil {
			return err
		}
		switch {
		case s.State != Running && s.LastError != nil:
			return fmt.Errorf("partition %d is %s: %w", s.Partition, s.State, s.LastError)
		case s.State != Running:
			return fmt.Errorf("partition %d is %s, at position %d", s.Partition, s.State, s.Position)
		case w.cfg.Ownership == nil && (!s.Audited || s.audited != w.toAudit() || p.board.suspects.some.Load()):
			return fmt.Errorf("partition %d: its snapshots are being compared with the store", s.Partition)
		}
	}
	return damaged
}

// fed notes whether the log holds messages that the partition has not, and since
// when it has been at the same position with that. A partition that is at work
// is not waiting for messages.
func (b *board) fed(ctx context.Context, now time.Time, within time.Duration) error {
	end, err := b.log.End(ctx, b.id)
	if err != nil {
		return fmt.Errorf("partition %d: %w", b.id, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.status
	switch {
	case s.Position >= end || !s.Applying.IsZero() || s.Done || s.Paused || s.Resting:
		b.starvedSince = time.Time{}
	case b.starvedSince.IsZero() || b.starvedAt != s.Position:
		b.starvedSince, b.starvedAt = now, s.Position
	case now.Sub(b.starvedSince) > within:
		return &StuckError{Partition: b.id, At: fmt.Sprintf("has had no messages behind position %d, though the log goes on to %d,", s.Position, end), For: now.Sub(b.starvedSince), Cause: s.LastError}
	}
	return nil
}

// applying notes when the partition began what it is at.
func (b *board) applying() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.status.Applying.IsZero() {
		b.status.Applying = b.cfg.Now()
	}
}

// idle notes that the partition waits for what comes, and what is under way meanwhile.
func (b *board) idle(flushing, publishing time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Applying, b.status.Flushing, b.status.Publishing = time.Time{}, flushing, publishing
}

// lastError notes how the latest try of something went.
func (b *board) lastError(what string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err != nil:
		b.failing, b.status.LastError = what, fmt.Errorf("%s: %w", what, err)
	case b.failing == what:
		b.status.LastError = nil
	}
}
