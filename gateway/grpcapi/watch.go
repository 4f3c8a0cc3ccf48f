package grpcapi

import (
	"fmt"

	"google.golang.org/grpc"

	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// watchStream answers Stats with watch.
func (s *Server) watchStream(q *watch.Query, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	ctx := stream.Context()
	out := outflowOf(ctx)
	if out == nil {
		return fmt.Errorf("%w: a watch: the gRPC server was not made with Gateway.ServerOptions", query.ErrUnavailable)
	}
	ended := s.cfg.Observer.WatchOpened("grpc")
	defer ended()
	out.unread = watch.ErrStalled
	sink := &grpcWatch{s: s, stream: stream, live: q.Live, marks: q.Heartbeat > 0 || q.From != ""}
	err := s.cfg.Watches.Watch(ctx, q, sink)
	if out.closed.Load() {
		s.cfg.Observer.WatchStalled("grpc")
	}
	return err
}

// grpcWatch is the client's end of a watch by gRPC.
type grpcWatch struct {
	s      *Server
	stream grpc.ServerStreamingServer[holdpb.HoldStat]
	live   bool
	marks  bool   // the client takes marks
	point  string // that the last mark carried
	sent   int    // since the last round ended
}

func (w *grpcWatch) Update(b *query.Generation, c *projection.Change, seenAt int64) error {
	w.sent++
	if c.Gone {
		holder, err := ingest.HolderOf(c.Key)
		if err != nil {
			return err
		}
		return w.stream.SendMsg(&holdpb.HoldStat{HolderId: holder, Gone: true})
	}
	more, err := w.s.messages.Of(b, c, w.live, seenAt)
	if err != nil {
		return err
	}
	return w.stream.SendMsg(&rawMessage{bytes: c.Value, more: more})
}

func (w *grpcWatch) Complete(resumed bool) error {
	return w.stream.SendMsg(&holdpb.HoldStat{Complete: true, Resumed: resumed && w.marks, AsOf: timestampOf(w.s.cfg.Reads.Now())})
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
	return w.stream.SendMsg(&holdpb.HoldStat{Mark: true, ResumeFrom: w.point})
}
