package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"

	"holdmetrics/test/bench/internal/child"
	"holdmetrics/test/bench/internal/load"
)

// echoRole is a gRPC server that sends each message back as it came: the ceiling
// of any endpoint that answers each message with one. It decodes, checks, copies and
// keeps nothing.
func echoRole(ctx context.Context, _ json.RawMessage, answer func(any) error) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(load.RawCodec{}))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "poh.HoldMetrics",
		Methods:     []grpc.MethodDesc{{MethodName: "Record", Handler: echoUnary}},
		Streams:     []grpc.StreamDesc{{StreamName: "Broadcast", Handler: echoStream, ServerStreams: true, ClientStreams: true}},
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

func echoUnary(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	message := new(mem.BufferSlice)
	if err := decode(message); err != nil {
		return nil, err
	}
	return message, nil
}

func echoStream(_ any, stream grpc.ServerStream) error {
	for {
		var message mem.BufferSlice
		if err := stream.RecvMsg(&message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
}

func (b *bench) startEcho(ctx context.Context) (*child.Process, load.Addresses, error) {
	var at load.Addresses
	p, err := b.startChild(ctx, "echo", 0, struct{}{}, &at)
	return p, at, err
}
