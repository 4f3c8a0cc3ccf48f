package transparency

import (
	"errors"
	"fmt"
)

var (
	// ErrNone: there is no checkpoint yet, since the log is empty or was just opened.
	ErrNone = errors.New("transparency: there is no checkpoint yet: wait for the first event")
	// ErrRewritten: the log does not have what a checkpoint states. It is a
	// [*RewrittenError].
	ErrRewritten = errors.New("transparency: the log does not have what its checkpoint states")
	// ErrDamaged: the bucket is damaged, or was changed by somebody else.
	ErrDamaged = errors.New("transparency: the hashes in bucket " + Bucket + " are damaged")
	// ErrNotCovered: the checkpoint does not cover a position. It is a [*NotCoveredError].
	ErrNotCovered = errors.New("the checkpoint does not cover it")
)

// RewrittenError says where the log differs from its checkpoint. It matches [ErrRewritten].
type RewrittenError struct {
	Position uint64
	Reason   string
}

// Error names the position and what to do.
func (e *RewrittenError) Error() string {
	return fmt.Sprintf("%v: position %d %s: restore the log from a backup, and find out who changed it", ErrRewritten, e.Position, e.Reason)
}

// Unwrap returns [ErrRewritten].
func (e *RewrittenError) Unwrap() error { return ErrRewritten }

// NotCoveredError names the position and what the checkpoint covers. It matches
// [ErrNotCovered].
type NotCoveredError struct{ Position, Size uint64 }

// Error says how far the checkpoint goes.
func (e *NotCoveredError) Error() string {
	return fmt.Sprintf("position %d: %v, which ends at %d: ask again later if the position is new", e.Position, ErrNotCovered, e.Size)
}

// Unwrap returns [ErrNotCovered].
func (e *NotCoveredError) Unwrap() error { return ErrNotCovered }
