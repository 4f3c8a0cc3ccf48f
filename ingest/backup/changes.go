package backup

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/ingest"
)

// A stream that keeps one message of a subject, as a bucket does, forgets the earlier one
// when it is written over. A server copies message by message up to the last one that it
// had at the beginning. So a key that is written over meanwhile is in the copy neither as
// it was nor as it is. So the messages that came meanwhile are kept with the copy, and are
// published behind it when it is restored. The restored stream is as the original was when the last of
// them was read.

// Change is a message that wrote over others while a stream was copied.
type Change struct {
	Subject string      `json:"subject"`
	Header  nats.Header `json:"header,omitempty"`
	Data    []byte      `json:"data"`
}

// mostChanges bounds the bytes of changes that are kept of a stream.
const mostChanges = 64 << 20

// changes returns the messages behind the last one of a copy, the last of each subject.
func changes(ctx context.Context, conn *nats.Conn, s *Stream) ([]Change, error) {
	if s.Name == ingest.StreamName {
		return nil, nil // which forgets nothing
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, s.Name)
	if err != nil {
		return nil, err
	}
	var found []Change
	place := map[string]int{} // within found, by subject
	size := 0
	for last := s.Last; ; {
		m, err := stream.GetMsg(ctx, last+1, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return inOrder(found, place), nil
		}
		if err != nil {
			return nil, err
		}
		last = m.Sequence
		if size += len(m.Data); size > mostChanges {
			return nil, fmt.Errorf("it was changed by more than %d MB while it was copied: try again when less is going on", mostChanges>>20)
		}
		place[m.Subject] = len(found)
		found = append(found, Change{Subject: m.Subject, Header: m.Header, Data: m.Data})
	}
}

// inOrder returns the last change of each subject, in order.
func inOrder(all []Change, place map[string]int) []Change {
	kept := make([]Change, 0, len(place))
	for i := range all {
		if place[all[i].Subject] == i {
			kept = append(kept, all[i])
		}
	}
	return kept
}

// lives reports whether a change is one that lives for a time, as the word of a process
// that it runs. It is over when a backup is restored. A deletion is none: it stays deleted.
func (c *Change) lives() bool {
	return c.Header.Get(jetstream.MsgTTLHeader) != "" && c.Header.Get("KV-Operation") == "" && c.Header.Get(jetstream.MarkerReasonHeader) == ""
}

// apply publishes the changes of a stream that was restored.
func apply(ctx context.Context, conn *nats.Conn, s *Stream) error {
	js, err := jetstream.New(conn)
	if err != nil {
		return err
	}
	for i := range s.Changes {
		c := &s.Changes[i]
		if c.lives() {
			continue
		}
		m := nats.NewMsg(c.Subject)
		m.Data = c.Data
		for name, values := range c.Header {
			// What was expected then does not hold in another stream.
			if !strings.HasPrefix(name, "Nats-Expected-") && name != jetstream.MsgIDHeader {
				m.Header[name] = values
			}
		}
		within, cancel := context.WithTimeout(ctx, silence)
		_, err := js.PublishMsg(within, m, jetstream.WithExpectStream(s.Name))
		cancel()
		if err != nil {
			return fmt.Errorf("the change of %s: %w", c.Subject, err)
		}
	}
	return nil
}
