// Package upload sends events to a server in batches, and reports what was refused.
package upload

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/cmd/holdmetrics/internal/printing"
	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	holdpb "holdmetrics/proto"
)

const (
	// BatchEvents is how many events a batch carries at most.
	BatchEvents     = 2048
	batchesInFlight = 16
)

// BatchStream is the client's end of BroadcastBatch.
type BatchStream = grpc.BidiStreamingClient[holdpb.HoldBatch, holdpb.HoldBatchAck]

// Tally counts the events of an import. Holders and Tokens must be maps.
type Tally struct {
	Events       int64 // that the rows came to
	Acknowledged int64
	Refused      int64
	Overruled    Overruled
	Holders      map[string]struct{}
	Tokens       map[string]struct{}

	token string // of the last event
}

// note keeps the ids of an event.
func (t *Tally) note(d *hold.Draft) {
	if _, known := t.Holders[d.Holder]; !known {
		t.Holders[strings.Clone(d.Holder)] = struct{}{} // it may hold on to its whole row
	}
	if d.Token == t.token {
		return
	}
	if _, known := t.Tokens[d.Token]; !known {
		t.Tokens[strings.Clone(d.Token)] = struct{}{} // as above
	}
	t.token = d.Token
}

// Overruled counts events that change nothing, because others take precedence. The zero
// value has none.
type Overruled struct {
	Count int64
	first string
}

// Add counts an event, with the note that says why.
func (o *Overruled) Add(place rows.Place, note string) {
	if o.Count++; o.Count == 1 {
		o.first = fmt.Sprintf("%s: %s", place, rows.Safe(note))
	}
}

// Tell says how many there were, and names the first.
func (o *Overruled) Tell(out io.Writer) {
	if o.Count > 0 {
		fmt.Fprintf(out, "holdmetrics: %s without effect, first %s\n", printing.Counted(o.Count, "event is", "events are"), o.first)
	}
}

// RefusedError is an event that the server did not accept.
type RefusedError struct{ Message string }

// Error returns the refusal, with its message.
func (e *RefusedError) Error() string { return "refused: " + e.Message }

// Send sends events in batches, several of them in flight, and takes their
// acknowledgements in order. Refused events go to bad; if bad is nil, the first refusal
// ends it. However it ends, it waits for the answers to what it has sent, so that the
// tally is right. The context of the stream must end with the caller of Send.
func Send(stream BatchStream, events iter.Seq2[rows.Event, error], bad *BadRows, t *Tally) error {
	sent := make(chan []rows.Place, batchesInFlight)
	refused := make(chan struct{})
	received := make(chan error, 1)
	go func() { received <- receive(stream, sent, refused, bad, t) }()

	sendErr := send(stream, events, sent, refused, bad, t)
	close(sent)
	if err := stream.CloseSend(); err != nil && sendErr == nil {
		sendErr = err
	}
	// A refusal, and what ended the stream, say more than the Send that failed of it.
	if err := <-received; err != nil && (sendErr == nil || errors.Is(sendErr, io.EOF)) {
		return err
	}
	return sendErr
}

func send(stream BatchStream, events iter.Seq2[rows.Event, error], sent chan<- []rows.Place, refused <-chan struct{}, bad *BadRows, t *Tally) error {
	batch := make([]*holdpb.HoldMsg, 0, BatchEvents)
	places := make([]rows.Place, 0, BatchEvents)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		select {
		case sent <- places:
		case <-refused:
			return io.EOF
		}
		err := stream.Send(&holdpb.HoldBatch{Events: batch})
		batch, places = batch[:0], make([]rows.Place, 0, BatchEvents)
		return err
	}
	for e, err := range events {
		if err != nil {
			// What came before the bad row is good; how far it got is what is reported.
			return errors.Join(err, ignoreEOF(flush()))
		}
		t.Events++
		if err := Unsendable(&e.Draft); err != nil {
			row := &rows.Error{Place: e.Place, Err: &RefusedError{err.Error()}}
			if bad == nil {
				return errors.Join(row, ignoreEOF(flush()))
			}
			bad.AddUnsent(row)
			continue
		}
		t.note(&e.Draft)
		batch, places = append(batch, connect.MessageOf(&e.Draft)), append(places, e.Place)
		if len(batch) == BatchEvents {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// Unsendable says what is wrong with an event that cannot travel: text that is
// not UTF-8, which a message cannot carry, or ids so long that a batch of them is
// larger than a message may be. The rule that it breaks is the server's.
func Unsendable(d *hold.Draft) error {
	const long = 512
	for _, s := range []string{d.Token, d.Holder, d.HoldID, d.WeightExact} {
		if len(s) > long || !utf8.ValidString(s) {
			_, err := d.Check(math.MaxInt64, hold.Limits{})
			return err
		}
	}
	return nil
}

// receive takes the acknowledgements until the stream ends. It closes refused
// with the first error, or refusal where bad is nil, and goes on, so that the tally is right.
func receive(stream BatchStream, sent <-chan []rows.Place, refused chan<- struct{}, bad *BadRows, t *Tally) error {
	var first error
	stop := func(err error) {
		if first == nil {
			first = err
			close(refused)
		}
	}
	for {
		ack, err := stream.Recv()
		if err == io.EOF {
			if _, waiting := <-sent; waiting {
				stop(fmt.Errorf("%w: the server ended the stream before its time", connect.ErrDisconnected))
			}
			return first
		}
		if err != nil {
			stop(err)
			return first
		}
		places, ok := <-sent
		if !ok {
			stop(errors.New("the server acknowledged more than it was sent"))
			return first
		}
		t.Acknowledged += int64(ack.GetAccepted())
		t.Refused += int64(len(ack.GetRefused()))
		for _, r := range ack.GetRefused() {
			i := int(r.GetIndex())
			if i >= len(places) {
				continue
			}
			row := &rows.Error{Place: places[i], Err: &RefusedError{r.GetError()}}
			if bad == nil {
				stop(row)
			} else {
				bad.addRefusal(row)
			}
		}
		for _, n := range ack.GetNotes() {
			if i := int(n.GetIndex()); i < len(places) {
				t.Overruled.Add(places[i], n.GetNote())
			}
		}
	}
}
