package ingest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"holdmetrics/internal/backoff"
	"holdmetrics/internal/tracing"
)

// logPublisher publishes to JetStream. It sends no message id.
type logPublisher struct{ js jetstream.JetStream }

// errWrongStream: another stream took the subject; its acknowledgement means nothing.
var errWrongStream = errors.New("another stream answered (hint: no other stream may have subjects under " + logSubjectPrefix + "*)")

func (l logPublisher) publish(ctx context.Context, subject string, data []byte, header nats.Header) (uint64, error) {
	var ack *jetstream.PubAck
	var err error
	if header == nil {
		ack, err = l.js.Publish(ctx, subject, data)
	} else {
		ack, err = l.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: header, Data: data})
	}
	if err != nil {
		return 0, err
	}
	if ack.Stream != StreamName {
		return 0, fmt.Errorf("%w: %s", errWrongStream, ack.Stream)
	}
	return ack.Sequence, nil
}

// run is the goroutine of a batcher. It ends when the batcher is closed and empty.
func (p *Producer) run(l *batcher) {
	for l.await() {
		slot := p.slots.take(p.ctx, l)
		f := l.next()
		published := time.Time{}
		if p.o.Published != nil {
			published = time.Now()
		}
		position, err := p.publish(l, f, slot)
		if err == nil {
			err = p.confirm(l, f)
		}
		if err != nil {
			position = 0
		}
		count, bytes := f.w.Count(), f.taken()
		if p.o.Published != nil {
			p.o.Published(FrameResult{Events: count, Bytes: f.w.Len(), Waited: published.Sub(f.began), Took: time.Since(published), Err: err})
		}
		for _, e := range f.entries {
			e.to.complete(e.index, position, err)
		}
		f.reset()
		p.frames.Put(f)
		// Last, so that an event counts as pending until its caller knows.
		p.quota.give(count, bytes)
	}
}

// sealable is what a producer needs of a log that may be sealed.
type sealable interface {
	known() *horizons
	// askHorizons brings known up to date.
	askHorizons(ctx context.Context) error
}

// known is what events are checked by at the moment.
func (p *Producer) known() *horizons {
	if p.log == nil {
		return nil
	}
	return p.log.known()
}

// keepHorizons has the producer go by the horizons of a log, and keeps them fresh. A
// question that fails is confirm's to ask again.
func (p *Producer) keepHorizons(log sealable) {
	p.log = log
	p.asking.Go(func() {
		for {
			_ = p.ask()
			if backoff.Wait(p.ctx, askEvery) != nil {
				return
			}
		}
	})
}

func (p *Producer) ask() error {
	ctx, cancel := context.WithTimeout(p.ctx, p.o.AttemptTimeout)
	defer cancel()
	return p.log.askHorizons(ctx)
}

// errSealedMeanwhile: the log has the event, and may have been sealed before it by a
// horizon that the event was not checked by.
var errSealedMeanwhile = errors.New("the log was sealed meanwhile; sent again, the event is taken or refused for good")

// confirm reports whether a frame that the log has acknowledged is before any seal that
// its events were not checked by: nearly always what is known says so; see knownFor.
func (p *Producer) confirm(l *batcher, f *openFrame) error {
	if f.by == nil || f.by.fresh(time.Now()) {
		return nil
	}
	ctx, cancel := context.WithTimeout(p.ctx, p.o.RetryFor)
	defer cancel()
	pauses := backoff.Backoff{First: p.o.RetryWait, Most: maxRetryWait}
	for attempt := 1; ; attempt++ {
		err := p.ask()
		if err == nil {
			if p.log.known() == f.by {
				return nil
			}
			err = errSealedMeanwhile
		}
		if err == errSealedMeanwhile || permanent(err) || pauses.Wait(ctx) != nil {
			return &NotAcknowledgedError{Partition: l.partition, Attempts: attempt, Cause: err}
		}
	}
}

// publish tries until the log has the frame, or it is known or likely that it
// never will. A slot is given back after the first attempt: a log that is away is
// not kept busy.
func (p *Producer) publish(l *batcher, f *openFrame, slot bool) (uint64, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.o.RetryFor)
	defer cancel()
	span, header := p.trace(l, f)
	pauses := backoff.Backoff{First: p.o.RetryWait, Most: maxRetryWait}
	for attempt := 1; ; attempt++ {
		began := time.Now()
		position, err := p.attempt(ctx, l.subject, f.w.Bytes(), header)
		if p.o.Outcome != nil && p.ctx.Err() == nil && !permanent(err) {
			p.o.Outcome(err)
		}
		if slot {
			slot = false
			took := time.Since(began)
			if err != nil {
				took = 0
			}
			p.slots.give(took)
		}
		if err == nil {
			if span != nil {
				span.Set(tracing.Position.Int64(int64(position)), tracing.Attempts.Int(attempt))
				span.End(nil)
			}
			return position, nil
		}
		if permanent(err) || pauses.Wait(ctx) != nil {
			span.End(err)
			if p.ctx.Err() != nil { // Close gave up: that is the news
				err = fmt.Errorf("%w: %w", context.Cause(p.ctx), err)
			}
			return 0, &NotAcknowledgedError{Partition: l.partition, Attempts: attempt, Cause: err}
		}
	}
}

// trace starts the span of a frame, and returns the headers that name it; nil: no event of
// the frame is of a sampled request.
func (p *Producer) trace(l *batcher, f *openFrame) (*tracing.Span, nats.Header) {
	if f.trail.Empty() {
		return nil, nil
	}
	span := p.o.Tracer.Start(&f.trail, tracing.Step{Name: "publish hold.log", Kind: trace.SpanKindProducer, Attributes: []attribute.KeyValue{
		tracing.System.String(tracing.NATS), tracing.Destination.String(l.subject), tracing.PartitionID.String(strconv.Itoa(l.partition)),
		tracing.OperationName.String("publish"), tracing.OperationType.String(tracing.OperationSend),
		tracing.MessageCount.Int(f.w.Count()), tracing.BodySize.Int(f.w.Len()),
	}})
	if p.payload > 0 && f.w.Len()+tracing.MostHeaderBytes > p.payload {
		return span, nil // the event is worth more than its trace
	}
	return span, tracing.Inject(span.Context())
}

func (p *Producer) attempt(ctx context.Context, subject string, data []byte, header nats.Header) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.o.AttemptTimeout)
	defer cancel()
	return p.pub.publish(ctx, subject, data, header)
}

// permanent reports whether trying again cannot help: the connection is closed
// for good, or the server has refused the message itself. A server that is
// short of something (5xx) may recover.
func permanent(err error) bool {
	if err == nil {
		return false
	}
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
