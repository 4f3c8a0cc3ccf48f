package query

import (
	"context"
	"errors"
	"fmt"
	"io"

	"holdmetrics/gateway/auth"
	"holdmetrics/hold"
	"holdmetrics/internal/fair"
	"holdmetrics/projection"
)

// Every read asks its caller by way of ask, with what the answer tells of, before it looks
// at anything. So a server cannot forget to, and a refusal says nothing of what there is.

// named is a list of the holder that a query names, if it names one.
func named(holder string) []string {
	if holder == "" {
		return nil
	}
	return []string{holder}
}

// ask answers a read from the generation that is active: f gives the rows to emit.
func ask[T any](ctx context.Context, s *Service, asked auth.Reading, emit func(*T) error, f func(b *Generation, emit func(*T) error) error) error {
	caller := auth.CallerOf(ctx)
	var unsent error // of the client's end, which is no secret
	err := afresh(func(given func()) error {
		return s.with(func(b *Generation) error {
			if err := caller.MayRead(asked, b.Rules); err != nil {
				return err
			}
			return f(b, givenTo(given, func(row *T) error {
				unsent = emit(row)
				return unsent
			}))
		})
	})
	if unsent != nil {
		return err
	}
	return hide(caller, err)
}

// askOnce is ask of a read whose answer comes at once.
func askOnce(ctx context.Context, s *Service, asked auth.Reading, f func(b *Generation) error) error {
	return ask(ctx, s, asked, func(*struct{}) error { return nil }, func(b *Generation, _ func(*struct{}) error) error { return f(b) })
}

// HiddenError is an error that its caller may not read, since it may tell of tokens and
// holders that are none of the caller's business. A log that prints it with %+v, as zap
// does, has the whole.
type HiddenError struct{ Err error }

// Error says that there is more.
func (e *HiddenError) Error() string {
	return "gateway: the answer is not available: the log of the server has the reason"
}

// Unwrap returns the error that is hidden.
func (e *HiddenError) Unwrap() error { return e.Err }

// Format prints the error that is hidden for %+v, and else what Error returns.
func (e *HiddenError) Format(f fmt.State, verb rune) {
	text := e.Error()
	if verb == 'v' && f.Flag('+') {
		text = fmt.Sprintf("%v: %+v", text, e.Err)
	}
	_, _ = io.WriteString(f, text) // it fails only if the printing is given up
}

// told are the errors whose text is of the question alone.
var told = []error{
	projection.ErrNotFound, ErrNoStore, ErrCrowded, fair.ErrFull, ErrCursorGone, ErrDraining,
	context.Canceled, context.DeadlineExceeded,
	auth.ErrDenied, auth.ErrUnauthenticated, auth.ErrQuota, auth.ErrUnavailable,
}

// hide returns an error that tells a narrowed caller of nothing but its question.
func hide(caller *auth.Caller, err error) error {
	if err == nil || !caller.Narrowed() {
		return err
	}
	if field := (*hold.FieldError)(nil); errors.As(err, &field) {
		return err
	}
	if stale := (*StaleError)(nil); errors.As(err, &stale) {
		unheard := *stale
		unheard.Heard = "" // it may be the last error of the partition
		return &unheard
	}
	for _, known := range told {
		if errors.Is(err, known) && !errors.Is(err, ErrUnavailable) {
			return err
		}
	}
	return &HiddenError{err}
}
