package projection

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// burst publishes snapshots without an acknowledgement for each.
//
// It is for a bucket that has one owner (SnapshotConfig.Async). Messages of one
// connection are stored in the order in which they were sent, and each takes the
// next sequence of the stream. So the last of a burst asks the broker to store it
// only where the sequence before it is the one that all the others lead to
// (Nats-Expected-Last-Sequence): its acknowledgement is one for all of them. This
// saves the broker making, and us reading, an answer for each message, which is a
// third of what a put costs both.
//
// Where the broker refuses, because something of the burst is missing or somebody
// else wrote to the bucket, all of it is published again, each put with its own
// acknowledgement.
//
// Since all sequences are counted, a message with a greater one than was sent is
// somebody else's; see foreign.
type burst struct {
	mu   sync.Mutex // one burst is sent at a time: sequences are counted
	last uint64     // the stream's last sequence once all that was sent is stored; 0: not known

	known   uint64        // last, when it was known before
	sent    atomic.Uint64 // last, or unknownSent
	unclear spans
}

// unknownSent is the value of burst.sent while last is not known.
const unknownSent = math.MaxUint64

// counted notes a last sequence. mu is held. After a time in which it was not known, all
// messages of that time are unclear.
func (b *burst) counted(last uint64) {
	switch {
	case last == 0 && b.last != 0:
		b.known = b.last
	case last != 0 && b.last == 0:
		b.unclear.add(span{b.known, last})
	}
	b.last = last
	if last == 0 {
		last = unknownSent
	}
	b.sent.Store(last)
}

// burstMost is how many puts go under one acknowledgement. The broker's queue of a
// stream takes 10,000 and drops what is more; then a burst is refused.
const burstMost = 2048

var errBurst = errors.New("the broker does not have all of a burst")

// putBurst publishes entries, of which the last is stored after all others or not at all.
func (s *Snapshots) putBurst(ctx context.Context, entries []Entry) error {
	for from := 0; from < len(entries); from += burstMost {
		some := entries[from:min(from+burstMost, len(entries))]
		err := s.putCounted(ctx, some)
		if errors.Is(err, errBurst) {
			err = s.putEach(ctx, some)
		}
		if err != nil {
			s.burst.mu.Lock()
			s.burst.counted(0)
			s.burst.mu.Unlock()
			return err
		}
	}
	return nil
}

// putCounted publishes up to burstMost entries, with one acknowledgement. errBurst
// means that they are to be published again.
func (s *Snapshots) putCounted(ctx context.Context, entries []Entry) error {
	last, err := s.send(entries)
	if err != nil {
		return err
	}
	if _, err = acknowledged(ctx, last); errors.Is(err, errBurst) {
		s.foreign.tell("") // somebody else may have written, unseen behind what was counted
	}
	return err
}

// send sends a burst. The next one may be sent before this one is acknowledged: it
// counts on it, and is refused where this one is.
func (s *Snapshots) send(entries []Entry) (jetstream.PubAckFuture, error) {
	s.burst.mu.Lock()
	defer s.burst.mu.Unlock()
	if s.burst.last == 0 {
		return nil, errBurst // nothing to count from
	}
	n := len(entries) - 1
	before := s.burst.last + uint64(n)
	s.burst.counted(before + 1) // before a view can see any of it
	for i := range entries[:n] {
		if err := s.put(&entries[i]); err != nil {
			s.burst.counted(0)
			return nil, err
		}
	}
	return s.publisher.PublishMsgAsync(s.message(&entries[n]), jetstream.WithExpectLastSequence(before))
}

// put sends an entry without asking for an acknowledgement.
func (s *Snapshots) put(e *Entry) error {
	if e.Gone {
		return s.js.Conn().PublishMsg(s.message(e))
	}
	return s.js.Conn().Publish(s.prefix+e.Key, e.Value)
}

// message is the message of an entry.
func (s *Snapshots) message(e *Entry) *nats.Msg {
	m := &nats.Msg{Subject: s.prefix + e.Key, Data: e.Value}
	if e.Gone {
		m.Data, m.Header = nil, nats.Header{headerOperation: {operationDelete}}
	}
	return m
}

// putEach publishes entries with an acknowledgement each, the last after all others.
func (s *Snapshots) putEach(ctx context.Context, entries []Entry) error {
	s.burst.mu.Lock()
	defer s.burst.mu.Unlock()
	s.burst.counted(0)
	n := len(entries) - 1
	if err := s.putAll(ctx, entries[:n]); err != nil {
		return err
	}
	future, err := s.publisher.PublishMsgAsync(s.message(&entries[n]))
	if err != nil {
		return err
	}
	last, err := acknowledged(ctx, future)
	s.burst.counted(last)
	return err
}

// acknowledged waits for the sequence that a message was given; errBurst where the
// broker expected another one before it.
func acknowledged(ctx context.Context, f jetstream.PubAckFuture) (uint64, error) {
	select {
	case ack := <-f.Ok():
		return ack.Sequence, nil
	case err := <-f.Err():
		if api := (*jetstream.APIError)(nil); errors.As(err, &api) &&
			(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
			return 0, errBurst
		}
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
