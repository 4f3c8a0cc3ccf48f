package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	"holdmetrics/internal/backoff"
	holdpb "holdmetrics/proto"
)

const (
	// watchHeartbeat is the silence after which the server sends a mark. Common
	// proxies close a stream that sends nothing for 60 seconds.
	watchHeartbeat = 15 * time.Second
	// watchSilence is the silence after which a server that sends marks counts as gone.
	watchSilence = 4 * watchHeartbeat

	firstReconnect = 200 * time.Millisecond
	lastReconnect  = 10 * time.Second
)

// follower is a watch that goes on after an interruption, from the last mark.
// One goroutine uses it.
type follower struct {
	client holdpb.HoldMetricsClient
	server *connect.Server
	req    *holdpb.StatsRequest
	limit  time.Duration     // how long to reconnect before giving up
	note   func(text string) // shows what became of the connection
	stream grpc.ServerStreamingClient[holdpb.HoldStat]
	cancel context.CancelFunc // of the stream
	// silence cancels a stream that sends marks and has fallen silent; nil until the first mark.
	silence     *time.Timer
	heard       bool // anything, ever
	interrupted bool // and the mark of completion has not come again
}

func newFollower(client holdpb.HoldMetricsClient, server *connect.Server, req *holdpb.StatsRequest, limit time.Duration, note func(string)) *follower {
	req.Heartbeat = durationpb.New(watchHeartbeat)
	return &follower{client: client, server: server, req: req, limit: limit, note: note}
}

// next returns the next message that is no mark. It reconnects for up to the limit
// if the connection breaks. It returns an error at once if nothing ever came, or if
// the server refuses the request.
func (f *follower) next(ctx context.Context) (*holdpb.HoldStat, error) {
	var since time.Time // of the interruption
	waits := backoff.Backoff{First: firstReconnect, Most: lastReconnect}
	for {
		s, err := f.receive(ctx)
		switch {
		case err == nil && s.GetMark():
			f.marked(s.GetResumeFrom())
			since = time.Time{}
			waits.Reset()
			continue
		case err == nil:
			if f.interrupted && s.GetComplete() {
				f.interrupted = false
				if s.GetResumed() {
					f.note("connected again: the watch went on where it was")
				} else {
					f.note("connected again: every current value was sent once more")
				}
			}
			return s, nil
		case ctx.Err() != nil || !f.heard || !worthReconnecting(err):
			return nil, err
		}
		if since.IsZero() {
			since = time.Now()
			f.note("the watch was interrupted (" + reasonOf(err) + "); connecting again")
		}
		f.interrupted = true
		wait := waits.Next()
		if time.Since(since)+wait > f.limit {
			return nil, fmt.Errorf("%w: the server at %s ended the watch, and did not answer for %s: %s", connect.ErrDisconnected, f.server.Address(), f.limit, reasonOf(err))
		}
		if err := backoff.Wait(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// receive returns the next message of the stream, which it opens if there is none.
func (f *follower) receive(ctx context.Context) (*holdpb.HoldStat, error) {
	if f.stream == nil {
		streaming, cancel := context.WithCancel(ctx)
		stream, err := f.client.Stats(streaming, f.req)
		if err != nil {
			cancel()
			return nil, err
		}
		f.stream, f.cancel = stream, cancel
	}
	s, err := f.stream.Recv()
	if err != nil {
		f.close()
		return nil, err
	}
	if !f.heard {
		f.heard, f.req.After = true, 0
	}
	if f.silence != nil {
		f.silence.Reset(watchSilence)
	}
	return s, nil
}

func (f *follower) marked(point string) {
	f.req.ResumeFrom = point
	if f.silence == nil {
		f.silence = time.AfterFunc(watchSilence, f.cancel)
	}
}

// close ends the stream, if there is one.
func (f *follower) close() {
	if f.silence != nil {
		f.silence.Stop()
		f.silence = nil
	}
	if f.cancel != nil {
		f.cancel()
	}
	f.stream, f.cancel = nil, nil
}

// worthReconnecting reports whether the same request may succeed later.
func worthReconnecting(err error) bool {
	if errors.Is(err, io.EOF) {
		return true
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.PermissionDenied, codes.Unauthenticated,
		codes.Unimplemented, codes.FailedPrecondition, codes.OutOfRange:
		return false
	}
	return true
}

// reasonOf returns the reason of an interruption, quoted, since others wrote it.
func reasonOf(err error) string {
	if errors.Is(err, io.EOF) {
		return "the server ended it"
	}
	return strconv.Quote(status.Convert(err).Message())
}
