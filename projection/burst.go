package projection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

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
type burst struct {
	mu    sync.Mutex // one burst at a time: sequences are counted
	last  uint64     // sequence of the stream; 0: not known
	wrong uint64     // bursts that were refused
}

const (
	// burstMost is how many puts go under one acknowledgement. The broker's queue
	// of a stream takes 10,000 and drops what is more.
	burstMost = 2048

	headerExpectedSequence = "Nats-Expected-Last-Sequence"
	codeWrongLastSequence  = 10071
)

var errBurst = errors.New("the broker does not have all of a burst")

// burst publishes entries, of which the last is stored after all others or not at all.
func (s *Snapshots) putBurst(ctx context.Context, entries []Entry) error {
	s.burst.mu.Lock()
	defer s.burst.mu.Unlock()
	for from := 0; from < len(entries); from += burstMost {
		some := entries[from:min(from+burstMost, len(entries))]
		err := errBurst // nothing to count from
		if s.burst.last != 0 {
			err = s.putCounted(ctx, some)
		}
		if errors.Is(err, errBurst) {
			s.burst.wrong++
			err = s.putEach(ctx, some)
		}
		if err != nil {
			s.burst.last = 0
			return err
		}
	}
	return nil
}

// putCounted publishes up to burstMost entries, with one acknowledgement.
func (s *Snapshots) putCounted(ctx context.Context, entries []Entry) error {
	conn := s.js.Conn()
	n := len(entries) - 1
	for i := range entries[:n] {
		if err := conn.Publish(s.prefix+entries[i].Key, entries[i].Value); err != nil {
			return err
		}
	}
	want := s.burst.last + uint64(n)
	ack, err := s.request(ctx, &nats.Msg{
		Subject: s.prefix + entries[n].Key, Data: entries[n].Value,
		Header: nats.Header{headerExpectedSequence: {strconv.FormatUint(want, 10)}},
	})
	if err != nil {
		return err
	}
	s.burst.last = ack
	return nil
}

// putEach publishes entries with an acknowledgement each, the last after all others.
func (s *Snapshots) putEach(ctx context.Context, entries []Entry) error {
	n := len(entries) - 1
	if err := s.putAll(ctx, entries[:n]); err != nil {
		return err
	}
	ack, err := s.request(ctx, &nats.Msg{Subject: s.prefix + entries[n].Key, Data: entries[n].Value})
	if err != nil {
		return err
	}
	s.burst.last = ack
	return nil
}

// request publishes one message and gives its sequence; errBurst where the broker
// expected another one before it.
func (s *Snapshots) request(ctx context.Context, m *nats.Msg) (sequence uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	answer, err := s.js.Conn().RequestMsgWithContext(ctx, m)
	if err != nil {
		return 0, err
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Stream   string              `json:"stream"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(answer.Data, &ack); err != nil {
		return 0, fmt.Errorf("an acknowledgement that cannot be read: %w", err)
	}
	switch {
	case ack.Error != nil && ack.Error.ErrorCode == codeWrongLastSequence:
		return 0, errBurst
	case ack.Error != nil:
		return 0, ack.Error
	case ack.Stream != s.stream.CachedInfo().Config.Name:
		return 0, fmt.Errorf("%w: stream %s answered for the bucket", ErrForeign, ack.Stream)
	}
	return ack.Sequence, nil
}
