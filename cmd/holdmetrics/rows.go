package main

import (
	"context"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"holdmetrics/cmd/holdmetrics/internal/connect"
	holdpb "holdmetrics/proto"
)

// printRows calls the server and prints the rows of its answer as they come.
// unknown is what to say where it knows nothing of what was asked for. open gives
// what takes the rows; nothing is printed before the server has answered, not even
// a header, so it is called after that. done ends the printing.
func printRows[R any](
	ctx context.Context, server, unknown string,
	call func(context.Context, holdpb.HoldMetricsQueryClient) (grpc.ServerStreamingClient[R], error),
	open func() (write func(*R) error, done func() error, err error),
) error {
	conn, err := connect.Dial(server)
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := call(ctx, holdpb.NewHoldMetricsQueryClient(conn))
	if err != nil {
		return connect.CallError(server, err)
	}
	row, err := stream.Recv()
	if err != nil && err != io.EOF {
		if status.Code(err) == codes.NotFound {
			return fmt.Errorf("%s; ids are compared letter by letter", unknown)
		}
		return connect.CallError(server, err)
	}
	write, done, openErr := open()
	if openErr != nil {
		return openErr
	}
	for ; err == nil; row, err = stream.Recv() {
		if err := write(row); err != nil {
			return err
		}
	}
	if err != io.EOF {
		return connect.CallError(server, err)
	}
	return done()
}
