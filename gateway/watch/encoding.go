package watch

import (
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"holdmetrics/gateway/query"
	"holdmetrics/projection"
)

// Encodings keeps what changes look like on the wire, so that a change that goes
// out to thousands of watchers is encoded once, and all of them send the same
// memory. It is bounded: a place is used again by a later change. Nothing waits
// for anything here; two watchers that encode the same change at the same time do
// it twice.
type Encodings struct {
	places [1 << 12]atomic.Pointer[encodedChange]
}

type encodedChange struct {
	serial uint64 // of the generation
	number uint64 // of the change
	at     int64  // when it was made, unix nanoseconds
	bytes  []byte
}

// encodingAge is how old the live figures in a shared encoding may be.
const encodingAge = int64(time.Second)

// Of is the encoding of a change, made by encode unless there is one that was
// made at seenAt or later.
func (e *Encodings) Of(serial, number uint64, now, seenAt int64, encode func() ([]byte, error)) ([]byte, error) {
	place := &e.places[number%uint64(len(e.places))]
	if known := place.Load(); known != nil && known.serial == serial && known.number == number && now-known.at < encodingAge && known.at >= seenAt {
		return known.bytes, nil
	}
	b, err := encode()
	if err == nil {
		place.Store(&encodedChange{serial, number, now, b})
	}
	return b, err
}

// Messages are the protobuf fields that follow the bytes of a snapshot, shared
// by those who watch it. The zero value is ready to use.
type Messages struct{ live, settled Encodings }

// Of is what follows the bytes of a change: live figures as of seenAt or later, or,
// for a watch of settled figures, what is the same at any time.
func (m *Messages) Of(b *query.Generation, c *projection.Change, live bool, seenAt int64) ([]byte, error) {
	now := b.S.Now()
	if !live {
		return m.settled.Of(b.Serial, c.Number, now, 0, func() ([]byte, error) {
			s, err := b.ReadChange(c, now)
			return projection.AppendApplied(nil, s.Applied), err
		})
	}
	return m.live.Of(b.Serial, c.Number, now, seenAt, func() ([]byte, error) {
		s, err := b.ReadChange(c, now)
		return projection.AppendLive(nil, s.Live, s.At, s.Applied), err
	})
}

// PointID is the id by which a watch goes on: the gateway's name for its view of
// the snapshots, and a point in that view's history.
func PointID(b *query.Generation, point Point) string {
	id := b.ViewID + "-" + strconv.FormatUint(point.base, 10)
	if point.settled < point.base {
		id += "-" + strconv.FormatUint(point.settled, 10)
	}
	return id
}

// pointOf is the point that an id of pointID names; 0 where it is not one of this
// gateway's, so that the watch starts over.
func pointOf(b *query.Generation, id string) Point {
	numbers, ok := strings.CutPrefix(id, b.ViewID+"-")
	if !ok {
		return Point{}
	}
	base, settled, behind := strings.Cut(numbers, "-")
	if !behind {
		settled = base
	}
	var p Point
	var err, err2 error
	p.base, err = strconv.ParseUint(base, 10, 64)
	p.settled, err2 = strconv.ParseUint(settled, 10, 64)
	if err != nil || err2 != nil || p.base > b.Snapshots.Last() || p.settled > p.base {
		return Point{}
	}
	return p
}
