package load

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

// RawCodec moves bytes: the load has its messages encoded already, and the echo
// need not know what is in them. A *[]byte is copied; a *mem.BufferSlice is
// passed through without a copy, which is as little as an echo can do.
type RawCodec struct{}

// Name implements encoding.CodecV2 of gRPC.
func (RawCodec) Name() string { return "proto" }

// Marshal implements encoding.CodecV2 of gRPC.
func (RawCodec) Marshal(v any) (mem.BufferSlice, error) {
	switch v := v.(type) {
	case *[]byte:
		return mem.BufferSlice{mem.Copy(*v, mem.DefaultBufferPool())}, nil
	case *mem.BufferSlice:
		return *v, nil
	}
	return nil, fmt.Errorf("bench: cannot encode %T", v)
}

// Unmarshal implements encoding.CodecV2 of gRPC.
func (RawCodec) Unmarshal(data mem.BufferSlice, v any) error {
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

// DialRaw connects to a gRPC server of this machine.
func DialRaw(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(RawCodec{}), grpc.MaxCallRecvMsgSize(64<<20)))
}

// Methods and streams under test; the echo answers to the same names.
const (
	RecordMethod    = "/poh.HoldMetrics/Record"
	broadcastMethod = "/poh.HoldMetrics/Broadcast"
	BatchMethod     = "/poh.HoldMetrics/BroadcastBatch"
)

var bothWays = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
