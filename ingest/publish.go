package ingest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// logPublisher publishes to JetStream. It sends no headers and no message id.
type logPublisher struct{ js jetstream.JetStream }

// errWrongStream: another stream took the subject; its acknowledgement means nothing.
var errWrongStream = errors.New("another stream answered (hint: no other stream may have subjects under " + logSubjectPrefix + "*)")

func (l logPublisher) publish(ctx context.Context, subject string, data []byte) (uint64, error) {
	ack, err := l.js.Publish(ctx, subject, data)
	if err != nil {
		return 0, err
	}
	if ack.Stream != StreamName {
		return 0, fmt.Errorf("%w: %s", errWrongStream, ack.Stream)
	}
	return ack.Sequence, nil
}

// run is the goroutine of a lane. It ends when the lane is closed and empty.
func (p *Producer) run(l *lane) {
	for l.await() {
		slot := p.slots.take(p.ctx, l)
		f := l.next()
		position, err := p.publish(l, f, slot)
		count, bytes := f.w.Count(), f.room()
		for _, e := range f.entries {
			e.to.complete(e.index, position, err)
		}
		f.reset()
		p.frames.Put(f)
		// Last, so that an event counts as pending until its caller knows.
		p.room.give(count, bytes)
	}
}

// publish tries until the log has the frame, or it is known or likely that it
// never will. A slot is given back after the first attempt: a log that is away is
// not kept busy.
func (p *Producer) publish(l *lane, f *openFrame, slot bool) (uint64, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.o.RetryFor)
	defer cancel()
	wait := p.o.RetryWait
	for attempt := 1; ; attempt++ {
		began := time.Now()
		position, err := p.attempt(ctx, l.subject, f.w.Bytes())
		if slot {
			slot = false
			took := time.Since(began)
			if err != nil {
				took = 0
			}
			p.slots.give(took)
		}
		if err == nil {
			return position, nil
		}
		if permanent(err) || !pause(ctx, wait) {
			if p.ctx.Err() != nil { // Close gave up: that is the news
				err = fmt.Errorf("%w: %w", context.Cause(p.ctx), err)
			}
			return 0, &NotAcknowledgedError{Partition: l.partition, Attempts: attempt, Cause: err}
		}
		wait = min(2*wait, maxRetryWait)
	}
}

func (p *Producer) attempt(ctx context.Context, subject string, data []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.o.AttemptTimeout)
	defer cancel()
	return p.pub.publish(ctx, subject, data)
}

// pause waits, and reports false when ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// permanent reports whether trying again cannot help: the connection is closed
// for good, or the server has refused the message itself. A server that is
// short of something (5xx) may recover.
func permanent(err error) bool {
	if api := (*jetstream.APIError)(nil); errors.As(err, &api) {
		return api.Code < 500
	}
	for _, target := range []error{errWrongStream, nats.ErrConnectionClosed, nats.ErrConnectionDraining, nats.ErrMaxPayload, nats.ErrBadSubject} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
