package grpcapi

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/tap"

	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// cancelKey is where a stream's context has what cancels it.
type cancelKey struct{}

// tapStats gives the streams of Stats a context that the gateway can cancel. That
// is the one way to end a Send that the client does not take, other than a second
// goroutine for each watcher, which would double what ten thousand of them cost.
func tapStats(ctx context.Context, info *tap.Info) (context.Context, error) {
	if info.FullMethodName != holdpb.HoldMetrics_Stats_FullMethodName {
		return ctx, nil
	}
	ctx, cancel := context.WithCancel(ctx) // the stream's end cancels it, too
	return context.WithValue(ctx, cancelKey{}, cancel), nil
}

// watchStream answers Stats with watch.
func (s *Server) watchStream(q *watch.Query, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	ctx := stream.Context()
	cancel, ok := ctx.Value(cancelKey{}).(context.CancelFunc)
	if !ok {
		return fmt.Errorf("%w: a watch: the gRPC server was not made with Gateway.ServerOptions", query.ErrUnavailable)
	}
	ended := s.cfg.Observer.WatchOpened("grpc")
	defer ended()
	sink := &grpcWatch{s: s, stream: stream, live: q.Live, marks: q.Heartbeat > 0 || q.From != "", cancel: cancel}
	s.stalls.look(sink)
	defer s.stalls.lookAway(sink)
	err := s.cfg.Watches.Watch(ctx, q, sink)
	if sink.stalled.Load() {
		s.cfg.Observer.WatchStalled("grpc")
		return watch.ErrStalled
	}
	return err
}

// grpcWatch is the client's end of a watch by gRPC.
type grpcWatch struct {
	s       *Server
	stream  grpc.ServerStreamingServer[holdpb.HoldStat]
	live    bool
	marks   bool   // the client takes marks
	point   string // that the last mark carried
	sent    int    // since the last round ended
	cancel  context.CancelFunc
	stalled atomic.Bool  // it was closed for that
	sending atomic.Int64 // when the send began that is under way, unix nanoseconds; 0: none is
}

// overdue closes the watch where a send began before a time and goes on.
func (w *grpcWatch) overdue(before time.Time) {
	if began := w.sending.Load(); began != 0 && began < before.UnixNano() {
		w.stalled.Store(true)
		w.cancel()
	}
}

func (w *grpcWatch) send(m any) error {
	w.sending.Store(time.Now().UnixNano())
	defer w.sending.Store(0)
	return w.stream.SendMsg(m)
}

func (w *grpcWatch) Update(b *query.Generation, c *projection.Change, seenAt int64) error {
	w.sent++
	if c.Gone {
		holder, err := ingest.HolderOf(c.Key)
		if err != nil {
			return err
		}
		return w.send(&holdpb.HoldStat{HolderId: holder, Gone: true})
	}
	more, err := w.s.messages.Of(b, c, w.live, seenAt)
	if err != nil {
		return err
	}
	return w.send(&rawMessage{bytes: c.Value, more: more})
}

func (w *grpcWatch) Complete(resumed bool) error {
	return w.send(&holdpb.HoldStat{Complete: true, Resumed: resumed && w.marks, AsOf: timestampOf(w.s.cfg.Reads.Now())})
}

func (w *grpcWatch) EndRound(b *query.Generation, point watch.Point) error {
	w.s.cfg.Observer.WatchSent("grpc", w.sent)
	w.sent = 0
	if !w.marks {
		return nil
	}
	w.point = watch.PointID(b, point)
	return w.mark()
}

// Heartbeat repeats the last mark. Proxies look at messages only, not at pings.
func (w *grpcWatch) Heartbeat() error { return w.mark() }

func (w *grpcWatch) mark() error {
	return w.send(&holdpb.HoldStat{Mark: true, ResumeFrom: w.point})
}
