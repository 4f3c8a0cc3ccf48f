package gateway

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"holdmetrics/ingest"
	"holdmetrics/projection"
	holdpb "holdmetrics/proto"
)

// watchStream answers Stats with watch.
//
// What is sent may block for as long as the client does not read; so it is sent
// by another goroutine, while this one looks whether it gets on. That goroutine
// ends just after the stream, not before, because what unblocks a Send is the end
// of the stream.
func (g *Gateway) watchStream(q *statsQuery, stream grpc.ServerStreamingServer[holdpb.HoldStat]) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	watchers := g.metrics.watchers.WithLabelValues("grpc")
	watchers.Inc()
	defer watchers.Dec()
	sink := &grpcWatch{g: g, stream: stream, live: q.live}
	done := make(chan error, 1)
	g.receivers.Go(func() { done <- g.watch(ctx, &watchQuery{statsQuery: *q}, sink) })
	look := time.NewTicker(g.cfg.WatchStall / 4)
	defer look.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-look.C:
			if began := sink.sending.Load(); began != 0 && time.Since(time.Unix(0, began)) > g.cfg.WatchStall {
				g.metrics.stalled.WithLabelValues("grpc").Inc()
				return ErrStalled
			}
		}
	}
}

// grpcWatch is the client's end of a watch by gRPC.
type grpcWatch struct {
	g       *Gateway
	stream  grpc.ServerStreamingServer[holdpb.HoldStat]
	live    bool
	sent    int          // since the last round ended
	sending atomic.Int64 // when the send began that is under way, unix nanoseconds; 0: none is
}

func (w *grpcWatch) send(m any) error {
	w.sending.Store(time.Now().UnixNano())
	defer w.sending.Store(0)
	return w.stream.SendMsg(m)
}

func (w *grpcWatch) update(c *projection.Change) error {
	w.sent++
	if c.Gone {
		holder, err := ingest.HolderOf(c.Key)
		if err != nil {
			return err
		}
		return w.send(&holdpb.HoldStat{HolderId: holder, Gone: true})
	}
	more, err := w.g.watchMessage(c, w.live)
	if err != nil {
		return err
	}
	return w.send(&rawMessage{bytes: c.Value, more: more})
}

func (w *grpcWatch) complete(uint64, bool) error {
	return w.send(&holdpb.HoldStat{Complete: true, AsOf: timestampOf(w.g.cfg.Now())})
}

func (w *grpcWatch) endRound(uint64) error {
	w.g.metrics.updates.WithLabelValues("grpc").Add(float64(w.sent))
	w.sent = 0
	return nil
}

func (w *grpcWatch) heartbeat() error { return nil }
