package grpcapi

import (
	"compress/zlib"
	"io"

	"google.golang.org/grpc/encoding"

	// The compressor named "gzip", which registers itself.
	_ "google.golang.org/grpc/encoding/gzip"
)

// deflate is the compressor that gRPC calls "deflate": the zlib format. Clients of
// other languages have it beside gzip.
type deflate struct{}

// gRPC's registry of compressors may be written to while a program starts, and not
// later; so this is one of its few lines that run before main.
var _ = register(deflate{})

func register(c encoding.Compressor) struct{} {
	encoding.RegisterCompressor(c)
	return struct{}{}
}

// Name is the name of the compressor on the wire.
func (deflate) Name() string { return "deflate" }

// Compress returns a writer that compresses to w.
func (deflate) Compress(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil }

// Decompress returns a reader of what r has compressed.
func (deflate) Decompress(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }
