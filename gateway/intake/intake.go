// Package intake passes events of both APIs to the producer, by the active rules.
package intake

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.uber.org/zap"

	"holdmetrics/gateway/auth"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/internal/logs"
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
	// Acknowledged counts how long an event, or a batch of them, took to be acknowledged.
	// Of a stream of single events it is one event at a time. ctx is that of the call.
	Acknowledged(ctx context.Context, e Endpoint, took time.Duration)
}

// Tokens counts accepted events by token.
type Tokens interface {
	// Label returns what counts the events of a token. It keeps no part of the string.
	Label(token string) TokenLabel
	// Add counts n events that the log has.
	Add(l TokenLabel, n int)
}

// TokenLabel is what counts the events of a token.
type TokenLabel struct {
	Slot int    // of the token; 0: it has none
	Name string // of a token that may still get a slot
}

// Config is what an intake is made of. Every field but Pairs and Tokens is required.
type Config struct {
	Producer   Producer
	Rules      func() hold.Rules // of the active generation
	Pairs      Pairs             // nil: there is no store
	Sealed     func() bool       // whether the log was sealed
	RecordWait time.Duration     // longest wait of a single event for the log
	StreamWait time.Duration     // longest wait of a stream for the next answer of the log
	// Blocked returns why the log acknowledges nothing, or err if it does not know.
	Blocked  func(ctx context.Context, err error) error
	Observer Observer
	Tally    *logs.Tally // of events that were not accepted; nil: they are not logged
	Logger   *zap.Logger // with Tally
	Tokens   Tokens      // nil: nothing is counted by token
}

// Receipt is what an acknowledged event came to.
type Receipt struct {
	Position uint64 // of the log, that holds the event
	Note     string // why the event changes nothing, where that is known
}

// Note is the note of an event of a batch.
type Note struct {
	Index int
	Text  string
}

// Batch is what became of a batch. Notes are of events that were accepted, by ascending
// index.
type Batch struct {
	ingest.BatchResult
	Notes []Note
}

// Intake takes events into the log, by the rules of the active generation, and counts
// them. It is safe for concurrent use.
//
// An event goes into the log as it was sent. Ids are normalised by the log's readers,
// each generation by its own rules: what one made of an id, no other could undo, and
// what the log says would depend on which was active. The processor decides again what
// rules refuse, since not all events come through an endpoint, and rules may change on
// the way.
type Intake struct {
	cfg   Config
	notes *notes
}

// New returns an intake that sends to the producer of cfg.
func New(cfg Config) *Intake { return &Intake{cfg: cfg, notes: newNotes(&cfg)} }

// Observed counts one event by its outcome, and logs it if it was not accepted: the first
// of each kind at once, the others together.
func (in *Intake) Observed(ctx context.Context, e Endpoint, err error) {
	in.cfg.Observer.Event(e, err)
	if err == nil || in.cfg.Tally == nil || errors.Is(err, context.Canceled) {
		return
	}
	var field *hold.FieldError
	kind := ""
	switch refused := errors.As(err, &field); {
	case refused:
		kind = field.Field
	case errors.Is(err, ingest.ErrMalformed):
		kind = "malformed"
	default:
		in.cfg.Tally.Note("not taken "+string(e), 1, func() func(int) {
			text, fields := strings.Clone(err.Error()), logs.Request(ctx)
			return func(count int) {
				in.cfg.Logger.Warn("events not taken", append(fields, zap.String("endpoint", string(e)), zap.Int("count", count), zap.String("error", text))...)
			}
		})
		return
	}
	in.cfg.Tally.Note(string(e)+" "+kind, 1, func() func(int) {
		field, text, fields := strings.Clone(kind), strings.Clone(err.Error()), logs.Request(ctx)
		return func(count int) {
			in.cfg.Logger.Warn("events refused", append(fields, zap.String("endpoint", string(e)), zap.String("field", field), zap.Int("count", count), zap.String("error", text))...)
		}
	})
}

// Observer counts what becomes of events.
func (in *Intake) Observer() Observer { return in.cfg.Observer }

// Record sends one event and returns when the log has it. decoded is the error of
// its decoding, if any. After RecordWait the client learns that the log is slow, so
// that it can go elsewhere or come back.
func (in *Intake) Record(ctx context.Context, e Endpoint, d *hold.Draft, decoded error) (r Receipt, err error) {
	if err = decoded; err == nil {
		began, call := time.Now(), ctx
		ctx, cancel := context.WithTimeoutCause(ctx, in.cfg.RecordWait, ErrSlow)
		defer cancel()
		if r, err = in.record(ctx, d); err != nil {
			err = in.WhySlow(ctx, err)
		} else {
			in.cfg.Observer.Acknowledged(call, e, time.Since(began))
			if in.cfg.Tokens != nil {
				in.cfg.Tokens.Add(in.cfg.Tokens.Label(d.Token), 1)
			}
		}
	}
	in.Observed(ctx, e, err)
	return r, err
}

func (in *Intake) record(ctx context.Context, d *hold.Draft) (r Receipt, err error) {
	if err := accept(auth.CallerOf(ctx), d, in.cfg.Rules()); err != nil {
		return r, err
	}
	if stopWeight(d) != "" {
		if err := in.checkStops(ctx, []hold.Draft{*d}, []int{0})[0]; err != nil {
			return r, err
		}
	}
	noted := in.prepareOne(ctx, d)
	if r.Position, err = in.cfg.Producer.Record(ctx, d); err != nil {
		return r, err
	}
	r.Note = in.noteOf(noted)
	return r, nil
}

// prepareOne is notes.prepare of one event. Most have no hold_id.
func (in *Intake) prepareOne(ctx context.Context, d *hold.Draft) *prepared {
	if d.HoldID == "" {
		return nil
	}
	return in.notes.prepare(ctx, []hold.Draft{*d})
}

// noteOf returns the note of one event that the log has now, or "".
func (in *Intake) noteOf(p *prepared) string {
	for _, note := range p.finish(in.notes, func(int) bool { return true }) {
		return note.Text
	}
	return ""
}

// WhySlow replaces err by the reason why the log is slow, if it is and one is known.
func (in *Intake) WhySlow(ctx context.Context, err error) error {
	if errors.Is(err, ErrSlow) || errors.Is(err, ingest.ErrNotAcknowledged) {
		return in.cfg.Blocked(ctx, err)
	}
	return err
}
