// Package intake passes events of both APIs to the producer, by the active rules.
package intake

import (
	"context"
	"errors"
	"time"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// ErrSlow says that the log took too long to acknowledge. The log may have the events
// all the same; sending them again is harmless.
var ErrSlow = errors.New("gateway: the log did not acknowledge in time; retry later, or look at the disk of the NATS server")

// Producer takes events into the log. *ingest.Producer is one.
//
// A draft and its strings belong to the caller again as soon as a call returns.
type Producer interface {
	// Record returns when the log has the event.
	Record(ctx context.Context, d *hold.Draft) (position uint64, err error)
	// Send returns when the event is on its way. Unless it returns an error, done is
	// called exactly once, from any goroutine; done must not block.
	Send(ctx context.Context, d *hold.Draft, done func(position uint64, err error)) error
	// SendBatch is Send for many events; done is called exactly once, when the fate
	// of each event is known.
	SendBatch(ctx context.Context, drafts []hold.Draft, done func(ingest.BatchResult))
}

// Endpoint is where an event came in, as the metrics name it.
type Endpoint string

// The endpoints that take events.
const (
	Record         Endpoint = "record"
	Broadcast      Endpoint = "broadcast"
	BroadcastBatch Endpoint = "broadcast_batch"
	PostHold       Endpoint = "http_hold"
	PostHolds      Endpoint = "http_holds"
)

// Endpoints are all of them.
var Endpoints = []Endpoint{Record, Broadcast, BroadcastBatch, PostHold, PostHolds}

// Observer counts what becomes of events.
type Observer interface {
	// Accepted counts n events that the log has.
	Accepted(e Endpoint, n int)
	// Event counts one event by its outcome; nil means that the log has it.
	Event(e Endpoint, err error)
}

// Config is what an intake is made of. Every field is required.
type Config struct {
	Producer   Producer
	Rules      func() hold.Rules // of the active generation
	RecordWait time.Duration     // longest wait of a single event for the log
	StreamWait time.Duration     // longest wait of a stream for the next answer of the log
	// Blocked returns why the log acknowledges nothing, or err if it does not know.
	Blocked  func(ctx context.Context, err error) error
	Observer Observer
}

// Intake takes events into the log, by the rules of the active generation, and counts
// them. It is safe for concurrent use.
type Intake struct {
	Cfg      Config
	producer ruledProducer
}

// New returns an intake that sends to the producer of cfg.
func New(cfg Config) *Intake {
	return &Intake{Cfg: cfg, producer: ruledProducer{cfg.Producer, cfg.Rules}}
}

// Record sends one event and returns when the log has it. decoded is the error of
// its decoding, if any. After RecordWait the client learns that the log is slow, so
// that it can go elsewhere or come back.
func (in *Intake) Record(ctx context.Context, e Endpoint, d *hold.Draft, decoded error) (position uint64, err error) {
	if err = decoded; err == nil {
		ctx, cancel := context.WithTimeoutCause(ctx, in.Cfg.RecordWait, ErrSlow)
		defer cancel()
		if position, err = in.producer.Record(ctx, d); err != nil {
			err = in.WhySlow(ctx, err)
		}
	}
	in.Cfg.Observer.Event(e, err)
	return position, err
}

// Send is Producer.Send by the rules.
func (in *Intake) Send(ctx context.Context, d *hold.Draft, done func(position uint64, err error)) error {
	return in.producer.Send(ctx, d, done)
}

// SendBatch is Producer.SendBatch by the rules.
func (in *Intake) SendBatch(ctx context.Context, drafts []hold.Draft, done func(ingest.BatchResult)) {
	in.producer.SendBatch(ctx, drafts, done)
}

// WhySlow replaces err by the reason why the log is slow, if it is and one is known.
func (in *Intake) WhySlow(ctx context.Context, err error) error {
	if errors.Is(err, ErrSlow) || errors.Is(err, ingest.ErrNotAcknowledged) {
		return in.Cfg.Blocked(ctx, err)
	}
	return err
}
