package processor

import (
	"context"
	"fmt"
	"time"
)

// pauseFor is how long a partition pauses unless it is asked again.
const pauseFor = 20 * time.Second

// Pause has a partition apply messages up to a position, or up to where it is
// already if that is further, and none beyond, until [Worker.Resume] is called or 20
// seconds have passed since the last call. It returns the position at which the
// partition is paused, once the store has everything up to there. The errors are those
// of [Worker.WaitApplied].
func (w *Worker) Pause(ctx context.Context, partition int, position uint64) (uint64, error) {
	p, err := w.at(partition)
	if err != nil {
		return 0, err
	}
	end, err := w.log.End(ctx, partition)
	if err != nil {
		return 0, fmt.Errorf("processor: pause at position %d of partition %d: %w", position, partition, err)
	}
	p.board.mu.Lock()
	p.board.pauseAt, p.board.pausedUntil, p.board.status.Paused = min(position, end), time.Now().Add(pauseFor), false
	p.board.mu.Unlock()
	time.AfterFunc(pauseFor+time.Millisecond, p.board.rouse) // it goes on by itself
	p.board.rouse()
	for {
		s, moved := p.board.snapshot()
		switch {
		case s.State == Failed:
			return 0, s.Err
		case s.State == Stopped:
			return 0, fmt.Errorf("%w: partition %d", ErrStopped, partition)
		case (s.Paused || s.Done) && s.Checkpoint >= s.Position:
			return s.Position, nil
		case s.Paused || s.Done:
			if err := p.board.waitStored(ctx, s.Position); err != nil {
				return 0, err
			}
			continue
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return 0, p.board.waitError(ctx, position)
		}
	}
}

// paused is isPaused for the partition itself.
func (p *partition) paused() bool {
	p.board.mu.Lock()
	defer p.board.mu.Unlock()
	return p.board.isPaused(p.mem.position, p.feed.nextPosition())
}

// isPaused reports whether the partition has come to where it is to pause: it is at
// position, and next is the position of the message at hand, 0 if there is none. b.mu
// is held.
func (b *board) isPaused(position, next uint64) bool {
	return time.Now().Before(b.pausedUntil) && (position >= b.pauseAt || next > b.pauseAt)
}

// Resume has a partition that is paused go on.
func (w *Worker) Resume(partition int) {
	if p, err := w.at(partition); err == nil {
		p.board.mu.Lock()
		p.board.pausedUntil = time.Time{}
		p.board.mu.Unlock()
		p.board.rouse()
	}
}

// rouse has the partition look again.
func (b *board) rouse() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (w *Worker) at(partition int) (*partition, error) {
	w.mu.Lock()
	p := w.byID[partition]
	w.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("%w: partition %d is not run here", ErrStopped, partition)
	}
	return p, nil
}

// limit is the last position that may be applied now.
func (b *board) limit() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().Before(b.pausedUntil) {
		return min(b.cfg.until(), b.pauseAt)
	}
	return b.cfg.until()
}
