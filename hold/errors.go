package hold

import (
	"errors"
	"fmt"

	"holdmetrics/hold/internal/coding"
)

// What can be wrong with a field of an event. Each comes wrapped in a
// [FieldError], which names the field.
var (
	ErrRequired = errors.New("is required")
	ErrTooLong  = errors.New("is longer than 256 bytes")
	ErrNotUTF8  = errors.New("is not valid UTF-8")
	ErrControl  = errors.New("has a control character")
	ErrTime     = errors.New("is not a time after the epoch and up to 2200")
	ErrOrder    = errors.New("is before start")
	ErrFuture   = errors.New("is too far in the future")
	ErrWeight   = errors.New("is not a weight")
	ErrSpace    = errors.New("begins or ends with white space")
	// ErrStopWeight: servers and files refuse it. In a log that has it, the weight is ignored.
	ErrStopWeight = errors.New("does not go with a stop: a stop ends the whole hold; to reduce it, send the hold with its end and a new one")
	// ErrSealed: the event would change what was held before the horizon, which is final.
	ErrSealed = errors.New("is of a time that is sealed")
	// ErrHoldIDNeeded: the rules ask for hold_ids in every event of this token.
	ErrHoldIDNeeded = errors.New("is required by the rules of this token")
)

// ErrCorrupt means that stored bytes do not decode. They were damaged, or written by
// something else.
var ErrCorrupt = coding.ErrCorrupt

// FieldError is why a field of an event was refused.
type FieldError struct {
	Field  string // as named in hold.proto
	Err    error  // one of the sentinels above
	Detail string // what was wrong; may be empty
}

// Error is one line: the field, the rule, the detail.
func (e *FieldError) Error() string {
	if e.Detail == "" {
		return e.Field + " " + e.Err.Error()
	}
	return e.Field + " " + e.Err.Error() + ": " + e.Detail
}

// Unwrap gives the sentinel.
func (e *FieldError) Unwrap() error { return e.Err }

func weightError(detail string) error { return fmt.Errorf("%w: %s", ErrWeight, detail) }
