// Package inflate reads compressed data that strangers send: a few bytes of it may become
// very many, and take a processor for long.
package inflate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// Limits bound what compressed data may become. A limit of 0 is none.
type Limits struct {
	Free  int64 // bytes that are read whatever the ratio
	Ratio int64 // beyond Free: bytes that one compressed byte may become, on the mean
	Most  int64 // bytes in all
}

// Default limits. Events that were made up of random ids and times become 3 to 12 times as
// large, and equal ones up to 300 times.
const (
	DefaultFree  = 256 << 10
	DefaultRatio = 100
	DefaultMost  = 4 << 30
)

// ErrTooMuch matches every [TooMuchError].
var ErrTooMuch = errors.New("the compressed data becomes too large")

// TooMuchError is the error of a Read beyond a limit.
type TooMuchError struct {
	In, Out int64 // bytes, so far
	Limits  Limits
}

// Error says which limit was reached, and what to do.
func (e *TooMuchError) Error() string {
	if e.Limits.Most > 0 && e.Out > e.Limits.Most {
		return fmt.Sprintf("%v: more than %d bytes: send it in parts", ErrTooMuch, e.Limits.Most)
	}
	return e.Advice()
}

// Advice is Error for the ratio, without how far the data was read.
func (e *TooMuchError) Advice() string {
	return fmt.Sprintf("%v: more than %d bytes of each one that was sent: send it less compressed", ErrTooMuch, e.Limits.Ratio)
}

// Is makes the error match [ErrTooMuch].
func (e *TooMuchError) Is(target error) bool { return target == ErrTooMuch }

// Gate lets only so many readers decompress at the same time, so that other work always
// has a processor. It is safe for concurrent use.
type Gate struct{ slots chan struct{} }

// NewGate returns a gate for n readers at once, or for half of the processors if n is 0;
// at least one.
func NewGate(n int) *Gate {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0) / 2
	}
	return &Gate{make(chan struct{}, max(n, 1))}
}

// process is one for all servers of the process, since gRPC knows its decompressors
// before there is any.
var process = NewGate(0)

// Process returns the gate that all servers of this process share.
func Process() *Gate { return process }

// enter waits for a place.
func (g *Gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Gate) leave() { <-g.slots }

// Reader decompresses within limits. It holds a place of its gate while it computes, and
// none while it waits for compressed data.
type Reader struct {
	gate    *Gate
	ctx     context.Context
	raw     io.Reader
	inner   io.Reader
	limits  Limits
	in, out int64
}

// NewReader returns a reader of what raw has compressed. open makes the decompressor.
// When ctx ends, reads fail with its error.
func (g *Gate) NewReader(ctx context.Context, raw io.Reader, open func(io.Reader) (io.Reader, error), limits Limits) (*Reader, error) {
	r := &Reader{gate: g, ctx: ctx, raw: raw, limits: limits}
	if err := g.enter(ctx); err != nil {
		return nil, err
	}
	defer g.leave()
	var err error
	r.inner, err = open(outside{r})
	return r, err
}

// Read reads decompressed data. Its error matches [ErrTooMuch] beyond a limit.
func (r *Reader) Read(b []byte) (int, error) {
	if err := r.gate.enter(r.ctx); err != nil {
		return 0, err
	}
	defer r.gate.leave()
	n, err := r.inner.Read(b)
	r.out += int64(n)
	l := &r.limits
	if l.Most > 0 && r.out > l.Most || l.Ratio > 0 && r.out > l.Free && (r.out-l.Free)/l.Ratio > r.in {
		return 0, &TooMuchError{In: r.in, Out: r.out, Limits: r.limits}
	}
	return n, err
}

// Close closes the decompressor.
func (r *Reader) Close() error {
	if c, ok := r.inner.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// outside reads compressed data outside of the gate, in whose place its caller is.
type outside struct{ r *Reader }

func (o outside) Read(b []byte) (int, error) {
	o.r.gate.leave()
	n, err := o.r.raw.Read(b)
	o.r.in += int64(n)
	// The place is needed again even if ctx has ended: the caller gives it back.
	o.r.gate.slots <- struct{}{}
	return n, err
}
