package grpcapi

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"

	"holdmetrics/gateway/failure"
	"holdmetrics/gateway/query"
)

// outflow is what a stream sends to its client. A Send that the client does not take
// ends only with the context of the stream, so an outflow can cancel that. The other
// way, a second goroutine for each stream, would double what ten thousand watchers cost.
type outflow struct {
	cancel context.CancelFunc
	// moves counts the beginnings and the ends of sends, so it is odd while one is under
	// way. A clock would cost more than the acknowledgement that is sent.
	moves atomic.Uint64
	// unread is the error of the stream if the client does not read; nil: *failure.UnreadError.
	// It is set before the first send.
	unread error
	// transport writes the status of the stream; nil: it cannot.
	transport statusWriter
	closed    atomic.Bool // because the client does not read

	// What looked belongs to the goroutine that looks.
	seen  uint64 // moves, at the last look
	still int    // looks that saw the same send
}

// statusWriter is the transport's end of a stream.
type statusWriter interface {
	WriteStatus(*status.Status) error
}

// queries is what the names of the methods that read begin with.
const queries = "/poh.HoldMetricsQuery/"

// outflowKey is where a stream's context has its outflow.
type outflowKey struct{}

// tap gives the streams of the server a context that ends when their client does not
// read. A unary answer needs none: it is one message, which is never waited for. Reads
// learn who their client is.
func (s *Server) tap(ctx context.Context, info *tap.Info) (context.Context, error) {
	unary := s.unary[info.FullMethodName]
	if p, ok := peer.FromContext(ctx); ok && (!unary || strings.HasPrefix(info.FullMethodName, queries)) {
		ctx = query.WithClient(ctx, query.ClientAt(p.Addr.String()))
	}
	if unary {
		return ctx, nil
	}
	ctx, cancel := context.WithCancel(ctx) // the stream's end cancels it, too
	return context.WithValue(ctx, outflowKey{}, &outflow{cancel: cancel}), nil
}

// outflowOf returns the outflow of a stream's context, or nil if the gRPC server was not
// made with [Server.Options].
func outflowOf(ctx context.Context) *outflow {
	out, _ := ctx.Value(outflowKey{}).(*outflow)
	return out
}

// boundStream ends a stream whose client does not read what it is sent.
func (s *Server) boundStream(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	out := outflowOf(stream.Context())
	if out == nil {
		return handle(srv, stream)
	}
	// A Send that is ended by its context writes the context's own words as the status.
	// Written before it, ours stay. No public interface has that, so a transport that
	// lacks it costs the words, and nothing else.
	out.transport, _ = grpc.ServerTransportStreamFromContext(stream.Context()).(statusWriter)
	s.stalls.look(out)
	defer s.stalls.lookAway(out)
	err := handle(srv, boundedStream{stream, out})
	if out.closed.Load() {
		return out.err(s.cfg.SendStall)
	}
	return err
}

// err is the error of a stream that was closed, because its client has not read for so long.
func (o *outflow) err(most time.Duration) error {
	if o.unread != nil {
		return statusError(o.unread)
	}
	return statusError(&failure.UnreadError{For: most, Sent: o.moves.Load() / 2, Unit: "messages"})
}

// boundedStream notes when a send is under way.
type boundedStream struct {
	grpc.ServerStream
	out *outflow
}

func (b boundedStream) SendMsg(m any) error {
	b.out.moves.Add(1)
	err := b.ServerStream.SendMsg(m)
	b.out.moves.Add(1)
	return err
}

// RecvMsg receives a message. One that was cut is an error.
func (b boundedStream) RecvMsg(m any) error {
	if err := b.ServerStream.RecvMsg(m); err != nil {
		return err
	}
	return received(m)
}

// stalls closes the streams whose clients do not read. One goroutine looks after all
// of them, as long as there are any.
type stalls struct {
	most time.Duration // longest time that one send may take

	mu      sync.Mutex
	looked  map[*outflow]struct{}
	looking chan struct{} // closed when there are none; nil: there are none

	running sync.WaitGroup
}

// look adds a stream that is closed when a send takes too long.
func (s *stalls) look(out *outflow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looked == nil {
		s.looked = map[*outflow]struct{}{}
	}
	s.looked[out] = struct{}{}
	if s.looking == nil {
		none := make(chan struct{})
		s.looking = none
		s.running.Go(func() { s.lookAfter(none) })
	}
}

// lookAway removes a stream that has ended.
func (s *stalls) lookAway(out *outflow) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if delete(s.looked, out); len(s.looked) == 0 && s.looking != nil {
		close(s.looking)
		s.looking = nil
	}
}

// stallLooks is how finely the time of a send is measured.
const stallLooks = 4

func (s *stalls) lookAfter(none <-chan struct{}) {
	ticks := time.NewTicker(max(s.most/stallLooks, time.Millisecond))
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
		case <-none:
			return
		}
		s.mu.Lock()
		for out := range s.looked {
			out.look(s.most)
		}
		s.mu.Unlock()
	}
}

// look closes the stream if one send is under way for all of the last looks.
func (o *outflow) look(most time.Duration) {
	moves := o.moves.Load()
	if moves%2 == 0 || moves != o.seen {
		o.seen, o.still = moves, 0
		return
	}
	if o.still++; o.still >= stallLooks && !o.closed.Swap(true) {
		if o.transport != nil {
			_ = o.transport.WriteStatus(status.Convert(o.err(most))) // the end of the stream says the rest
		}
		o.cancel()
	}
}
