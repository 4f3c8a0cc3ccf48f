package source

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"holdmetrics/hold"
	"holdmetrics/ingest"
)

// ErrReplaced: the log is another one than before, or there is none any more.
var ErrReplaced = errors.New("the log was deleted, or made again")

// Live is the log of a NATS server. Its limits and the positions that were accepted as
// lost may change while it is read: they are those of the last call of LastPosition.
type Live struct {
	js  jetstream.JetStream
	id  string
	log atomic.Pointer[ingest.Log]
}

// OpenLive opens the log of a server; the error matches [ingest.ErrNoLog] if there is none.
func OpenLive(ctx context.Context, js jetstream.JetStream) (*Live, error) {
	log, err := ingest.FindLog(ctx, js)
	if err != nil {
		return nil, err
	}
	l := &Live{js: js, id: log.ID()}
	l.log.Store(log)
	return l, nil
}

// ID returns the id of the log.
func (l *Live) ID() string { return l.id }

// Partitions returns the number of partitions.
func (l *Live) Partitions() int { return l.log.Load().Partitions() }

// LastPosition returns the last position, and learns the settings that the log has now.
// The error matches [ErrReplaced] if it is another one than was opened.
func (l *Live) LastPosition(ctx context.Context) (uint64, error) {
	// The position first: whatever is up to it came in under settings that are there by then.
	last, err := l.log.Load().LastPosition(ctx)
	var now *ingest.Log
	if err == nil {
		now, err = ingest.FindLog(ctx, l.js)
	}
	switch {
	case errors.Is(err, ingest.ErrNoLog), errors.Is(err, jetstream.ErrStreamNotFound):
		return 0, fmt.Errorf("%w: there is none, and it was log %s: restore it", ErrReplaced, l.id)
	case err != nil:
		return 0, err
	case now.ID() != l.id:
		return 0, fmt.Errorf("%w: it is log %s, and it was log %s: name another database for it", ErrReplaced, now.ID(), l.id)
	}
	l.log.Store(now)
	return last, nil
}

// Read gives the messages of a range by ascending position.
func (l *Live) Read(ctx context.Context, r ingest.Range) iter.Seq2[*ingest.Message, error] {
	return l.log.Load().Read(ctx, r)
}

// LimitsAt returns the limits that held at a position.
func (l *Live) LimitsAt(position uint64) hold.Limits { return l.log.Load().LimitsAt(position) }

// KnowsHorizon reports whether the settings of the log name a horizon.
func (l *Live) KnowsHorizon(ctx context.Context, horizon int64) (bool, error) {
	return l.log.Load().KnowsHorizon(ctx, horizon)
}

// IsLost reports whether a position was accepted as lost.
func (l *Live) IsLost(position uint64) bool { return l.log.Load().IsLost(position) }

// Away reports whether an error of a log is that of a server that does not answer now,
// and may answer later.
func Away(err error) bool {
	for _, of := range []error{
		nats.ErrNoServers, nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		jetstream.ErrNoStreamResponse, jetstream.ErrNoHeartbeat, context.DeadlineExceeded, ingest.ErrSilent, ingest.ErrNoLeader,
	} {
		if errors.Is(err, of) {
			return true
		}
	}
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.Code == unavailable
	}
	return errors.As(err, new(net.Error)) // no connection
}

// unavailable is JetStream's code of an answer that it cannot give yet.
const unavailable = 503
