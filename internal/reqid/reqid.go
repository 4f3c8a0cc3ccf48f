// Package reqid names the requests of clients, so that a line of the log and an answer
// can be brought together.
//
// A client may bring an id of its own. It is taken over if it is well-formed: short, and
// made of characters that mean nothing to a log, a terminal or a header.
package reqid

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
)

const (
	// Header is the header of HTTP that carries an id, in requests and answers.
	Header = "X-Request-Id"
	// Metadata is the same for gRPC.
	Metadata = "x-request-id"
	// Most is the length of the longest id that is taken over, in bytes.
	Most = 128
)

// Valid reports whether an id of a client is taken over: 1 to [Most] letters, digits and
// characters of "-_.:/+=@".
func Valid(id string) bool {
	if len(id) == 0 || len(id) > Most {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == ':', c == '/', c == '+', c == '=', c == '@':
		default:
			return false
		}
	}
	return true
}

// Source makes ids that no other source makes. It is safe for concurrent use.
type Source struct {
	prefix string
	last   atomic.Uint64
}

// NewSource returns a source whose ids begin with bytes of random.
func NewSource(random io.Reader) (*Source, error) {
	var b [8]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("request ids: %w", err)
	}
	return &Source{prefix: hex.EncodeToString(b[:]) + "-"}, nil
}

// Choose returns the id that a client gave, or a new one if it gave none, several, or
// one that is not [Valid].
func (s *Source) Choose(given []string) string {
	if len(given) == 1 && Valid(given[0]) {
		return given[0]
	}
	return s.prefix + strconv.FormatUint(s.last.Add(1), 36)
}

// withID is a context with an id.
type withID struct {
	context.Context
	id string
}

// key is where a context has its id.
type key struct{}

// Value returns the id for the key of this package.
func (c *withID) Value(k any) any {
	if k == (key{}) {
		return c
	}
	return c.Context.Value(k)
}

// With returns a context of a request of that id.
func With(ctx context.Context, id string) context.Context { return &withID{ctx, id} }

// Of returns the id of the request that a context belongs to, or "".
func Of(ctx context.Context) string {
	if c, ok := ctx.Value(key{}).(*withID); ok {
		return c.id
	}
	return ""
}
