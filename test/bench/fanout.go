package main

import (
	"context"
	"encoding/json"
	"net"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"holdmetrics/projection"
	"holdmetrics/test/bench/internal/load"
)

// fanoutRole is a gRPC server that sends the messages it is asked for to every stream:
// the ceiling of any endpoint that sends one change to many. A stream that is late
// leaves out what came meanwhile.
func fanoutRole(ctx context.Context, _ json.RawMessage, answer func(any) error) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	f := &fanout{next: make(chan struct{})}
	s := grpc.NewServer(grpc.ForceServerCodecV2(load.RawCodec{}))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "poh.HoldMetrics",
		Methods: []grpc.MethodDesc{{MethodName: "Record", Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			return f.change(decode)
		}}},
		Streams: []grpc.StreamDesc{{StreamName: "Stats", Handler: f.serve, ServerStreams: true}},
	}, nil)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(listener) }()
	if err := answer(load.Addresses{GRPC: listener.Addr().String()}); err != nil {
		return err
	}
	<-ctx.Done()
	s.Stop()
	return <-ended
}

type fanout struct {
	mu      sync.Mutex
	next    chan struct{} // closed at the next tick
	current []mem.BufferSlice
	made    int
}

// change makes as many snapshots as the request says, and wakes the streams.
func (f *fanout) change(decode func(any) error) (any, error) {
	var request []byte
	if err := decode(&request); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	messages := make([]mem.BufferSlice, request[0])
	var entry projection.Entry
	for i := range messages {
		f.made++
		var err error
		if entry, err = changedStat(f.made); err != nil {
			return nil, err
		}
		messages[i] = mem.BufferSlice{mem.SliceBuffer(entry.Value)}
	}
	f.current = messages
	close(f.next)
	f.next = make(chan struct{})
	return new([]byte), nil
}

func (f *fanout) serve(_ any, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	f.mu.Lock()
	next := f.next
	f.mu.Unlock()
	mark := []byte{}
	if err := stream.SendMsg(&mark); err != nil {
		return err
	}
	for {
		select {
		case <-next:
		case <-stream.Context().Done():
			return nil
		}
		f.mu.Lock()
		messages, following := f.current, f.next
		f.mu.Unlock()
		next = following
		for i := range messages {
			if err := stream.SendMsg(&messages[i]); err != nil {
				return err
			}
		}
	}
}
