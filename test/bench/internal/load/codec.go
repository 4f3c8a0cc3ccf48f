package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
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
func DialRaw(at Addresses) (*grpc.ClientConn, error) {
	creds := insecure.NewCredentials()
	if at.CA != nil {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(at.CA) {
			return nil, errors.New("bench: the authority is no certificate in PEM")
		}
		creds = credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(RawCodec{}), grpc.MaxCallRecvMsgSize(64<<20)),
	}
	if at.Key != "" {
		options = append(options, grpc.WithPerRPCCredentials(key(at.Key)))
	}
	return grpc.NewClient(at.GRPC, options...)
}

// key is sent with every call.
type key string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (k key) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(k)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (key) RequireTransportSecurity() bool { return true }

// Methods and streams under test; the echo answers to the same names.
const (
	RecordMethod    = "/poh.HoldMetrics/Record"
	broadcastMethod = "/poh.HoldMetrics/Broadcast"
	BatchMethod     = "/poh.HoldMetrics/BroadcastBatch"
)

var bothWays = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
