package processor

import (
	"context"
	"math"
	"time"

	"holdmetrics/ingest"
)

// feeder hands the messages of the log to the loop, no further than it may go and no
// faster than the worker's pace.
type feeder struct {
	*scope
	mem *memory

	in         *prefetchBuffer
	ahead      []message // at hand, and not applied yet
	done       bool      // all up to Config.Until is applied
	endReading func()    // ends the reading of the log; in the background
	goal       uint64    // up to here the worker's pace holds
	resting    bool      // the pace wants a pause
	restTimer  *time.Timer
}

func (f *feeder) read(ctx context.Context) (stop func(), err error) {
	err = f.retry(ctx, "read the log", func(ctx context.Context) (err error) {
		stop, err = f.log.read(ctx, f.id, f.mem.position, f.in, f.logger)
		return err
	})
	return stop, err
}

// paced reports whether messages may be applied now, and has the partition wait where it
// is not to be faster: before them or after them.
func (f *feeder) paced(messages []message) bool {
	if f.controls.pace == nil || f.mem.position >= f.goal || len(messages) == 0 {
		return true
	}
	events := 0
	for i := range messages {
		events += ingest.EventsIn(messages[i].data)
	}
	wait, ok := f.controls.pace.take(events, time.Now())
	if wait > 0 {
		f.resting = true
		f.restTimer.Reset(wait)
	}
	return ok
}

// ready is where messages come from, nil while none are to be applied. full: the
// flusher or the publisher has to get on first.
func (f *feeder) ready(full bool) <-chan struct{} {
	switch {
	case full || f.resting:
		return nil
	case len(f.ahead) == 0:
		return f.in.ready
	case f.ahead[0].position > f.board.limit():
		return nil
	}
	return always
}

// always is ready.
var always = func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// take returns the messages at hand that may be applied. Those beyond the limit stay
// ahead until it goes.
func (f *feeder) take() []message {
	if len(f.ahead) == 0 {
		f.ahead = f.in.take()
	}
	limit, n, quota := f.board.limit(), 0, math.MaxInt
	if f.controls.pace != nil && f.mem.position < f.goal {
		quota = f.controls.pace.bytes()
	}
	for n < len(f.ahead) && f.ahead[n].position <= limit && (n == 0 || quota > 0) {
		quota -= len(f.ahead[n].data)
		n++
	}
	now := f.ahead[:n]
	if !f.paced(now) {
		return nil
	}
	f.ahead = f.ahead[n:]
	return now
}

// atEnd reports whether no message is at hand.
func (f *feeder) atEnd() bool { return len(f.ahead) == 0 && f.in.empty() }

// nextPosition is the position of the next message at hand, or 0 if none is.
func (f *feeder) nextPosition() uint64 {
	if len(f.ahead) == 0 {
		return 0
	}
	return f.ahead[0].position
}

// until is the last position that is ever applied.
func (c *Config) until() uint64 {
	if c.Until == 0 {
		return math.MaxUint64
	}
	return c.Until
}

// endAtUntil ends the reading where all up to Config.Until is applied.
func (p *partition) endAtUntil() {
	if p.feed.done || p.cfg.Until == 0 {
		return
	}
	beyond := len(p.feed.ahead) > 0 && p.feed.ahead[0].position > p.cfg.Until
	if !beyond && p.mem.position < p.cfg.Until && (p.mem.tail > p.cfg.Until || p.mem.position < p.mem.tail) {
		return
	}
	p.feed.done, p.feed.ahead, p.mem.pending = true, nil, 0
	p.pub.floor = min(p.pub.floor, p.mem.position) // the bucket can have no more than that
	p.feed.endReading()
	p.board.set(func(s *PartitionStatus) {
		s.Position, s.Done = p.mem.position, true
		if s.State == CatchingUp && p.pub.backlog == nil {
			s.State = Running
		}
	})
}
