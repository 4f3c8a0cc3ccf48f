// Package repair finds what an event log has lost, sends again from a backup what that
// has of it, and has the rest accepted as lost by an operator.
//
// Nothing is put back at its place: a stream takes messages at its end alone. Since the
// order of events does not matter, an event that is sent again counts as it did. The
// positions of lost messages are named in the settings of the log ([ingest.Lost]), and
// readers pass over them from then on.
//
// A log that lost its end may have been applied further than it goes. Empty frames fill it
// up to there, so that no event takes a position that was applied before.
package repair

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/ingest"
)

// Errors that callers decide on.
var (
	// ErrNotAccepted: messages are lost, and nobody has accepted that. Nothing was changed.
	ErrNotAccepted = errors.New("repair: messages are lost")
	// ErrForeign: the backup is of another log. Nothing was changed.
	ErrForeign = errors.New("repair: the backup is of another log")
)

// Witness is how far a projection was made from the log: a message that the log must have.
type Witness struct {
	ingest.Anchor
	LogTime int64 // ns, the greatest time of a message up to there; 0: not known
}

// Report is what a log has lost.
type Report struct {
	LogID string
	Last  uint64 // last position of the log
	// Lost are the positions whose messages are lost and were not accepted as lost,
	// ascending.
	Lost []ingest.Span
	// Applied is the greatest position that was applied; 0: none, or it is not beyond Last.
	Applied uint64
	// Replaced are positions that were applied and have other messages now, which came
	// later and were never applied. They are among Lost. First is 0 if there are none.
	Replaced ingest.Span
	// Accepted are positions that were accepted as lost before.
	Accepted []ingest.Lost
}

// Messages is how many messages are lost.
func (r *Report) Messages() (n uint64) {
	for _, s := range r.Lost {
		n += s.Last - s.First + 1
	}
	return n
}

// Find reads the whole log, and compares it with what was made from it.
func Find(ctx context.Context, log *ingest.Log, witnesses []Witness) (*Report, error) {
	last, err := log.LastPosition(ctx)
	if err != nil {
		return nil, err
	}
	r := &Report{LogID: log.ID(), Last: last}
	var gaps []ingest.Span
	if last > 0 {
		if gaps, err = log.Unreadable(ctx, ingest.Span{First: 1, Last: last}); err != nil {
			return nil, err
		}
	}
	if err := r.findReplaced(ctx, log, witnesses); err != nil {
		return nil, err
	}
	for _, w := range witnesses {
		if w.Position > last {
			r.Applied = max(r.Applied, w.Position)
		}
	}
	if r.Replaced.First != 0 {
		gaps = append(gaps, r.Replaced)
	}
	if r.Applied != 0 {
		gaps = append(gaps, ingest.Span{First: last + 1, Last: r.Applied})
	}
	r.Accepted = log.LostPositions()
	r.Lost = ingest.JoinSpans(gaps)
	return r, nil
}

// findReplaced finds the positions whose messages came after the log lost its end. They are
// newer than all that was applied of what is lost. Witnesses of partitions that lost
// nothing may have gone on since.
func (r *Report) findReplaced(ctx context.Context, log *ingest.Log, witnesses []Witness) error {
	newest, beyond := int64(0), false
	for _, w := range witnesses {
		if w.Position > r.Last {
			newest, beyond = max(newest, w.LogTime), true
			continue
		}
		var replaced *ingest.ReplacedError
		err := log.Has(ctx, w.Anchor)
		switch {
		case errors.As(err, &replaced):
			newest = max(newest, w.LogTime)
			if r.Replaced.First == 0 {
				r.Replaced.First = w.Position
			}
			r.Replaced.First, r.Replaced.Last = min(r.Replaced.First, w.Position), max(r.Replaced.Last, w.Position)
		case err != nil && !errors.Is(err, ingest.ErrLogDamaged):
			return err
		}
	}
	if r.Replaced.First == 0 && !beyond || newest == 0 || r.Last == 0 {
		return nil
	}
	// Where the log is still shorter, new messages may have taken positions all the same.
	first, err := log.PositionAt(ctx, newest+1)
	if err != nil {
		return err
	}
	if beyond {
		r.Replaced.Last = r.Last
	}
	switch {
	case r.Replaced.First == 0:
		r.Replaced.First = first
	default:
		r.Replaced.First = min(r.Replaced.First, first)
	}
	if r.Replaced.First > r.Replaced.Last {
		r.Replaced = ingest.Span{}
	}
	return nil
}

// Source is a copy of the log, such as one that was restored from a backup.
// *ingest.Log is one.
type Source interface {
	ID() string
	LastPosition(ctx context.Context) (uint64, error)
	Message(ctx context.Context, position uint64) (*ingest.Message, error)
}

// Options are how a log is repaired.
type Options struct {
	Source     Source // nil: there is no backup
	AcceptLoss bool   // what is not in the source is lost from now on
	Now        time.Time
}

// Result is what a repair did.
type Result struct {
	Restored uint64 // messages that were sent again from the source
	Moved    uint64 // messages that had taken positions of lost ones, and were sent again
	Filled   uint64 // empty frames at positions that the log did not have
	Lost     uint64 // messages that are lost from now on
}

// Repair repairs what a report names. It changes nothing if messages are lost that are
// neither in the source nor accepted; the error then matches [ErrNotAccepted]. After
// another error, a new report and a new repair complete it: an event that is sent twice
// counts once.
func Repair(ctx context.Context, log *ingest.Log, r *Report, o Options) (done Result, err error) {
	lost := make([]ingest.Lost, len(r.Lost))
	var again []*ingest.Message
	for i, span := range r.Lost {
		lost[i] = ingest.Lost{Span: span, At: o.Now.UTC().Truncate(time.Second)}
		found, err := o.find(ctx, r, span)
		if err != nil {
			return done, err
		}
		again = append(again, found...)
		lost[i].Restored = uint64(len(found))
		done.Restored += uint64(len(found))
		done.Lost += span.Last - span.First + 1 - uint64(len(found))
	}
	if done.Lost > 0 && !o.AcceptLoss {
		return Result{}, fmt.Errorf("%w: %d of %d are in no backup that was given: name an older or newer one with --from, or accept the loss with --accept-loss", ErrNotAccepted, done.Lost, r.Messages())
	}
	moved, err := replaced(ctx, log, r)
	if err != nil {
		return done, err
	}
	if done.Filled, err = fill(ctx, log, r.Applied); err != nil {
		return done, err
	}
	for _, m := range append(moved, again...) {
		if err := send(ctx, log, m); err != nil {
			return done, err
		}
	}
	done.Moved = uint64(len(moved))
	return done, log.AcceptLoss(ctx, lost)
}

// find returns what the source has of a span.
func (o *Options) find(ctx context.Context, r *Report, span ingest.Span) (found []*ingest.Message, err error) {
	if o.Source == nil {
		return nil, nil
	}
	if id := o.Source.ID(); id != r.LogID {
		return nil, fmt.Errorf("%w: %s, not %s", ErrForeign, id, r.LogID)
	}
	last, err := o.Source.LastPosition(ctx)
	if err != nil {
		return nil, err
	}
	for p := span.First; p <= min(span.Last, last); p++ {
		m, err := o.Source.Message(ctx, p)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue // lost there too
		}
		if err != nil {
			return nil, err
		}
		found = append(found, m)
	}
	return found, nil
}

// replaced returns the messages that took positions of lost ones.
func replaced(ctx context.Context, log *ingest.Log, r *Report) (moved []*ingest.Message, err error) {
	if r.Replaced.First == 0 {
		return nil, nil
	}
	for m, err := range log.Read(ctx, ingest.Range{From: r.Replaced.First, To: r.Replaced.Last, Gaps: true}) {
		if err != nil {
			return nil, err
		}
		moved = append(moved, m)
	}
	return moved, nil
}

// fill appends empty frames until the log has a position.
func fill(ctx context.Context, log *ingest.Log, position uint64) (filled uint64, err error) {
	for {
		last, err := log.LastPosition(ctx)
		if err != nil || last >= position {
			return filled, err
		}
		for ; last < position; last++ {
			if err := log.Probe(ctx); err != nil {
				return filled, fmt.Errorf("repair: fill the log up to position %d: %w", position, err)
			}
			filled++
		}
	}
}

// send appends a message to its partition.
func send(ctx context.Context, log *ingest.Log, m *ingest.Message) error {
	msg := &nats.Msg{Subject: ingest.LogSubject(m.Partition), Data: m.Data}
	if m.JSON {
		msg.Header = nats.Header{ingest.ContentTypeHeader: []string{ingest.JSONContentType}}
	}
	ack, err := log.JetStream().PublishMsg(ctx, msg)
	if err == nil && ack.Stream != ingest.StreamName {
		err = fmt.Errorf("stream %s took it", ack.Stream)
	}
	if err != nil {
		return fmt.Errorf("repair: send the message of position %d again: %w", m.Position, err)
	}
	return nil
}
