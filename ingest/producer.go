package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"holdmetrics/hold"
	"holdmetrics/internal/tracing"
)

// Defaults of ProducerOptions.
const (
	DefaultMaxPending      = 64 << 10
	DefaultMaxPendingBytes = 64 << 20
	DefaultMaxWait         = 10 * time.Second
	DefaultAttemptTimeout  = 5 * time.Second
	DefaultRetryFor        = 30 * time.Second
	DefaultRetryWait       = 50 * time.Millisecond

	maxRetryWait = time.Second

	// minPendingBytes has room for any one event that hold.Draft.Check accepts.
	minPendingBytes = 4 << 10
)

// ProducerOptions are the limits of a Producer. The zero value of each field is its default.
type ProducerOptions struct {
	// Limits is how far ahead of the clock times may be; default hold.DefaultLimits.
	Limits hold.Limits
	// Now is the clock that events are checked against, in nanoseconds since the
	// epoch; default the system's.
	Now func() int64
	// Gate returns why no event is to be taken now, or nil; default nil. It is asked for
	// every event, and so must be fast. Its error wraps ErrNotWritable.
	Gate func() error
	// Slow returns a channel that callers wait for before they are given quota, or nil;
	// default nil. It is asked as often as Gate. What reads the log slows callers with it
	// that send more than it can apply.
	Slow func() <-chan struct{}
	// Outcome is called with how each try to publish a frame ended, nil if the log has it,
	// but for errors of the message itself; default nil. It is called from several goroutines, and so must be fast.
	Outcome func(error)
	// Published is called for each frame when its fate is known; default nil. It is called
	// from several goroutines, and so must be fast.
	Published func(FrameResult)
	// Tracer makes a span of each frame that has events of sampled requests; nil: none is
	// made. The message then names the span in its headers. Its data is the same.
	Tracer *tracing.Tracer
	// MaxPending is how many events may wait for the log at once, over all partitions.
	MaxPending int
	// MaxPendingBytes is the same in bytes of encoded events; at least 4 KiB.
	MaxPendingBytes int
	// MaxWait is how long a caller waits for quota before ErrBusy. A batch waits so
	// long for each piece of it.
	MaxWait time.Duration
	// AttemptTimeout is how long one publish waits for its acknowledgement.
	AttemptTimeout time.Duration
	// RetryFor is how long a frame is published again, while the connection comes
	// back, before its callers get an error.
	RetryFor time.Duration
	// RetryWait is the pause before the second attempt; it doubles up to a second.
	RetryWait time.Duration
}

// FrameResult is what became of a frame.
type FrameResult struct {
	Events int
	Bytes  int
	Waited time.Duration // from its first event to its first publish
	Took   time.Duration // from its first publish to its acknowledgement, or until it was given up
	Err    error         // nil: the log has it
}

func (o ProducerOptions) withDefaults() ProducerOptions {
	if o.Limits == (hold.Limits{}) {
		o.Limits = hold.DefaultLimits()
	}
	if o.Now == nil {
		o.Now = func() int64 { return time.Now().UnixNano() }
	}
	if o.MaxPending <= 0 {
		o.MaxPending = DefaultMaxPending
	}
	if o.MaxPendingBytes <= 0 {
		o.MaxPendingBytes = DefaultMaxPendingBytes
	}
	o.MaxPendingBytes = max(o.MaxPendingBytes, minPendingBytes)
	if o.MaxWait <= 0 {
		o.MaxWait = DefaultMaxWait
	}
	if o.AttemptTimeout <= 0 {
		o.AttemptTimeout = DefaultAttemptTimeout
	}
	if o.RetryFor <= 0 {
		o.RetryFor = DefaultRetryFor
	}
	if o.RetryWait <= 0 {
		o.RetryWait = DefaultRetryWait
	}
	return o
}

// publisher is all that a Producer needs of a log: it stores data under subject
// and returns its position once the log has it. It does not keep data. header may be nil.
type publisher interface {
	publish(ctx context.Context, subject string, data []byte, header nats.Header) (uint64, error)
}

// Producer checks events, gathers them into frames and publishes them, and tells
// each caller when the log has its event, never before.
//
// There is one frame in flight for each partition, and of frames that are not
// full, over all partitions, only so many as keep the log busy. An event that
// finds the log idle leaves at once; those that come meanwhile share the next
// frame of their partition.
// What waits is bounded (MaxPending, MaxPendingBytes): beyond it callers wait,
// for MaxWait at most, and where very many wait already one more is ErrBusy at once.
//
// A publish that fails is tried again, for RetryFor; an event may then be in the
// log twice, which changes nothing, since an equal event is the same fact. The
// events of one partition are published in the order in which they were sent,
// unless a retry comes between.
//
// A draft is encoded before the call returns, so the caller may use its memory again.
//
// Safe for concurrent use. Close it: it owns a goroutine for each partition, and one more.
type Producer struct {
	pub      publisher
	o        ProducerOptions
	batchers []*batcher
	quota    *quota
	slots    *slots
	payload  int // bytes of a message, headers included; 0: no bound is known

	log    sealable       // nil: it is never sealed
	asking sync.WaitGroup // goroutine that keeps log's horizons fresh

	frames sync.Pool // *openFrame
	calls  sync.Pool // *call

	ctx    context.Context // of the batchers; ends when Close gives up waiting
	cancel context.CancelCauseFunc
	done   chan struct{} // all batchers have ended
}

// NewProducer starts a producer on a log.
func NewProducer(l *Log, o ProducerOptions) *Producer {
	most := MaxFrameBytes
	if limit := int(l.js.Conn().MaxPayload()); limit > 0 {
		most = min(most, limit)
	}
	p := startProducer(logPublisher{l.js}, l.partitions, most, o)
	p.payload = int(l.js.Conn().MaxPayload())
	p.keepHorizons(l)
	return p
}

func startProducer(pub publisher, partitions, frameBytes int, o ProducerOptions) *Producer {
	o = o.withDefaults()
	p := &Producer{
		pub:      pub,
		o:        o,
		batchers: make([]*batcher, partitions),
		quota:    newQuota(o.MaxPending, o.MaxPendingBytes),
		slots:    newSlots(partitions),
		done:     make(chan struct{}),
	}
	p.frames.New = func() any { return new(openFrame) }
	p.calls.New = func() any { return &call{result: make(chan outcome, 1)} }
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	var running sync.WaitGroup
	for i := range p.batchers {
		l := &batcher{partition: i, subject: LogSubject(i), most: frameBytes, wake: make(chan struct{}, 1)}
		p.batchers[i] = l
		running.Go(func() { p.run(l) })
	}
	go func() {
		running.Wait()
		close(p.done)
	}()
	return p
}

// Record checks an event, sends it and waits until the log has it. It returns
// the position of the log's message that carries it.
//
// A refused event is a *hold.FieldError. ErrBusy and ErrClosed mean that the
// event was not taken. Any other error, and the end of ctx, leave open whether
// the log has it; sending it again is harmless.
func (p *Producer) Record(ctx context.Context, d *hold.Draft) (uint64, error) {
	c := p.calls.Get().(*call)
	if err := p.send(ctx, d, c); err != nil {
		p.calls.Put(c)
		return 0, err
	}
	select {
	case r := <-c.result:
		p.calls.Put(c)
		return r.position, r.err
	case <-ctx.Done(): // c is left to its completion
		return 0, fmt.Errorf("%w: %w", ErrNotAcknowledged, context.Cause(ctx))
	}
}

// Send checks an event and sends it. It waits for quota only, which is the
// producer's backpressure, not for the log.
//
// When it returns nil, done is called exactly once, with the position of the
// log's message or with an error that leaves open whether the log has the event
// (ErrNotAcknowledged). When it returns an error, which it does as Record does,
// the event was not taken and done is never called. ctx counts until Send returns.
//
// done runs on the partition's goroutine, which publishes nothing meanwhile. So
// it must not wait for anything, least of all for this producer.
func (p *Producer) Send(ctx context.Context, d *hold.Draft, done func(position uint64, err error)) error {
	return p.send(ctx, d, doneFunc(done))
}

// check accepts an event, or says why no reader of the log would take it.
func (p *Producer) check(d *hold.Draft, now int64, by *horizons) error {
	e, err := d.Check(now, p.o.Limits)
	if err == nil && by != nil {
		err = e.CheckSealed(latest(by.all))
	}
	return err
}

func (p *Producer) send(ctx context.Context, d *hold.Draft, to completion) error {
	by := p.known()
	if err := p.check(d, p.o.Now(), by); err != nil {
		return err
	}
	size := sizeEvent(d)
	if err := p.admit(ctx, 1, framed(size)); err != nil {
		return err
	}
	l := p.batcherOf(d)
	if !l.put(d, size, by, entry{to: to}, p.o.Tracer.Sampled(ctx), p.freshFrame) {
		p.quota.give(1, framed(size))
		return ErrClosed
	}
	l.rouse()
	return nil
}

// Pending is what waits for the log at the moment, in events and bytes.
func (p *Producer) Pending() (events, bytes int) { return p.quota.taken() }

// Close lets no more events in, publishes what waits and returns when all of it
// is acknowledged or has failed, and every caller has its result. When ctx ends first, the rest
// fails with ErrNotAcknowledged, and Close returns the cause of ctx. A second
// Close does the same as the first.
func (p *Producer) Close(ctx context.Context) error {
	for _, l := range p.batchers {
		l.close()
	}
	select {
	case <-p.done:
		p.cancel(ErrClosed)
		p.asking.Wait()
		return nil
	case <-ctx.Done():
	}
	p.cancel(ErrClosed)
	<-p.done
	p.asking.Wait()
	return fmt.Errorf("ingest: close producer: %w", context.Cause(ctx))
}

func (p *Producer) batcherOf(d *hold.Draft) *batcher {
	return p.batchers[Partition(d.Holder, len(p.batchers))]
}

func (p *Producer) freshFrame() *openFrame {
	f := p.frames.Get().(*openFrame)
	if p.o.Published != nil {
		f.began = time.Now()
	}
	return f
}

// admit waits for quota.
func (p *Producer) admit(ctx context.Context, events, bytes int) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
	if p.o.Gate != nil {
		if err := p.o.Gate(); err != nil {
			return err
		}
	}
	if p.o.Slow != nil {
		if err := p.slow(ctx); err != nil {
			return err
		}
	}
	if p.quota.tryTake(events, bytes) {
		return nil
	}
	within, cancel := context.WithTimeoutCause(ctx, p.o.MaxWait, errWaited)
	defer cancel()
	switch err := p.quota.take(within, events, bytes); {
	case errors.Is(err, errWaited):
		taken, of := p.quota.taken()
		return fmt.Errorf("%w: waited %v for room, %d events of %d bytes wait", ErrBusy, p.o.MaxWait, taken, of)
	case err == nil || errors.Is(err, ErrBusy):
		return err
	default:
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
}

// slow waits for as long as Slow says.
func (p *Producer) slow(ctx context.Context) error {
	passable := p.o.Slow()
	if passable == nil {
		return nil
	}
	select {
	case <-passable:
	case <-p.ctx.Done(): // what follows says so
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrBusy, context.Cause(ctx))
	}
	return nil
}

// errWaited is the cause of a wait that MaxWait ended.
var errWaited = errors.New("MaxWait is over")

// doneFunc makes a plain function a receiver of results.
type doneFunc func(position uint64, err error)

func (f doneFunc) complete(_ int, position uint64, err error) { f(position, err) }

// call is a caller of Record that waits.
type call struct{ result chan outcome }

type outcome struct {
	position uint64
	err      error
}

func (c *call) complete(_ int, position uint64, err error) { c.result <- outcome{position, err} }
