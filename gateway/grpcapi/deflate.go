package grpcapi

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/rand"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	"holdmetrics/internal/inflate"
)

// deflate is the compressor that gRPC calls "deflate": the zlib format. Clients of
// other languages have it beside gzip.
type deflate struct{}

// Name is the name of the compressor on the wire.
func (deflate) Name() string { return "deflate" }

// Compress returns a writer that compresses to w.
func (deflate) Compress(w io.Writer) (io.WriteCloser, error) { return zlib.NewWriter(w), nil }

// Decompress returns a reader of what r has compressed.
func (deflate) Decompress(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }

// gRPC's registry of compressors may be written to while a program starts, and not
// later; so these are among its few lines that run before main.
var (
	_ = register(bounded{deflate{}})
	_ = register(bounded{encoding.GetCompressor(gzip.Name)}) // in place of gRPC's own
)

func register(c encoding.Compressor) struct{} {
	encoding.RegisterCompressor(c)
	return struct{}{}
}

// bounded is a compressor whose messages may not become too large for what they were, and
// that leaves processors for other work. MaxMessageBytes bounds them, too.
type bounded struct{ encoding.Compressor }

// unpackLimits are those of one message.
var unpackLimits = inflate.Limits{Free: inflate.DefaultFree, Ratio: inflate.DefaultRatio}

// Decompress returns a reader of what r has compressed. Beyond the limits the data ends
// with cutMark.
func (b bounded) Decompress(r io.Reader) (io.Reader, error) {
	// The message is in memory, so this reads for as long as it computes, which is bounded.
	inner, err := inflate.Process().NewReader(context.Background(), r, b.Compressor.Decompress, unpackLimits)
	if err != nil {
		return nil, err
	}
	return &cutReader{Reader: inner}, nil
}

// cutMark ends a message that was cut because it became too large. An error of a
// decompressor would do, but gRPC reports each as Internal, and would so blame the server.
// No client knows it.
var cutMark = func() (mark [32]byte) {
	_, _ = rand.Read(mark[:]) // never fails
	return mark
}()

// errCut is the error of a message that ends with cutMark.
var errCut = status.Error(codes.ResourceExhausted, (&inflate.TooMuchError{Limits: unpackLimits}).Advice())

// cutReader has cutMark in place of [inflate.ErrTooMuch].
type cutReader struct {
	*inflate.Reader
	left []byte // of the mark; nil: there is none
}

func (c *cutReader) Read(b []byte) (int, error) {
	if c.left == nil {
		n, err := c.Reader.Read(b)
		if !errors.Is(err, inflate.ErrTooMuch) {
			return n, err
		}
		c.left = cutMark[:]
	}
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

// received returns errCut if a message was cut.
func received(m any) error {
	if raw, ok := m.(*rawMessage); ok && bytes.HasSuffix(raw.bytes, cutMark[:]) {
		return errCut
	}
	return nil
}
