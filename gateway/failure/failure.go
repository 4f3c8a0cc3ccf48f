// Package failure maps errors of reads, watches and events to what a client gets: a
// kind, a message, a field and the time to wait before another attempt.
package failure

import (
	"context"
	"errors"
	"fmt"
	"time"

	"holdmetrics/gateway/auth"
	"holdmetrics/gateway/intake"
	"holdmetrics/gateway/query"
	"holdmetrics/gateway/watch"
	"holdmetrics/hold"
	"holdmetrics/ingest"
	"holdmetrics/ingest/transparency"
	"holdmetrics/projection"
)

// RetryAfter is how long a client is asked to wait before it tries again.
const RetryAfter = time.Second

// Kind classifies an error by what a client can do about it.
type Kind int

// The kinds of failures. The zero value is an error that only a programmer can mend.
const (
	Internal        Kind = iota
	Invalid              // the request is wrong
	Sealed               // the request is about a time that was sealed
	NotFound             // no such holder
	NoStore              // the answer is in a store, and this gateway has none
	Stale                // the requested position was not applied in time
	Busy                 // the log accepts no more for now, or too much is asked for at once
	CursorGone           // the state behind a cursor is gone
	Stalled              // the client did not read what it was sent
	Unavailable          // something that the gateway depends on does not answer
	Canceled             // the client canceled the request
	DeadlineOver         // the deadline of the request has passed
	Unauthenticated      // nobody knows who the client is
	Denied               // the client may not do this
	NoMethod             // there is no such method
)

// Failure is an error as a server reports it, whatever the protocol.
type Failure struct {
	Kind    Kind
	Field   string // of the request, if one is to blame
	Message string
	Retry   bool          // the same request may succeed later
	After   time.Duration // with Retry: how long to wait; 0: [RetryAfter]
}

// Wait is how long the client is asked to wait before it tries again.
func (f *Failure) Wait() time.Duration {
	if f.After > 0 {
		return f.After
	}
	return RetryAfter
}

// ErrUnread is the error of a stream or an answer whose client does not read it.
var ErrUnread = errors.New("gateway: the answer was cut off, because its client did not read it")

// UnreadError reports how far the client came. It matches [ErrUnread], and what the
// transport said.
type UnreadError struct {
	For  time.Duration // that one send has waited for the client
	Sent uint64        // before it
	Unit string        // of Sent: messages or bytes
	Err  error         // of the transport; may be nil
}

// Error names what was sent before, and what the client can do.
func (e *UnreadError) Error() string {
	return fmt.Sprintf("%v for %v, after %d %s were sent: read while it comes, or ask for less at once", ErrUnread, e.For, e.Sent, e.Unit)
}

// Unwrap returns [ErrUnread] and the error of the transport.
func (e *UnreadError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrUnread}
	}
	return []error{ErrUnread, e.Err}
}

// Of classifies an error. An error that it does not know is internal.
func Of(err error) Failure {
	var field *hold.FieldError
	if refused := (*auth.RefusedError)(nil); errors.As(err, &refused) {
		return ofRefusal(err, refused)
	}
	switch {
	case errors.Is(err, query.ErrSealed) && errors.As(err, &field):
		return Failure{Kind: Sealed, Field: field.Field, Message: field.Error()}
	case errors.As(err, &field):
		return Failure{Kind: Invalid, Field: field.Field, Message: field.Error()}
	case errors.Is(err, ingest.ErrMalformed):
		return Failure{Kind: Invalid, Message: err.Error()}
	case errors.Is(err, projection.ErrNotFound):
		return Failure{Kind: NotFound, Message: "no holder of that id is known"}
	case errors.Is(err, transparency.ErrNotCovered), errors.Is(err, transparency.ErrNone):
		return Failure{Kind: NotFound, Message: err.Error()}
	case errors.Is(err, query.ErrNoProofs):
		return Failure{Kind: NoStore, Message: err.Error()}
	case errors.Is(err, query.ErrNoStore):
		return Failure{Kind: NoStore, Message: query.ErrNoStore.Error()}
	case errors.Is(err, query.ErrStale):
		return Failure{Kind: Stale, Message: err.Error()}
	case errors.Is(err, ingest.ErrNotWritable):
		return Failure{Kind: Unavailable, Message: err.Error(), Retry: true}
	// These two come before the ends of contexts, which they may wrap, because they
	// are more specific. A caller that gave up on a slow log was not acknowledged.
	case errors.Is(err, ingest.ErrBusy), errors.Is(err, intake.ErrSlow), errors.Is(err, query.ErrCrowded), errors.Is(err, watch.ErrTooMany):
		return Failure{Kind: Busy, Message: err.Error(), Retry: true}
	case errors.Is(err, query.ErrCursorGone):
		return Failure{Kind: CursorGone, Field: "cursor", Message: err.Error()}
	case errors.Is(err, watch.ErrStalled), errors.Is(err, ErrUnread):
		return Failure{Kind: Stalled, Message: err.Error()}
	case errors.Is(err, query.ErrDraining), errors.Is(err, ingest.ErrClosed), errors.Is(err, ingest.ErrNotAcknowledged):
		return Failure{Kind: Unavailable, Message: err.Error(), Retry: true}
	case errors.Is(err, context.Canceled):
		return Failure{Kind: Canceled, Message: "the request was canceled"}
	case errors.Is(err, context.DeadlineExceeded):
		return Failure{Kind: DeadlineOver, Message: "the deadline of the request has passed"}
	case errors.Is(err, projection.ErrOutdated):
		return Failure{Kind: Unavailable, Retry: true, Message: "what was read was being sealed meanwhile; ask again"}
	case errors.Is(err, query.ErrUnavailable), errors.Is(err, projection.ErrUnavailable), errors.Is(err, projection.ErrClosed):
		return Failure{Kind: Unavailable, Message: err.Error(), Retry: true}
	}
	return Failure{Message: err.Error()}
}

// ofRefusal classifies what the caller of a request was refused.
func ofRefusal(err error, refused *auth.RefusedError) Failure {
	f := Failure{Kind: Denied, Message: refused.Message}
	if field := (*hold.FieldError)(nil); errors.As(err, &field) {
		f.Field, f.Message = field.Field, field.Error()
	}
	switch {
	case errors.Is(refused, auth.ErrUnauthenticated):
		f.Kind = Unauthenticated
	case errors.Is(refused, auth.ErrUnknownCall):
		f.Kind = NoMethod
	case errors.Is(refused, auth.ErrUnavailable):
		f.Kind, f.Retry = Unavailable, true
	case errors.Is(refused, auth.ErrQuota):
		f.Kind, f.Retry, f.After = Busy, true, refused.After
	}
	return f
}

// Refused reports whether err concerns one event alone, so that its neighbours go on.
func Refused(err error) bool {
	var field *hold.FieldError
	return errors.As(err, &field) || errors.Is(err, ingest.ErrMalformed)
}
