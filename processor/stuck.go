package processor

import (
	"context"
	"errors"
	"fmt"
	"time"
)

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

// Stuck says whether the partition has been at one piece of work for longer than
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
			return &StuckError{Partition: s.Partition, At: w.at, For: took, Cause: s.Trouble}
		}
	}
	return nil
}

// Ready is nil where every partition is up with what the log held at the start
// and moves: it is caught up, or its position and its checkpoint go on. Else it
// says of the first that does not, why: it failed, is still starting, or has
// been at one piece of work for longer than within (a [*StuckError]).
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
	for _, p := range w.running() {
		s, _ := p.snapshot()
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
		if err := p.fed(ctx, now, within); err != nil {
			return err
		}
		switch {
		case s.State != Running && s.Trouble != nil:
			return fmt.Errorf("partition %d is %s: %w", s.Partition, s.State, s.Trouble)
		case s.State != Running:
			return fmt.Errorf("partition %d is %s, at position %d", s.Partition, s.State, s.Position)
		}
	}
	return nil
}

// fed notes whether the log holds messages that the partition has not, and since
// when it has been at the same position with that. A partition that is at work
// is not waiting for messages.
func (p *partition) fed(ctx context.Context, now time.Time, within time.Duration) error {
	end, err := p.log.End(ctx, p.id)
	if err != nil {
		return fmt.Errorf("partition %d: %w", p.id, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.status
	switch {
	case s.Position >= end || !s.Applying.IsZero() || s.Done || s.Standing || s.Resting:
		p.hungry = time.Time{}
	case p.hungry.IsZero() || p.hungryAt != s.Position:
		p.hungry, p.hungryAt = now, s.Position
	case now.Sub(p.hungry) > within:
		return &StuckError{Partition: p.id, At: fmt.Sprintf("has had no messages behind position %d, though the log goes on to %d,", s.Position, end), For: now.Sub(p.hungry), Cause: s.Trouble}
	}
	return nil
}

// applying notes when the partition began what it is at.
func (p *partition) applying() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status.Applying.IsZero() {
		p.status.Applying = p.cfg.Now()
	}
}

// idle notes that the partition waits for what comes, and what is under way meanwhile.
func (p *partition) idle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Applying, p.status.Flushing, p.status.Publishing = time.Time{}, p.flushBegan, p.publishBegan
}

// trouble notes how the latest try of something went.
func (p *partition) trouble(what string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil:
		p.troubleWith, p.status.Trouble = what, fmt.Errorf("%s: %w", what, err)
	case p.troubleWith == what:
		p.status.Trouble = nil
	}
}
