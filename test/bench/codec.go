package main

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// rawCodec moves bytes: the load has its messages encoded already, and the echo
// need not know what is in them. A *[]byte is copied; a *mem.BufferSlice is
// passed through without a copy, which is as little as an echo can do.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *[]byte:
		return mem.BufferSlice{mem.Copy(*v, mem.DefaultBufferPool())}, nil
	case *mem.BufferSlice:
		return *v, nil
	}
	return nil, fmt.Errorf("bench: cannot encode %T", v)
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = append((*v)[:0], make([]byte, data.Len())...)
		data.CopyTo(*v)
		return nil
	case *mem.BufferSlice:
		data.Ref()
		*v = data
		return nil
	}
	return fmt.Errorf("bench: cannot decode into %T", v)
}

// dialRaw connects to a gRPC server of this machine.
func dialRaw(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(64<<20)))
}

// Methods and streams under test; the echo answers to the same names.
const (
	recordMethod    = "/poh.HoldMetrics/Record"
	broadcastMethod = "/poh.HoldMetrics/Broadcast"
	batchMethod     = "/poh.HoldMetrics/BroadcastBatch"
)

var bothWays = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
