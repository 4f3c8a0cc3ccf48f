package main

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc"

	"holdmetrics/hold"
	"holdmetrics/ingest/rows"
	holdpb "holdmetrics/proto"
)

const (
	batchEvents     = 512
	batchesInFlight = 16
)

// batchStream is the client's end of BroadcastBatch.
type batchStream = grpc.BidiStreamingClient[holdpb.HoldBatch, holdpb.HoldBatchAck]

// tally is what became of the events of an import.
type tally struct {
	events       int64 // that the rows came to
	acknowledged int64
	refused      int64
	holders      map[string]struct{}
}

// refusedError is an event that the server did not take.
type refusedError struct{ message string }

func (e *refusedError) Error() string { return "refused: " + e.message }

// pump sends events in batches, several of them in flight, and takes their
// acknowledgements in order. Events that are refused go to bad, and the others
// go on; where bad is nil, the first of them ends it. However it ends, it waits
// for what it has sent, so that the tally is right. The stream must be of a
// context that ends with pump's caller.
func pump(stream batchStream, events iter.Seq2[rows.Event, error], bad *badRows, t *tally) error {
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

func send(stream batchStream, events iter.Seq2[rows.Event, error], sent chan<- []rows.Place, refused <-chan struct{}, bad *badRows, t *tally) error {
	batch := make([]*holdpb.HoldMsg, 0, batchEvents)
	places := make([]rows.Place, 0, batchEvents)
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
		batch, places = batch[:0], make([]rows.Place, 0, batchEvents)
		return err
	}
	for e, err := range events {
		if err != nil {
			// What came before the bad row is good; how far it got is what is reported.
			return errors.Join(err, ignoreEOF(flush()))
		}
		t.events++
		if err := unsendable(&e.Draft); err != nil {
			row := &rows.Error{Place: e.Place, Err: &refusedError{err.Error()}}
			if bad == nil {
				return errors.Join(row, ignoreEOF(flush()))
			}
			bad.addUnsent(row)
			continue
		}
		if _, known := t.holders[e.Draft.Holder]; !known {
			t.holders[strings.Clone(e.Draft.Holder)] = struct{}{} // it may hold on to its whole row
		}
		batch, places = append(batch, messageOf(&e.Draft)), append(places, e.Place)
		if len(batch) == batchEvents {
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

// unsendable says what is wrong with an event that cannot travel: text that is
// not UTF-8, which a message cannot carry, or ids so long that a batch of them is
// larger than a message may be. The rule that it breaks is the server's.
func unsendable(d *hold.Draft) error {
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
func receive(stream batchStream, sent <-chan []rows.Place, refused chan<- struct{}, bad *badRows, t *tally) error {
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
				stop(fmt.Errorf("%w: the server ended the stream before its time", errDisconnected))
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
		t.acknowledged += int64(ack.GetAccepted())
		t.refused += int64(len(ack.GetRefused()))
		for _, r := range ack.GetRefused() {
			i := int(r.GetIndex())
			if i >= len(places) {
				continue
			}
			row := &rows.Error{Place: places[i], Err: &refusedError{r.GetError()}}
			if bad == nil {
				stop(row)
			} else {
				bad.addRefusal(row)
			}
		}
	}
}
