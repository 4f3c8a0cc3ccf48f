package auth

import (
	"errors"
	"fmt"
	"time"
)

// Errors that servers decide on. An error of this package matches one of them.
var (
	// ErrUnauthenticated: nobody knows who calls.
	ErrUnauthenticated = errors.New("auth: the caller is not known")
	// ErrDenied: the caller is known, and may not do this.
	ErrDenied = errors.New("auth: the caller may not do this")
	// ErrUnknownCall: there is no such method or path, or the table of needs lacks it.
	ErrUnknownCall = errors.New("auth: there is no such method")
	// ErrUnavailable: the keys, or those of an issuer, cannot be read.
	ErrUnavailable = errors.New("auth: credentials cannot be checked")
	// ErrQuota: the caller has used up a quota.
	ErrQuota = errors.New("auth: the quota is used up")
)

// Reason is why something was refused, in one word. Metrics and the audit log have it.
type Reason string

// The reasons.
const (
	Missing     Reason = "missing"     // no credentials
	Invalid     Reason = "invalid"     // credentials that are wrong, or of a key that was revoked
	Expired     Reason = "expired"     // credentials that were good
	Scoped      Reason = "scope"       // a scope is missing
	Narrowed    Reason = "narrowed"    // a token or a holder that the caller may not see
	Overdrawn   Reason = "quota"       // a quota is used up
	Unchecked   Reason = "unavailable" // credentials cannot be checked now
	UnknownCall Reason = "method"      // no such method
)

// Reasons are all of them.
var Reasons = []Reason{Missing, Invalid, Expired, Scoped, Narrowed, Overdrawn, Unchecked, UnknownCall}

// RefusedError is a refusal. It matches one of the errors above.
type RefusedError struct {
	Reason  Reason
	Message string        // for the caller
	Scope   Scope         // that is missing, with Scoped
	After   time.Duration // with Overdrawn: when to come back
	Detail  string        // for the log and the audit log alone; may be empty
}

// Error returns the message for the caller.
func (e *RefusedError) Error() string { return e.Message }

// Unwrap returns the sentinel of the reason.
func (e *RefusedError) Unwrap() error {
	switch e.Reason {
	case Missing, Invalid, Expired:
		return ErrUnauthenticated
	case UnknownCall:
		return ErrUnknownCall
	case Overdrawn:
		return ErrQuota
	case Unchecked:
		return ErrUnavailable
	}
	return ErrDenied
}

// refusal returns a refusal without a detail.
func refusal(reason Reason, format string, args ...any) *RefusedError {
	return &RefusedError{Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Rejected returns the refusal of credentials that are wrong. detail is for operators; the
// caller does not learn which part was wrong.
func Rejected(reason Reason, message, detail string) *RefusedError {
	return &RefusedError{Reason: reason, Message: message, Detail: detail}
}
