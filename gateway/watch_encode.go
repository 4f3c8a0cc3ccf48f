package gateway

import (
	"encoding/json"
	"strconv"
	"sync/atomic"
	"time"

	"holdmetrics/ingest"
	"holdmetrics/projection"
)

// encodings keeps what changes look like on the wire, so that a change that goes
// out to thousands of watchers is encoded once, and all of them send the same
// memory. It is bounded: a place is used again by a later change. Nothing waits
// for anything here; two watchers that encode the same change at the same time do
// it twice.
type encodings struct {
	places [1 << 12]atomic.Pointer[encodedChange]
}

type encodedChange struct {
	number uint64
	at     int64 // when it was made, unix nanoseconds
	bytes  []byte
}

// encodingAge is how old the live figures in a shared encoding may be.
const encodingAge = int64(time.Second)

// of is the encoding of a change, made by encode where there is none, or none that
// was made at told or later.
func (e *encodings) of(number uint64, now, told int64, encode func() ([]byte, error)) ([]byte, error) {
	place := &e.places[number%uint64(len(e.places))]
	if known := place.Load(); known != nil && known.number == number && now-known.at < encodingAge && known.at >= told {
		return known.bytes, nil
	}
	b, err := encode()
	if err == nil {
		place.Store(&encodedChange{number, now, b})
	}
	return b, err
}

// watchEncodings are the forms in which changes go out.
type watchEncodings struct{ messages, settledMessages, events, settledEvents encodings }

// message is what follows a snapshot's own bytes in a gRPC message.
func (b *backend) watchMessage(c *projection.Change, live bool, told int64) ([]byte, error) {
	now := b.g.cfg.Now()
	if !live {
		return b.encoded.settledMessages.of(c.Number, now, 0, func() ([]byte, error) {
			s, err := b.readChange(c, now)
			return appendApplied(nil, s.applied), err
		})
	}
	return b.encoded.messages.of(c.Number, now, told, func() ([]byte, error) {
		s, err := b.readChange(c, now)
		return appendLive(nil, s.live, s.at, s.applied), err
	})
}

// watchEvent is a change as an event of SSE. What is settled is the same at any time.
func (b *backend) watchEvent(c *projection.Change, live bool, told int64) ([]byte, error) {
	now := b.g.cfg.Now()
	shared := &b.encoded.events
	if !live {
		shared, told = &b.encoded.settledEvents, 0
	}
	if c.Gone {
		return goneEvent(c.Key)
	}
	return shared.of(c.Number, now, told, func() ([]byte, error) {
		s, err := b.readChange(c, now)
		if err != nil {
			return nil, err
		}
		row, err := s.row()
		if err != nil {
			return nil, err
		}
		if !live {
			row.LiveScore, row.LiveScoreDouble, row.LiveHeld, row.AsOf = "", nil, "", nil
		}
		return event("stat", row)
	})
}

// goneHolder is the data of an event that says that a holder has gone.
type goneHolder struct {
	HolderID string `json:"holder_id"`
}

func goneEvent(key string) ([]byte, error) {
	holder, err := ingest.HolderOf(key)
	if err != nil {
		return nil, err
	}
	return event("gone", goneHolder{holder})
}

// event is an event of SSE with its data in one line.
func event(name string, data any) ([]byte, error) {
	text, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len("event: \ndata: \n\n")+len(name)+len(text))
	b = append(append(b, "event: "...), name...)
	b = append(append(b, "\ndata: "...), text...)
	return append(b, "\n\n"...), nil
}

// pointID is the id by which a watch goes on: the gateway's name for its view of
// the snapshots, and a point in that view's history.
func (b *backend) pointID(point watchPoint) string {
	id := b.viewID + "-" + strconv.FormatUint(point.base, 10)
	if point.settled < point.base {
		id += "-" + strconv.FormatUint(point.settled, 10)
	}
	return id
}
